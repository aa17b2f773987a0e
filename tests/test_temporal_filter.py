"""The recursive filter: still places keep their paint, moving ones and cuts do not."""

import pytest
import torch
from torch import Tensor

from duostyle.inference.temporal_filter import TemporalFilter

PHOTO = torch.full((1, 3, 40, 40), 0.5)


def painting(value: float) -> dict[str, Tensor]:
    return {"stylized": torch.full((1, 3, 40, 40), value)}


def test_what_is_still_is_mixed_by_the_strength() -> None:
    smooth = TemporalFilter(0.75)
    assert torch.equal(smooth(PHOTO, 0.0, painting(0.0))["stylized"], painting(0.0)["stylized"])
    noisy = PHOTO + 0.005 * torch.randn(PHOTO.shape, generator=torch.Generator().manual_seed(1))
    after = smooth(noisy, 0.0, painting(1.0))["stylized"]
    torch.testing.assert_close(after, torch.full_like(after, 0.25))
    after = smooth(PHOTO, 0.0, painting(1.0))["stylized"]
    torch.testing.assert_close(after, torch.full_like(after, 1 - 0.75**2))


def test_what_moves_is_shown_as_it_is_painted() -> None:
    smooth = TemporalFilter(0.9)
    smooth(PHOTO, 0.0, painting(0.0))
    moved = PHOTO.clone()
    moved[..., 10:20, 10:20] = 0.9
    after = smooth(moved, 0.0, painting(1.0))["stylized"]
    assert (after[..., 8:22, 8:22] == 1).all()
    torch.testing.assert_close(after[..., 30:, 30:], torch.full((1, 3, 10, 10), 0.1))


def test_cuts_another_alpha_and_another_size_begin_anew() -> None:
    for photo, alpha in ((1 - 0.9 * PHOTO, 0.0), (PHOTO, 0.1)):
        smooth = TemporalFilter(0.9)
        smooth(PHOTO, 0.0, painting(0.0))
        assert (smooth(photo, alpha, painting(1.0))["stylized"] == 1).all()
    small = {"stylized": torch.ones(1, 3, 24, 24)}
    assert (smooth(torch.rand(1, 3, 24, 24), 0.0, small)["stylized"] == 1).all()


def test_strength_is_checked() -> None:
    for strength in (-0.1, 1.0):
        with pytest.raises(ValueError, match="steadying lies between 0 and below 1"):
            TemporalFilter(strength)
    smooth = TemporalFilter(0.0)
    smooth(PHOTO, 0.0, painting(0.0))
    assert (smooth(PHOTO, 0.0, painting(1.0))["stylized"] == 1).all()
