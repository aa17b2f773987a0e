"""Steadiness: the same thing a little later is painted the same (Gupta et al. 2017)."""

from torch import Tensor


def steadiness_distance(again: Tensor, moved: Tensor, seen: Tensor) -> Tensor:
    """Mean squared difference of two paintings where both show the same thing, `(B,)`.

    `again`: the painting of the moved photograph, `(B, 3, H, W)` in [0, 1]; `moved`: the painting
    of the photograph, moved along; `seen`: `(B, 1, H, W)`, 1 where it is known.
    """
    squares = (again.float() - moved.float()).square().mean(dim=1, keepdim=True) * seen
    return squares.sum(dim=(1, 2, 3)) / seen.sum(dim=(1, 2, 3)).clamp_min(1)
