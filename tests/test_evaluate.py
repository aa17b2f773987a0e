"""The measurements: known answers, and the command from end to end."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import vgg19

from duostyle.cli import evaluate
from duostyle.evaluation.boundary import boundary_f, paste, seam
from duostyle.evaluation.objective import closures_worth
from duostyle.evaluation.regions import (
    Regions,
    iou,
    region_grams,
    relative_distance,
    style_scale,
    table,
)
from duostyle.losses import PerceptualNetwork


def test_iou_by_hand() -> None:
    mask, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2, :] = 0.9  # 8 places
    target[..., 1:3, :] = 1  # 8 places, 4 in common
    known = torch.ones(1, 1, 4, 4)
    assert iou(mask, target, known) == pytest.approx(4 / 12)
    known[..., 0, :] = 0
    assert iou(mask, target, known) == pytest.approx(4 / 8)


def test_a_painting_wears_its_own_style(random_vgg: Path) -> None:
    vgg = PerceptualNetwork(random_vgg)
    one, two = torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 48) * 0.2
    targets = [region_grams(vgg, style)[0] for style in (one, two)]
    scale = style_scale(targets)
    (grams,) = region_grams(vgg, one, torch.ones(1, 1, 48, 48))
    assert relative_distance(grams, targets[0], scale) == pytest.approx(0, abs=1e-8)
    assert relative_distance(grams, targets[1], scale) > 1e-3


def test_regions_count_and_order() -> None:
    rows = {
        0.0: [(0.1, 0.9, 0.9, 0.1), (0.5, 0.4, 0.9, 0.1)],  # the second is wrong in front
        0.5: [(0.2, 0.5, 0.5, 0.2)],
        1.0: [(0.3, 0.4, 0.4, 0.3)],
    }
    figures = Regions(rows, [0.5, 1.0])
    assert figures.right() == 0.5
    assert figures.mean(0.0) == pytest.approx((0.3, 0.65, 0.9, 0.1))
    assert figures.falls() and figures.mean_iou() == 0.75
    figures.distances[1.0] = [(0.3, 0.6, 0.4, 0.3)]
    assert not figures.falls()


def test_command(checkpoint: Path, photo_folder, random_vgg: Path, tmp_path: Path, capsys) -> None:
    argv = ["regions", "--checkpoint", checkpoint, "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1], "--vgg-weights", random_vgg]
    argv += ["--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    printed = capsys.readouterr().out
    assert "5 photographs with 10 to 70 % foreground" in printed
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures["distances"]["0.25"]) == 5 and len(figures["ious"]) == 5
    assert 0 <= figures["mask_iou"] <= 1 and len(figures["seams"]) == 5
    assert figures["settings"]["question"] == "regions" and "git_revision" in figures
    assert "boundary F" in printed and "seam below the naive composite's" in printed


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
    assert "c.safetensors: of another version's objective" in printed and printed.count("\n") == 1


def test_paste_is_cut_along_the_mask() -> None:
    mask = torch.tensor([[[[0.0, 0.25], [1.0, 1.0]]]])
    pasted = paste(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), mask)
    assert pasted[0, 2].tolist() == [[0, 0.25], [1, 1]]


def test_boundary_f_by_hand() -> None:
    target = torch.zeros(1, 1, 64, 64)  # the reach is one pixel here
    target[..., 16:48, 16:48] = 1
    assert boundary_f(target, target) == 1
    shifted = target.roll(1, dims=3)
    assert boundary_f(shifted, target) == pytest.approx(1, abs=0.02)
    far = target.roll(6, dims=3)  # top and bottom mostly agree, left and right do not
    agree = (2 * 26 + 2 * 2) / 124
    assert boundary_f(far, target) == pytest.approx(agree, abs=0.05)
    nothing = torch.zeros_like(target)
    assert boundary_f(nothing, nothing) == 1 and boundary_f(nothing, target) == 0


def test_seam_by_hand() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    noise = 0.2 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert seam(noise, mask) == pytest.approx(1, abs=0.1)
    # One step of 0.5 on the boundary, five columns wide band: a fifth of it, over the noise.
    cut = seam(noise + 0.5 * mask, mask)
    assert cut > 1.5
    soft = seam(noise + 0.5 * torch.linspace(0, 1, 64), mask)
    assert soft < cut / 1.3
    assert seam(noise, torch.zeros_like(mask)) is None


def test_closures_worth_by_hand() -> None:
    totals = {0: 100.0, 10: 10.0, 20: 1.0}
    assert closures_worth(totals, 200.0) == 0
    assert closures_worth(totals, 10.0) == pytest.approx(10)
    assert closures_worth(totals, 10**1.5) == pytest.approx(5)  # halfway down, in logarithms
    assert closures_worth(totals, 10**0.5) == pytest.approx(15)
    assert closures_worth(totals, 0.1) == 20


def test_objective_command(
    checkpoint: Path, photo_folder, random_vgg: Path, tmp_path: Path, capsys
) -> None:
    argv = ["objective", "--checkpoint", checkpoint, "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1], "--vgg-weights", random_vgg, "--count", 2]
    argv += ["--size", 48, "--closures", 7, "--cache", tmp_path / "cache"]
    argv += ["--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [s["alpha"] for s in figures["summaries"]] == [0, 0.5, 1]
    assert len(figures["comparisons"]) == 6
    for found in figures["comparisons"]:
        totals = {mark: sum(terms.values()) for mark, terms in found["solver"].items()}
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
    argv += ["--mask", matte, "--closures", 3, "--size", 64, "-o", tmp_path / "solved"]
    assert evaluate.main([str(part) for part in argv]) == 0
    for name in ("1", "1-foreground", "1-background"):
        with Image.open(tmp_path / "solved" / f"{name}.png") as image:
            assert image.size == (64, 53)
    assert "style " in capsys.readouterr().out
    argv = [str(part) for part in argv]
    assert evaluate.main(argv) == 2
    assert "exists; --force overwrites" in capsys.readouterr().err
    assert evaluate.main([*argv, "--force", "--alpha", "2"]) == 2
    assert "alpha lies between 0 and 1" in capsys.readouterr().err
    assert evaluate.main([*argv, "--force", "--size", "20"]) == 2
    assert "a side under 32 pixels" in capsys.readouterr().err
    assert evaluate.main(["solve", str(matte), *argv[1:], "--force"]) == 2
    assert "another photograph becomes" in capsys.readouterr().err


def test_solve_by_the_reference_setting(
    checkpoint: Path, photo_folder, brightness_model: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    state = vgg19(weights=None).features[:27].state_dict()
    save_file({f"features.{k}": v for k, v in state.items()}, tmp_path / "19.safetensors")
    argv = ["solve", photo_folder[0] / "1.png", "--checkpoint", checkpoint, "--closures", 2]
    argv += ["--vgg-weights", tmp_path / "19.safetensors", "--setting", "reference"]
    argv += ["--segmenter", brightness_model, "--size", 48, "-o", tmp_path / "solved"]
    argv += ["--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    ((_, terms),) = json.loads((tmp_path / "figures.json").read_text())["terms"].items()
    assert set(terms) == {"style", "blend", "content", "tv"} and terms["style"] > 0


def test_alpha_command(
    checkpoint: Path, photo_folder, random_vgg: Path, network, tmp_path: Path, capsys
) -> None:
    from duostyle.models import read_header, save_checkpoint

    header = read_header(checkpoint)
    files = []
    for alpha in (0.0, 1.0):
        training = header["training"] | {"alpha_low": alpha, "alpha_high": alpha}
        files.append(tmp_path / f"{alpha}.safetensors")
        for p in network.to_rgb.parameters():  # the second one paints everything grey
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
    assert "another pair or objective" in capsys.readouterr().err
    argv[argv.index(files[0])] = checkpoint
    assert evaluate.main([str(part) for part in argv]) == 2
    assert "trained for alpha 0 to 1, not one" in capsys.readouterr().err


def test_nothing_is_measured_for_a_place_that_cannot_be_written(
    checkpoint: Path, photo_folder, random_vgg: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "file").write_text("")
    argv = ["regions", "--checkpoint", checkpoint, "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1], "--vgg-weights", random_vgg]
    assert evaluate.main([*map(str, argv), "--json", str(tmp_path / "file" / "f.json")]) == 2
    streams = capsys.readouterr()
    assert "file" in streams.err and streams.err.count("\n") == 1 and streams.out == ""


def test_regions_without_a_seam_are_reported() -> None:
    row = (0.1, 0.9, 0.9, 0.1)
    found = Regions({alpha: [row] for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)}, [0.5], [0.4])
    assert "ours nan, naive nan" in table(found)
