"""The naive pipeline: its network by known answers, and the comparison from end to end."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import vgg16

from duostyle.cli import evaluate
from duostyle.evaluation.baseline import Rivals, lpips_distance
from duostyle.evaluation.peer_network import PeerNetwork, load_peer
from duostyle.evaluation.regions import region_grams, relative_distance, style_scale
from duostyle.io.images import read_picture, read_style
from duostyle.losses import PerceptualNetwork


@pytest.fixture
def peer_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(PeerNetwork().state_dict(), tmp_path / "peer.safetensors")
    return tmp_path / "peer.safetensors"


@pytest.fixture(scope="session")
def whole_vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 13 convolutions, random."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "whole.safetensors"
    state = vgg16(weights=None).features.state_dict()
    save_file({f"features.{k}": v for k, v in state.items()}, path)
    return path


def test_naive_pipeline_pastes_by_the_label() -> None:
    def person_on_the_left(picture: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(1, 21, *picture.shape[-2:])
        logits[:, 15, :, : picture.shape[-1] // 2] = 9
        logits[:, 0, :, picture.shape[-1] // 2 :] = 9
        return logits

    rivals = Rivals(person_on_the_left, lambda x: x * 0 + 0.25, lambda x: x * 0 + 0.75)
    painted = rivals.paint(torch.rand(1, 3, 40, 64), (15,))
    assert (painted[..., :31] == 0.25).all() and (painted[..., 33:] == 0.75).all()
    assert (rivals.paint(torch.rand(1, 3, 40, 64), (12,)) == 0.75).all()  # no dog there


def test_odd_sizes_and_damage(peer_file: Path, random_vgg: Path, tmp_path: Path) -> None:
    assert load_peer(peer_file)(torch.rand(1, 3, 33, 50)).shape[-2:] == (36, 52)
    with pytest.raises(FileNotFoundError, match="no such peer"):
        load_peer(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="not a fast_neural_style network"):
        load_peer(random_vgg)


def test_shared_peer_paints_its_style(shared: Path) -> None:
    vgg = PerceptualNetwork(shared / "weights" / "vgg16_features.safetensors")
    photo = read_picture(sorted((shared / "photos" / "val").iterdir())[0]).pixels[None]
    styles = [read_style(shared / "styles" / f"{name}.jpg", 256) for name in ("candy", "mosaic")]
    targets = [region_grams(vgg, style)[0] for style in styles]
    scale = style_scale(targets)
    for number, name in enumerate(("candy", "mosaic")):
        painted = load_peer(shared / "peers" / f"fast_neural_style_{name}.safetensors")(photo)
        (grams,), (plain,) = region_grams(vgg, painted), region_grams(vgg, photo)
        own, other = (relative_distance(grams, targets[n], scale) for n in (number, 1 - number))
        assert own < other, name
        assert own < relative_distance(plain, targets[number], scale), name


def test_lpips_knows_the_same_from_another(whole_vgg: Path, random_vgg: Path) -> None:
    distance = lpips_distance(whole_vgg, "cpu")
    one = torch.rand(1, 3, 64, 64)
    assert distance(one, one) == pytest.approx(0, abs=1e-6)
    slight, strong = one + 0.02 * torch.randn_like(one), torch.rand(1, 3, 64, 64)
    assert 0 < distance(slight, one) < distance(strong, one)
    with pytest.raises(ValueError, match=r"all 13 convolutions, features\.\d+\.weight is missing"):
        lpips_distance(random_vgg, "cpu")


def test_shared_lpips_is_the_published_one(shared: Path, astronaut: Path) -> None:
    # A blur is nearer to the photograph than its negative; an order that random weights miss.
    distance = lpips_distance(shared / "weights" / "vgg16_features.safetensors", "cpu")
    photo = read_picture(astronaut).pixels[None, :, ::4, ::4]
    blur = torch.nn.functional.avg_pool2d(photo, 3, 1, 1)
    assert distance(blur, photo) < 0.35 < distance(1 - photo, photo)


def test_command(
    checkpoint: Path,
    photo_folder,
    whole_vgg: Path,
    peer_file: Path,
    brightness_model: Path,
    tmp_path: Path,
    capsys,
) -> None:
    argv = ["peers", "--checkpoint", checkpoint, "--photos", photo_folder[0], "--count", 2]
    argv += ["--labels", photo_folder[1], "--vgg-weights", whole_vgg, "--segmenter"]
    argv += [brightness_model, "--peers", peer_file, peer_file, "--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    found = json.loads((tmp_path / "figures.json").read_text())
    for name in ("ours", "naive"):
        assert len(found[name]) == 2
        assert all(score["seconds"] > 0 and score["lpips"] > 0 for score in found[name])
    printed = capsys.readouterr().out
    assert "2 photographs, alpha 0" in printed and "naive" in printed
