"""The temporal filter: still places are averaged over time, moving ones and cuts are not."""

import pytest
import torch
from torch import Tensor

from duostyle.inference.temporal_filter import TemporalFilter

PHOTO = torch.full((1, 3, 40, 40), 0.5)


def stylized(value: float) -> dict[str, Tensor]:
    return {"stylized": torch.full((1, 3, 40, 40), value)}


def test_still_places_are_averaged_by_the_strength() -> None:
    smooth = TemporalFilter(0.75)
    assert torch.equal(smooth(PHOTO, stylized(0.0))["stylized"], stylized(0.0)["stylized"])
    noisy = PHOTO + 0.005 * torch.randn(PHOTO.shape, generator=torch.Generator().manual_seed(1))
    after = smooth(noisy, stylized(1.0))["stylized"]
    torch.testing.assert_close(after, torch.full_like(after, 0.25))
    after = smooth(PHOTO, stylized(1.0))["stylized"]
    torch.testing.assert_close(after, torch.full_like(after, 1 - 0.75**2))


def test_moving_places_show_the_new_frame() -> None:
    smooth = TemporalFilter(0.9)
    smooth(PHOTO, stylized(0.0))
    moved = PHOTO.clone()
    moved[..., 10:20, 10:20] = 0.9
    after = smooth(moved, stylized(1.0))["stylized"]
    assert (after[..., 8:22, 8:22] == 1).all()
    torch.testing.assert_close(after[..., 30:, 30:], torch.full((1, 3, 10, 10), 0.1))


def test_cuts_a_reset_and_another_size_show_the_new_frame() -> None:
    smooth = TemporalFilter(0.9)
    smooth(PHOTO, stylized(0.0))
    assert (smooth(1 - 0.9 * PHOTO, stylized(1.0))["stylized"] == 1).all()
    smooth = TemporalFilter(0.9)
    smooth(PHOTO, stylized(0.0))
    smooth.reset()
    assert (smooth(PHOTO, stylized(1.0))["stylized"] == 1).all()
    small = {"stylized": torch.ones(1, 3, 24, 24)}
    assert (smooth(torch.rand(1, 3, 24, 24), small)["stylized"] == 1).all()


def test_strength_is_checked() -> None:
    for strength in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"steady must lie in \[0, 1\)"):
            TemporalFilter(strength)
    smooth = TemporalFilter(0.0)
    smooth(PHOTO, stylized(0.0))
    assert (smooth(PHOTO, stylized(1.0))["stylized"] == 1).all()
