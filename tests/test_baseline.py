"""The baseline: its networks by known answers, and the comparison from end to end."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import vgg16

from duostyle.cli import evaluate
from duostyle.data.photos import find_labels
from duostyle.evaluation.baseline import lpips_distance, measure, table
from duostyle.evaluation.metrics import region_grams, relative_distance, style_scale
from duostyle.evaluation.pair import EvaluatedPair
from duostyle.evaluation.single_style import (
    Baseline,
    SingleStyleNetwork,
    composite_by_predicted_mask,
    load_single_style,
)
from duostyle.io.images import read_picture, read_style
from duostyle.io.pixels import tensor_to_pil
from duostyle.losses import PerceptualNetwork
from tests.flat import BLUE, PERSON, RED, TOP, FlatNetwork, fill, flat_pair


@pytest.fixture
def network_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(SingleStyleNetwork().state_dict(), tmp_path / "network.safetensors")
    return tmp_path / "network.safetensors"


def flat_network_file(path: Path, color: torch.Tensor) -> Path:
    """A single-style network that paints every picture in one color."""
    network = SingleStyleNetwork()
    torch.nn.init.zeros_(network.deconv3.conv2d.weight)
    with torch.no_grad():
        network.deconv3.conv2d.bias.copy_(255 * color)
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def whole_vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 13 convolutions, random."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "whole.safetensors"
    state = vgg16(weights=None).features.state_dict()
    save_file({f"features.{k}": v for k, v in state.items()}, path)
    return path


def test_baseline_combines_by_the_segmentation() -> None:
    def person_on_the_left(picture: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(1, 21, *picture.shape[-2:])
        logits[:, 15, :, : picture.shape[-1] // 2] = 9
        logits[:, 0, :, picture.shape[-1] // 2 :] = 9
        return logits

    baseline = Baseline(person_on_the_left, lambda x: x * 0 + 0.25, lambda x: x * 0 + 0.75)
    stylized = baseline.stylize(torch.rand(1, 3, 40, 64), (15,))
    assert (stylized[..., :31] == 0.25).all() and (stylized[..., 33:] == 0.75).all()
    assert (baseline.stylize(torch.rand(1, 3, 40, 64), (12,)) == 0.75).all()  # no dog in it


def test_odd_sizes_and_damaged_files(network_file: Path, random_vgg: Path, tmp_path: Path) -> None:
    assert load_single_style(network_file)(torch.rand(1, 3, 33, 50)).shape[-2:] == (36, 52)
    with pytest.raises(FileNotFoundError, match="no such single-style network"):
        load_single_style(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="not a fast_neural_style network"):
        load_single_style(random_vgg)


def test_shared_single_style_network_paints_its_style(shared: Path) -> None:
    vgg = PerceptualNetwork(shared / "weights" / "vgg16_features.safetensors")
    photo = read_picture(sorted((shared / "photos" / "val").iterdir())[0]).pixels[None]
    styles = [read_style(shared / "styles" / f"{name}.jpg", 256) for name in ("candy", "mosaic")]
    targets = [region_grams(vgg, style)[0] for style in styles]
    scale = style_scale(targets)
    for number, name in enumerate(("candy", "mosaic")):
        painted = load_single_style(shared / "peers" / f"fast_neural_style_{name}.safetensors")(
            photo
        )
        (grams,), (plain,) = region_grams(vgg, painted), region_grams(vgg, photo)
        own, other = (relative_distance(grams, targets[n], scale) for n in (number, 1 - number))
        assert own < other, name
        assert own < relative_distance(plain, targets[number], scale), name


def test_lpips_of_equal_and_different_pictures(whole_vgg: Path, random_vgg: Path) -> None:
    distance = lpips_distance(whole_vgg, "cpu")
    one = torch.rand(1, 3, 64, 64)
    assert distance(one, one) == pytest.approx(0, abs=1e-6)
    slight, strong = one + 0.02 * torch.randn_like(one), torch.rand(1, 3, 64, 64)
    assert 0 < distance(slight, one) < distance(strong, one)
    with pytest.raises(ValueError, match=r"all 13 convolutions, features\.\d+\.weight is missing"):
        lpips_distance(random_vgg, "cpu")


def test_shared_lpips_orders_pictures(shared: Path, astronaut: Path) -> None:
    # A blur is closer to the photograph than the negative; random weights do not know that.
    distance = lpips_distance(shared / "weights" / "vgg16_features.safetensors", "cpu")
    photo = read_picture(astronaut).pixels[None, :, ::4, ::4]
    blur = torch.nn.functional.avg_pool2d(photo, 3, 1, 1)
    assert distance(blur, photo) < 0.35 < distance(1 - photo, photo)


def test_scores_by_hand(photo_folder, tmp_path: Path) -> None:
    """Ours is right; the baseline finds the person but paints everything blue."""
    pair = flat_pair(tmp_path)

    def person(picture: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(1, 21, *picture.shape[-2:])
        logits[:, 15] = 1
        return logits

    def blue(photo: torch.Tensor) -> torch.Tensor:
        return fill(photo, BLUE)

    def distance(one: torch.Tensor, other: torch.Tensor) -> float:
        return (one - other).abs().mean().item()

    entries = find_labels(*photo_folder)
    scores = measure(pair, Baseline(person, blue, blue), distance, entries, 2)
    assert {name: len(found) for name, found in scores.items()} == {"ours": 2, "baseline": 2}
    for number, (ours, theirs) in enumerate(zip(*scores.values(), strict=True), start=1):
        photo = read_picture(photo_folder[0] / f"{number}.png").pixels[None]
        right, wrong = FlatNetwork()(photo, 0.0), fill(photo, BLUE)
        assert ours.foreground_style == pytest.approx(0, abs=1e-4)
        assert theirs.foreground_style == pytest.approx(2, abs=1e-4)
        assert ours.background_style == pytest.approx(0, abs=1e-4)
        assert theirs.background_style == pytest.approx(0, abs=1e-4)
        for score, stylized in ((ours, right), (theirs, wrong)):
            assert score.content == pytest.approx((stylized - photo).square().mean().item())
            assert score.lpips == pytest.approx((stylized - photo).abs().mean().item())
            assert 0 < score.seconds < 5
        assert ours.seam > 5 and theirs.seam is None  # a mask of everything has no boundary
    lines = table(scores).splitlines()
    assert "2 photographs, alpha 0" in lines[0]
    assert lines[3].split()[:3] == ["baseline", "2.0000", "0.0000"] and " - " in lines[3]


def test_composite_by_the_predicted_mask() -> None:
    stylize = composite_by_predicted_mask(FlatNetwork(), lambda x: x * 0 + 1, lambda x: x * 0)
    stylized = stylize(torch.rand(1, 3, 80, 96))
    assert (stylized[TOP] == 1).all() and stylized.sum() == 3 * 20 * 48


def test_command(
    photo_folder, whole_vgg: Path, brightness_model: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Two networks that paint the pair's flat styles, by a mask that is right: no style error."""
    pair = flat_pair(tmp_path)
    monkeypatch.setattr(EvaluatedPair, "from_arguments", lambda args: pair)
    photo = torch.zeros(1, 3, 80, 96)
    photo[PERSON] = 1
    for number in range(6):
        tensor_to_pil(photo[0]).save(photo_folder[0] / f"{number}.png")
    red = flat_network_file(tmp_path / "red.safetensors", RED)
    blue = flat_network_file(tmp_path / "blue.safetensors", BLUE)
    argv = ["baseline", "--photos", photo_folder[0], "--labels", photo_folder[1], "--count", 2]
    argv += ["--vgg-weights", whole_vgg, "--segmenter", brightness_model]
    argv += ["--baseline", red, blue, "--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    found = json.loads((tmp_path / "figures.json").read_text())
    stylized = FlatNetwork()(photo, 0.0)
    expected = lpips_distance(whole_vgg, "cpu")(stylized, photo)
    for name in ("ours", "baseline"):
        assert len(found[name]) == 2
        for score in found[name]:
            assert score["foreground_style"] == pytest.approx(0, abs=1e-4)
            assert score["background_style"] == pytest.approx(0, abs=1e-4)
            assert score["content"] == pytest.approx((stylized - photo).square().mean().item())
            assert score["lpips"] == pytest.approx(expected, rel=1e-3)
    assert "2 photographs, alpha 0" in capsys.readouterr().out
