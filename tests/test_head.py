"""DeepLab's head: logits by hand, classes chosen, and the teacher's own answers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from duostyle.data.masks import load_segmenter
from duostyle.io.images import read_picture
from duostyle.models import pretrained_backbone
from duostyle.models.mask import CLASSES, DeepLabHead, MaskBranch
from duostyle.training import TrainConfig
from duostyle.training.initialization import build_network, freeze
from tests.conftest import ROOT


@pytest.fixture
def plain_head() -> DeepLabHead:
    """A head that says the same everywhere: 1 for background, 2 for class 12, 3 for class 15."""
    head = DeepLabHead(8, channels=4)
    torch.nn.init.zeros_(head.classes.weight)
    torch.nn.init.constant_(head.classes.bias, -50)
    with torch.no_grad():
        head.classes.bias[[0, 12, 15]] = torch.tensor([1.0, 2.0, 3.0])
    return head


def test_foreground_logit_by_hand(plain_head: DeepLabHead) -> None:
    known, foreground = plain_head(torch.rand(2, 8, 3, 5))
    assert known.shape == (2, 4 + CLASSES, 3, 5) and foreground.shape == (2, 1, 3, 5)
    e = torch.tensor([1.0, 2.0, 3.0]).exp()
    torch.testing.assert_close(foreground[0, 0, 0, 0], ((e[1] + e[2]) / e[0]).log())
    torch.testing.assert_close(foreground.sigmoid()[0, 0, 0, 0], (e[1] + e[2]) / e.sum())
    torch.testing.assert_close(known[0, 4 + 15, 0, 0], e[2] / e.sum())


def test_only_chosen_classes_are_foreground(plain_head: DeepLabHead) -> None:
    e = torch.tensor([1.0, 2.0, 3.0]).exp()
    plain_head.choose((12,))  # dogs; the person belongs to the background now
    _, foreground = plain_head(torch.rand(1, 8, 2, 2))
    torch.testing.assert_close(foreground[0, 0, 0, 0], (e[1] / (e[0] + e[2])).log())
    assert plain_head.wanted.tolist() == [float(n == 12) for n in range(CLASSES)]
    assert "wanted" in plain_head.state_dict()  # a checkpoint remembers it


def test_mask_starts_as_the_heads() -> None:
    torch.manual_seed(0)
    branch = MaskBranch(97, edge_channels=8).eval()
    picture, edges = torch.rand(1, 3, 96, 96), torch.rand(1, 8, 24, 24)
    with torch.no_grad():
        _, foreground = branch.head(branch.pyramid(picture)[3])
        expected = F.interpolate(foreground, (25, 25), mode="bilinear", align_corners=True)
        expected = F.interpolate(expected, (24, 24), mode="bilinear", align_corners=True)
        torch.testing.assert_close(branch(picture, edges), expected)


def test_wrong_files_are_named(brightness_model: Path, tmp_path: Path) -> None:
    head = DeepLabHead(320)
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: no such segmentation model"):
        head.load_trained(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match=r"no DeepLab head \(image_pooling\.weight is missing\)"):
        head.load_trained(brightness_model)
    (tmp_path / "junk.onnx").write_bytes(b"junk and more junk")
    with pytest.raises(ValueError, match=r"junk\.onnx: not an ONNX file"):
        head.load_trained(tmp_path / "junk.onnx")


def test_answers_as_deeplab_does_at_every_32nd_pixel(shared: Path, astronaut: Path) -> None:
    model = shared / "weights" / "deeplabv3_mobilenetv2_voc21.onnx"
    branch = MaskBranch(513, edge_channels=8).eval()
    branch.backbone = pretrained_backbone(
        shared / "weights" / "mobilenet_v2_voc_features.safetensors"
    )
    branch.head.load_trained(model)
    with pytest.raises(ValueError, match="its head does not fit"):
        DeepLabHead(16).load_trained(model)
    picture = F.interpolate(read_picture(astronaut).pixels[None], (513, 513), mode="bilinear")
    with torch.no_grad():
        _, ours = branch.head(branch.pyramid(picture)[3])
    theirs = load_segmenter(str(model))(picture)
    theirs = theirs[:, 1:].logsumexp(dim=1, keepdim=True) - theirs[:, :1]
    theirs = theirs[..., ::32, ::32]
    assert ours.shape == theirs.shape
    assert ((ours > 0) == (theirs > 0)).float().mean() > 0.97
    # The teacher pools over all of its finer grid: a little off, everywhere the same way.
    assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > 0.99


STYLES = [str(path) for path in sorted((ROOT / "assets" / "styles").glob("*.jpg"))]


def test_a_trained_head_is_frozen_and_a_new_one_learns(shared: Path) -> None:
    config = TrainConfig(
        foreground_style=STYLES[0],
        background_style=STYLES[1],
        size="small",
        backbone_weights="random",
        foreground="person,dog",
    )
    network = freeze(build_network(config), config)
    branch = network.mask_branch
    assert all(p.requires_grad for p in branch.head.parameters())
    assert branch.head.wanted.nonzero().flatten().tolist() == [12, 15]
    branch.head.load_trained(shared / "weights" / "deeplabv3_mobilenetv2_voc21.onnx")
    freeze(network, config)
    assert not any(p.requires_grad for p in branch.head.parameters())
    assert all(p.requires_grad for p in branch.up16.parameters())
    freeze(network, replace(config, train_backbone=True))
    assert all(p.requires_grad for p in branch.head.parameters())
