"""Evaluation: metrics with known answers, and the command from end to end."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import vgg19

from duostyle.cli import evaluate
from duostyle.evaluation import solve
from duostyle.evaluation.metrics import (
    boundary_f,
    composite,
    iou,
    region_grams,
    relative_distance,
    seam_ratio,
    style_scale,
)
from duostyle.evaluation.objective import iterations_needed
from duostyle.evaluation.pair import EvaluatedPair
from duostyle.evaluation.regions import RegionReport, table
from duostyle.io.images import read_picture
from duostyle.losses import PerceptualNetwork
from duostyle.progress import progress
from tests.flat import BLUE, RED, FlatNetwork, fill, flat_pair, mix


def test_iou_by_hand() -> None:
    mask, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2, :] = 0.9  # 8 pixels
    target[..., 1:3, :] = 1  # 8 pixels, 4 in common
    known = torch.ones(1, 1, 4, 4)
    assert iou(mask, target, known) == pytest.approx(4 / 12)
    known[..., 0, :] = 0
    assert iou(mask, target, known) == pytest.approx(4 / 8)


def test_a_style_image_is_closest_to_its_own_style(random_vgg: Path) -> None:
    vgg = PerceptualNetwork(random_vgg)
    one, two = torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 48) * 0.2
    targets = [region_grams(vgg, style)[0] for style in (one, two)]
    scale = style_scale(targets)
    (grams,) = region_grams(vgg, one, torch.ones(1, 1, 48, 48))
    assert relative_distance(grams, targets[0], scale) == pytest.approx(0, abs=1e-8)
    assert relative_distance(grams, targets[1], scale) > 1e-3


def test_region_report_by_hand() -> None:
    rows = {
        0.0: [(0.1, 0.9, 0.9, 0.1), (0.5, 0.4, 0.9, 0.1)],  # the second foreground is wrong
        0.5: [(0.2, 0.5, 0.5, 0.2)],
        1.0: [(0.3, 0.4, 0.4, 0.3)],
    }
    report = RegionReport(rows, [0.5, 1.0])
    assert report.own_style_share() == 0.5
    assert report.mean(0.0) == pytest.approx((0.3, 0.65, 0.9, 0.1))
    assert report.other_style_approaches() and report.mean_iou() == 0.75
    report.distances[1.0] = [(0.3, 0.6, 0.4, 0.3)]
    assert not report.other_style_approaches()


@pytest.fixture
def flat(tmp_path: Path, monkeypatch) -> EvaluatedPair:
    """The pair that every evaluation loads."""
    pair = flat_pair(tmp_path)
    monkeypatch.setattr(EvaluatedPair, "from_arguments", lambda args, vgg_depth=16: pair)
    return pair


def distance_by_hand(color: torch.Tensor, style: torch.Tensor) -> float:
    """Squared distance of two Gram matrices of flat colors, over the squared norm of one."""
    return (torch.outer(color, color) - torch.outer(style, style)).square().sum().item()


def test_regions_command(flat, photo_folder, tmp_path: Path, capsys) -> None:
    argv = ["regions", "--photos", photo_folder[0], "--labels", photo_folder[1]]
    argv += ["--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    streams = capsys.readouterr()
    assert "5 photographs with 10 to 70 % foreground" in streams.out
    assert "regions: 0/6 photos" in streams.err and "\r" not in streams.err
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["mean_distances"]["0.0"] == pytest.approx([0, 2, 2, 0], abs=1e-4)
    for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
        expected = [distance_by_hand(c, style) for c in mix(alpha) for style in (RED, BLUE)]
        rows = figures["distances"][str(alpha)]
        assert len(rows) == 5 and all(row == pytest.approx(expected, abs=1e-4) for row in rows)
    assert figures["regions_right"] == 1 and figures["other_style_falls"]
    # The upper half of the person: 20 of 40 rows.
    assert figures["ious"] == [0.5] * 5 and figures["mask_iou"] == 0.5
    # Of its 132 boundary pixels 88 match (top, sides, four at the lower edge); of 172, 88 too.
    assert figures["boundaries"] == pytest.approx([2 * 88 / (132 + 172)] * 5)
    assert len(figures["seams"]) == 5 and figures["clean_seams"] == 1
    assert all(ours == 0 < pasted for ours, pasted in figures["seams"])
    assert figures["settings"]["evaluation"] == "regions" and "git_revision" in figures


def test_regions_of_a_real_network(
    checkpoint: Path, photo_folder, random_vgg: Path, capsys
) -> None:
    argv = ["regions", "--checkpoint", checkpoint, "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1], "--vgg-weights", random_vgg]
    assert evaluate.main([str(part) for part in argv]) == 0
    printed = capsys.readouterr().out
    assert "5 photographs with 10 to 70 % foreground" in printed
    assert "boundary F" in printed and "seam ratio below the composite's" in printed


def test_progress_without_a_terminal_is_plain_lines(capsys) -> None:
    assert list(progress(range(3), name="regions", unit="photo")) == [0, 1, 2]
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("regions: 0/3 photos, ") and first.endswith(" left")
    assert last.startswith("regions: 3/3 photos, ") and "photo/s" in last
    with progress(name="solve", unit="iteration", total=2) as bar:
        bar.update()
        bar.set_postfix_str("objective 1.500")
    assert "solve: 1/2 iterations" in capsys.readouterr().err


def test_missing_style_image_is_one_line(photo_folder, network, tmp_path: Path, capsys) -> None:
    from duostyle.models import save_checkpoint

    styles = [{"name": "nobody", "sha256": "0"}]
    training = {"style_size": 64, "foreground": ""}
    header = {"styles": styles, "training": training, "objective": {}}
    save_checkpoint(tmp_path / "c.safetensors", network, header)
    argv = ["regions", "--checkpoint", tmp_path / "c.safetensors", "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1]]
    assert evaluate.main([str(part) for part in argv]) == 2
    assert "nobody: its image is not in styles/; name both" in capsys.readouterr().err


def test_a_checkpoint_of_another_objective_is_one_line(
    photo_folder, network, random_vgg: Path, tmp_path: Path, capsys
) -> None:
    from duostyle.models import save_checkpoint

    path, painting = tmp_path / "c.safetensors", photo_folder[0] / "1.png"
    header = {"styles": [], "training": {"style_size": 64, "foreground": ""}}
    save_checkpoint(path, network, {**header, "objective": {"forgotten_weight": 1.0}})
    argv = ["objective", "--checkpoint", path, "--styles", painting, painting]
    argv += ["--photos", photo_folder[0], "--labels", photo_folder[1], "--vgg-weights", random_vgg]
    assert evaluate.main([str(part) for part in argv]) == 2
    printed = capsys.readouterr().err
    assert (
        "c.safetensors: trained with another version of the objective" in printed
        and printed.count("\n") == 1
    )


def test_composite_by_hand() -> None:
    mask = torch.tensor([[[[0.0, 0.25], [1.0, 1.0]]]])
    combined = composite(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), mask)
    assert combined[0, 2].tolist() == [[0, 0.25], [1, 1]]


def test_boundary_f_by_hand() -> None:
    target = torch.zeros(1, 1, 64, 64)  # boundaries match within one pixel
    target[..., 16:48, 16:48] = 1
    assert boundary_f(target, target) == 1
    shifted = target.roll(1, dims=3)
    assert boundary_f(shifted, target) == pytest.approx(1, abs=0.02)
    far = target.roll(6, dims=3)  # top and bottom mostly agree, left and right do not
    agree = (2 * 26 + 2 * 2) / 124
    assert boundary_f(far, target) == pytest.approx(agree, abs=0.05)
    nothing = torch.zeros_like(target)
    assert boundary_f(nothing, nothing) == 1 and boundary_f(nothing, target) == 0


def test_seam_ratio_by_hand() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    noise = 0.2 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert seam_ratio(noise, mask) == pytest.approx(1, abs=0.1)
    # One step of 0.5 in a band of five columns, on top of the noise.
    cut = seam_ratio(noise + 0.5 * mask, mask)
    assert cut > 1.5
    soft = seam_ratio(noise + 0.5 * torch.linspace(0, 1, 64), mask)
    assert soft < cut / 1.3
    assert seam_ratio(noise, torch.zeros_like(mask)) is None


def test_iterations_needed_by_hand() -> None:
    totals = {0: 100.0, 10: 10.0, 20: 1.0}
    assert iterations_needed(totals, 200.0) == 0
    assert iterations_needed(totals, 10.0) == pytest.approx(10)
    assert iterations_needed(totals, 10**1.5) == pytest.approx(5)  # half of the logarithm
    assert iterations_needed(totals, 10**0.5) == pytest.approx(15)
    assert iterations_needed(totals, 0.1) == 20
    assert iterations_needed({0: 1.0, 4: 0.0}, 1e-6) == pytest.approx(2)  # 0 counts as 1e-12


def test_objective_by_hand(flat, photo_folder, tmp_path: Path, monkeypatch, capsys) -> None:
    """A quadratic objective, which L-BFGS minimizes in two iterations."""
    target = (RED + BLUE).view(1, 3, 1, 1) / 2 + 0.1  # the network paints 0.1 less

    def objective(photo: torch.Tensor, painting) -> dict[str, torch.Tensor]:
        difference = (painting.stylized - target).square().mean()
        return {"content": difference, "tv": torch.ones(())}

    monkeypatch.setattr(EvaluatedPair, "objective", lambda pair: objective)
    argv = ["objective", "--photos", photo_folder[0], "--labels", photo_folder[1], "--count", 1]
    argv += ["--size", 80, "--iterations", 5, "--cache", tmp_path / "cache"]
    argv += ["--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    photo = read_picture(photo_folder[0] / "1.png").pixels[None]
    start = 1 + (photo - target).square().mean().item()
    for summary in figures["summaries"]:
        assert summary["network"] == pytest.approx({"content": 0.01, "tv": 1})
        assert sum(summary["solver"]["0"].values()) == pytest.approx(start)
        assert sum(summary["solver"]["5"].values()) == pytest.approx(1, abs=1e-5)
        needed = 5 * math.log(start / 1.01) / math.log(start)
        assert summary["iterations_mean"] == pytest.approx(needed, abs=1e-3)
        assert summary["iterations_median"] == summary["iterations_mean"]
    assert "15/15 iterations" in capsys.readouterr().err


def test_objective_command(
    checkpoint: Path, photo_folder, random_vgg: Path, tmp_path: Path, capsys
) -> None:
    argv = ["objective", "--checkpoint", checkpoint, "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1], "--vgg-weights", random_vgg, "--count", 2]
    argv += ["--size", 48, "--iterations", 7, "--cache", tmp_path / "cache"]
    argv += ["--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [s["alpha"] for s in figures["summaries"]] == [0, 0.5, 1]
    assert len(figures["comparisons"]) == 6
    for found in figures["comparisons"]:
        totals = {count: sum(terms.values()) for count, terms in found["solver"].items()}
        assert list(totals) == ["0", "5", "7"] and totals["7"] <= totals["5"] <= totals["0"]
        assert found["network"].keys() == found["solver"]["7"].keys()
    kept = sorted((tmp_path / "cache").glob("*.json"))
    assert len(kept) == 6
    times = [file.stat().st_mtime_ns for file in kept]
    first = capsys.readouterr().out
    assert evaluate.main([str(part) for part in argv]) == 0  # out of the cache this time
    assert capsys.readouterr().out == first
    assert [file.stat().st_mtime_ns for file in kept] == times
    assert evaluate.main([*map(str, argv), "--start", "noise"]) == 0  # not out of the cache
    noisy = json.loads((tmp_path / "figures.json").read_text())
    for before, after in zip(figures["comparisons"], noisy["comparisons"], strict=True):
        assert before["network"] == after["network"]
        assert before["solver"]["0"]["content"] == 0 < after["solver"]["0"]["content"]


def test_solve_command(
    checkpoint: Path, photo_folder, random_vgg: Path, tmp_path: Path, capsys
) -> None:
    photo, matte = photo_folder[0] / "1.png", photo_folder[1] / "1.png"
    argv = ["solve", photo, "--checkpoint", checkpoint, "--vgg-weights", random_vgg]
    argv += ["--mask", matte, "--iterations", 3, "--size", 64, "-o", tmp_path / "solved"]
    assert evaluate.main([str(part) for part in argv]) == 0
    for name in ("1", "1-foreground", "1-background"):
        with Image.open(tmp_path / "solved" / f"{name}.png") as image:
            assert image.size == (64, 53)
    assert "style " in capsys.readouterr().out
    argv = [str(part) for part in argv]
    assert evaluate.main(argv) == 2
    assert "exists; --force overwrites" in capsys.readouterr().err
    assert evaluate.main([*argv, "--force", "--alpha", "2"]) == 2
    assert "alpha must lie in [0, 1], not 2" in capsys.readouterr().err
    assert evaluate.main([*argv, "--force", "--size", "20"]) == 2
    assert "a side under 32 pixels" in capsys.readouterr().err
    assert evaluate.main(["solve", str(matte), *argv[1:], "--force"]) == 2
    assert "another photograph is written to" in capsys.readouterr().err


def test_solve_by_hand(flat, photo_folder, tmp_path: Path, monkeypatch) -> None:
    """A quadratic objective: the solver reaches its target in a few iterations."""
    target = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)

    def quadratic(vgg, styles, weights):
        return lambda content, painting: {"style": (painting.stylized - target).square().mean()}

    monkeypatch.setattr(solve, "Objective", quadratic)
    argv = ["solve", photo_folder[0] / "1.png", "--mask", photo_folder[1] / "1.png"]
    argv += ["--iterations", 4, "-o", tmp_path / "solved", "--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    pixels = read_picture(tmp_path / "solved" / "1.png").pixels
    assert (pixels - target[0]).abs().max() < 0.01
    ((_, terms),) = json.loads((tmp_path / "figures.json").read_text())["terms"].items()
    assert terms["style"] < 1e-5


def test_solve_by_the_reference_setting(
    checkpoint: Path, photo_folder, brightness_model: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    state = vgg19(weights=None).features[:27].state_dict()
    save_file({f"features.{k}": v for k, v in state.items()}, tmp_path / "19.safetensors")
    argv = ["solve", photo_folder[0] / "1.png", "--checkpoint", checkpoint, "--iterations", 2]
    argv += ["--vgg-weights", tmp_path / "19.safetensors", "--setting", "reference"]
    argv += ["--segmenter", brightness_model, "--size", 48, "-o", tmp_path / "solved"]
    argv += ["--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    ((_, terms),) = json.loads((tmp_path / "figures.json").read_text())["terms"].items()
    assert set(terms) == {"style", "blend", "content", "tv"} and terms["style"] > 0


def test_conditioning_cost_by_hand(flat, photo_folder, tmp_path: Path, monkeypatch) -> None:
    """The objective is the amount of red: 0.5 of our network, 0.2 of the fixed one."""

    class Fixed(FlatNetwork):
        def decode_all(self, encoded, alpha):
            view = super().decode_all(encoded, alpha)
            return view._replace(stylized=fill(encoded.photo, 0.2 * RED))

    training = flat.header["training"] | {"alpha_low": 1.0, "alpha_high": 1.0}
    header = flat.header | {"training": training}
    fixed = replace(flat, checkpoint="fixed", network=Fixed(), header=header)
    monkeypatch.setattr(EvaluatedPair, "load", lambda *arguments: fixed)
    monkeypatch.setattr(
        EvaluatedPair,
        "objective",
        lambda pair: lambda photo, painting: {"content": painting.stylized[:, 0].mean()},
    )
    argv = ["alpha", "--fixed", "fixed", "--photos", photo_folder[0], "--labels", photo_folder[1]]
    argv += ["--count", 2, "--size", 48, "--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    (cost,) = json.loads((tmp_path / "figures.json").read_text())["costs"]
    assert cost["alpha"] == 1 and cost["ratio"] == pytest.approx(2.5)
    assert cost["conditioned"] == pytest.approx({"content": 0.5})
    assert cost["fixed"] == pytest.approx({"content": 0.2})


def test_alpha_command(
    checkpoint: Path, photo_folder, random_vgg: Path, network, tmp_path: Path, capsys
) -> None:
    from duostyle.models import read_header, save_checkpoint

    header = read_header(checkpoint)
    files = []
    for alpha in (0.0, 1.0):
        training = header["training"] | {"alpha_low": alpha, "alpha_high": alpha}
        files.append(tmp_path / f"{alpha}.safetensors")
        for branch in (network.branch1, network.branch2):  # the second one paints everything gray
            for p in branch.to_rgb.parameters():
                p *= 1 - alpha
        save_checkpoint(files[-1], network, header | {"training": training})
    argv = ["alpha", "--checkpoint", checkpoint, "--fixed", *files, "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1], "--vgg-weights", random_vgg, "--count", 2, "--size", 48]
    argv += ["--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    same, other = json.loads((tmp_path / "figures.json").read_text())["costs"]
    assert same["alpha"] == 0 and same["ratio"] == pytest.approx(1, abs=1e-6)
    assert other["alpha"] == 1 and other["ratio"] != pytest.approx(1, abs=1e-3)
    assert "+0.0 %" in capsys.readouterr().out
    swapped = header["styles"][::-1]
    save_checkpoint(files[1], network, header | {"training": training, "styles": swapped})
    assert evaluate.main([str(part) for part in argv]) == 2
    assert "its styles or its objective are not those of --checkpoint" in capsys.readouterr().err
    argv[argv.index(files[0])] = checkpoint
    assert evaluate.main([str(part) for part in argv]) == 2
    assert "trained for alpha 0 to 1, not for a single one" in capsys.readouterr().err


def test_json_is_checked_before_measuring(
    checkpoint: Path, photo_folder, random_vgg: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "file").write_text("")
    argv = ["regions", "--checkpoint", checkpoint, "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1], "--vgg-weights", random_vgg]
    assert evaluate.main([*map(str, argv), "--json", str(tmp_path / "file" / "f.json")]) == 2
    streams = capsys.readouterr()
    assert "file" in streams.err and streams.err.count("\n") == 1 and streams.out == ""


def test_a_seam_that_cannot_be_measured_is_reported() -> None:
    row = (0.1, 0.9, 0.9, 0.1)
    report = RegionReport({alpha: [row] for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)}, [0.5], [0.4])
    assert "ours nan, composite nan" in table(report)
    assert report.results()["clean_seams"] is None
