"""Contrast of the last norm: lightness range as in the style images."""

from pathlib import Path

import pytest
import torch

from duostyle.models import StyleNetwork, load_pair, read_header, save_checkpoint
from duostyle.training.contrast import (
    adjust_contrast,
    best_contrast,
    lightness,
    lightness_range,
    main,
)
from tests.conftest import ROOT


def test_lightness_by_hand() -> None:
    # Black, white, and the gray of 18.42 % luminance, whose L* is 50.
    gray = 1.055 * 0.18418651851244416 ** (1 / 2.4) - 0.055
    picture = torch.tensor([0.0, 1.0, gray]).expand(3, 3)
    assert torch.allclose(lightness(picture), torch.tensor([0.0, 1.0, 0.5]), atol=1e-4)


def test_finds_the_contrast_that_was_taken_away() -> None:
    torch.manual_seed(0)
    shift = torch.full((3, 4000), 0.2)
    values = 1.5 * torch.randn(1, 4000).expand(3, -1) + shift
    target = lightness_range(torch.sigmoid(values))
    faded = (values - shift) / 1.25 + shift + 0.3
    factor, offset = best_contrast([(faded, shift + 0.3)], target)
    assert factor == pytest.approx(1.25) and offset == pytest.approx(-0.3, abs=0.11)


def test_adjusting_contrast_changes_the_last_sigmoids_input(network: StyleNetwork) -> None:
    content, mask = torch.rand(1, 3, 32, 40), torch.rand(1, 1, 32, 40)
    shifts = [b.to_rgb.style.shift for b in (network.branch1, network.branch2)]
    shift = mask * shifts[0][0] + (1 - mask) * shifts[1][1]
    network.train()  # without the last layer
    before = torch.logit(network(content, 0.0, mask))
    adjust_contrast(network, 1.5, -0.25)
    after = torch.logit(network(content, 0.0, mask))
    assert torch.allclose(after, 1.5 * (before - shift) + shift - 0.25, atol=1e-3)


@pytest.mark.parametrize("header", [{}, {"styles": [{"name": "a"}, {"name": "b"}]}])
def test_a_pair_without_digests_of_its_styles_is_refused(
    network: StyleNetwork, header: dict[str, object], tmp_path: Path, capsys
) -> None:
    pair = tmp_path / "pair.safetensors"
    save_checkpoint(pair, network, header)
    paintings = [str(ROOT / "assets" / "styles" / n) for n in ("straw_hat.jpg", "cypresses.jpg")]
    photos = str(ROOT / "assets" / "photos")
    assert main([str(pair), "--photos", photos, "--styles", *paintings]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and f"{pair}: has other styles" in lines[0]


def test_command_line_changes_a_pair_once_and_names_what_is_wrong(checkpoint: Path, capsys) -> None:
    paintings = [str(ROOT / "assets" / "styles" / n) for n in ("straw_hat.jpg", "cypresses.jpg")]
    photos = ["--photos", str(ROOT / "assets" / "photos"), "--count", "2"]
    assert main([str(checkpoint), *photos, "--styles", *reversed(paintings)]) == 2
    before = load_pair(checkpoint).branch1.to_rgb.style.scale
    assert main([str(checkpoint), *photos, "--styles", *paintings]) == 0
    header, after = read_header(checkpoint), load_pair(checkpoint).branch1.to_rgb.style.scale
    assert torch.allclose(after, header["contrast"]["factor"] * before, atol=2e-3)
    assert main([str(checkpoint), *photos, "--styles", *paintings]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(str(checkpoint) in line for line in lines)
    assert "has other styles" in lines[0] and "contrast is matched already" in lines[1]
