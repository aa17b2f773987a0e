"""DeepLab's head: logits by hand, classes chosen."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

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
    plain_head.set_foreground_classes((12,))  # dogs; the person belongs to the background now
    _, foreground = plain_head(torch.rand(1, 8, 2, 2))
    torch.testing.assert_close(foreground[0, 0, 0, 0], (e[1] / (e[0] + e[2])).log())
    assert plain_head.wanted.tolist() == [float(n == 12) for n in range(CLASSES)]
    assert "wanted" in plain_head.state_dict()  # a checkpoint remembers it


def test_mask_starts_as_the_heads() -> None:
    torch.manual_seed(0)
    branch = MaskBranch(97, edge_width=2).eval()
    picture, edges = torch.rand(1, 3, 96, 96), torch.rand(1, 8, 24, 24)
    with torch.no_grad():
        _, foreground = branch.head(branch.pyramid(picture)[3])
        expected = F.interpolate(foreground, (25, 25), mode="bilinear", align_corners=True)
        expected = F.interpolate(expected, (24, 24), mode="bilinear", align_corners=True)
        torch.testing.assert_close(branch(picture, edges), expected)


STYLES = [str(path) for path in sorted((ROOT / "assets" / "styles").glob("*.jpg"))]


def test_a_trained_head_is_frozen_and_a_new_one_learns() -> None:
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
    branch.head.taken.fill_(1)
    freeze(network, config)
    assert not any(p.requires_grad for p in branch.head.parameters())
    assert all(p.requires_grad for p in branch.up16.parameters())
    freeze(network, replace(config, train_backbone=True))
    assert all(p.requires_grad for p in branch.head.parameters())
