"""Imitation: a small network paints what a larger one paints (Hinton et al. 2015)."""

from torch import Tensor


def imitation_distance(stylized: Tensor, taught: Tensor) -> Tensor:
    """Mean absolute difference of two paintings, `(B, 3, H, W)` in [0, 1], to `(B,)`.

    Absolute, not squared: a stroke half way between two places is no stroke.
    """
    return (stylized.float() - taught.float()).abs().mean(dim=(1, 2, 3))
