"""Synthetic warps and the temporal term."""

import pytest
import torch

from duostyle.losses import temporal_distance
from duostyle.training.warps import NOISE, add_warped, draw_warps, warp

PICTURE = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(1))


def test_a_shift_by_whole_pixels() -> None:
    displacements = torch.zeros(2, 2, 20, 20)
    displacements[:, 0] = 3  # from three pixels to the right
    displacements[1, 1] = -2  # and two up
    warped, valid = warp(PICTURE, displacements)
    torch.testing.assert_close(warped[0, :, :, :17], PICTURE[0, :, :, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(warped[1, :, 2:, :17], PICTURE[1, :, :-2, 3:], atol=1e-5, rtol=0)
    assert valid[0].sum() == 20 * 17 and valid[1].sum() == 18 * 17
    assert valid[0, 0, :, :17].all() and not valid[0, 0, :, 17:].any()


def test_no_displacement_changes_nothing() -> None:
    warped, valid = warp(PICTURE, torch.zeros(2, 2, 20, 20))
    torch.testing.assert_close(warped, PICTURE, atol=1e-5, rtol=0)
    assert valid.all()


def test_the_distance_by_hand() -> None:
    stylized, warped = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    stylized[0, :, :2] = 0.5
    valid = torch.ones(2, 1, 4, 4)
    assert temporal_distance(stylized, warped, valid).tolist() == [0.125, 0]
    valid[0, :, :2] = 0
    assert temporal_distance(stylized, warped, valid).tolist() == [0, 0]
    assert temporal_distance(stylized, warped, torch.zeros(2, 1, 4, 4)).tolist() == [0, 0]


def test_a_warp_depends_on_its_seed_alone_and_is_smooth() -> None:
    first, again = draw_warps([5, 6], 64), draw_warps([6, 5], 64)
    assert torch.equal(first.displacements[0], again.displacements[1])
    assert torch.equal(first.noise[1], again.noise[0])
    assert not torch.equal(first.displacements[0], first.displacements[1])
    steps = first.displacements.diff(dim=-1).abs().max()
    assert 0 < steps < 0.3 and first.displacements.abs().max() < 20
    assert first.noise.std() < 1.5 * NOISE


def test_warped_copies_are_appended() -> None:
    mask, alpha = torch.ones(2, 1, 20, 20), torch.tensor([0.0, 1.0])
    warps = draw_warps([1, 2], 20)
    crops, masks, alphas = add_warped(PICTURE, mask, alpha, warps)
    assert torch.equal(crops[:2], PICTURE) and alphas.tolist() == [0, 1, 0, 1]
    expected = (warp(PICTURE, warps.displacements)[0] + warps.noise).clamp(0, 1)
    assert torch.equal(crops[2:], expected) and masks.min() == pytest.approx(1, abs=1e-5)
