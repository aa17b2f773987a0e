"""Contrast of the last norm: lights and darks as in the paintings."""

import pytest
import torch

from models import StyleNetwork
from training.contrast import best_contrast, ends, lightness, stretch


def test_lightness_by_hand() -> None:
    # Black, white, and the grey of 18.42 % luminance, whose L* is 50.
    grey = 1.055 * 0.18418651851244416 ** (1 / 2.4) - 0.055
    picture = torch.tensor([0.0, 1.0, grey]).expand(3, 3)
    assert torch.allclose(lightness(picture), torch.tensor([0.0, 1.0, 0.5]), atol=1e-4)


def test_finds_the_contrast_that_was_taken_away() -> None:
    torch.manual_seed(0)
    shift = torch.full((3, 4000), 0.2)
    values = 1.5 * torch.randn(1, 4000).expand(3, -1) + shift
    target = ends(torch.sigmoid(values))
    faded = (values - shift) / 1.25 + shift + 0.3
    factor, offset = best_contrast([(faded, shift + 0.3)], target)
    assert factor == pytest.approx(1.25) and offset == pytest.approx(-0.3, abs=0.11)


def test_stretch_changes_the_last_sigmoids_input(network: StyleNetwork) -> None:
    content, mask = torch.rand(1, 3, 32, 40), torch.rand(1, 1, 32, 40)
    shift = network.to_rgb.style.mixed(mask)[1]
    before = torch.logit(network(content, 0.0, mask))
    stretch(network, 1.5, -0.25)
    after = torch.logit(network(content, 0.0, mask))
    assert torch.allclose(after, 1.5 * (before - shift) + shift - 0.25, atol=1e-3)
