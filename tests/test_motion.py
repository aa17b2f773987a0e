"""Known motions and the steadiness term."""

import pytest
import torch

from duostyle.losses import steadiness_distance
from duostyle.training.motion import NOISE, draw_motions, move, with_moved

PICTURE = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(1))


def test_a_shift_by_whole_pixels() -> None:
    displacements = torch.zeros(2, 2, 20, 20)
    displacements[:, 0] = 3  # from three pixels to the right
    displacements[1, 1] = -2  # and two up
    moved, seen = move(PICTURE, displacements)
    torch.testing.assert_close(moved[0, :, :, :17], PICTURE[0, :, :, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[1, :, 2:, :17], PICTURE[1, :, :-2, 3:], atol=1e-5, rtol=0)
    assert seen[0].sum() == 20 * 17 and seen[1].sum() == 18 * 17
    assert seen[0, 0, :, :17].all() and not seen[0, 0, :, 17:].any()


def test_no_motion_changes_nothing() -> None:
    moved, seen = move(PICTURE, torch.zeros(2, 2, 20, 20))
    torch.testing.assert_close(moved, PICTURE, atol=1e-5, rtol=0)
    assert seen.all()


def test_the_distance_by_hand() -> None:
    again, moved = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    again[0, :, :2] = 0.5
    seen = torch.ones(2, 1, 4, 4)
    assert steadiness_distance(again, moved, seen).tolist() == [0.125, 0]
    seen[0, :, :2] = 0
    assert steadiness_distance(again, moved, seen).tolist() == [0, 0]
    assert steadiness_distance(again, moved, torch.zeros(2, 1, 4, 4)).tolist() == [0, 0]


def test_motions_are_the_seeds_own_and_smooth() -> None:
    first, again = draw_motions([5, 6], 64), draw_motions([6, 5], 64)
    assert torch.equal(first.displacements[0], again.displacements[1])
    assert torch.equal(first.noise[1], again.noise[0])
    assert not torch.equal(first.displacements[0], first.displacements[1])
    steps = first.displacements.diff(dim=-1).abs().max()
    assert 0 < steps < 0.3 and first.displacements.abs().max() < 20
    assert first.noise.std() < 1.5 * NOISE


def test_moved_ones_come_behind() -> None:
    mask, alpha = torch.ones(2, 1, 20, 20), torch.tensor([0.0, 1.0])
    motion = draw_motions([1, 2], 20)
    crops, masks, alphas = with_moved(PICTURE, mask, alpha, motion)
    assert torch.equal(crops[:2], PICTURE) and alphas.tolist() == [0, 1, 0, 1]
    expected = (move(PICTURE, motion.displacements)[0] + motion.noise).clamp(0, 1)
    assert torch.equal(crops[2:], expected) and masks.min() == pytest.approx(1, abs=1e-5)
    assert torch.equal(with_moved(PICTURE, mask, alpha, None)[0], PICTURE)
