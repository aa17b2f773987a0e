"""Strength: how much of a picture is painted.

A crossfade would show the photograph and the painting as a double exposure. Here the photograph is
tinted first, in the painting's local colors; then the strokes follow.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.constants import BT601_LUMA

CELL = 4  # pixels of the painting; local colors are estimated on cells of this size
RADIUS = 2  # cells around a cell, for its local colors
EPSILON = 1e-3  # variance of luma below which a place counts as flat


def check_strength(name: str, value: float) -> None:
    """Raise ValueError for a strength outside of [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], not {value}")


def strength_map(mask: Tensor, foreground: Tensor | float, background: Tensor | float) -> Tensor:
    """Compute the strength of every pixel, exact where the mask is 0 or 1.

    `mask`: `(B, 1, H, W)`, 1 = foreground; `foreground`, `background`: in [0, 1], numbers or
    tensors that broadcast with the mask.
    """
    start, end = (torch.as_tensor(value).to(mask) for value in (background, foreground))
    return torch.lerp(start, end, mask)


def apply_strength(
    content: Tensor, painted: Tensor, strength: Tensor, size: tuple[int, int] | None = None
) -> Tensor:
    """Show the content where the strength is 0, and the painting where it is 1, both exactly.

    In between, tinted content: `lerp(lerp(content, tint, 2 s - s^2), painted, s^1.5)`.
    `content`, `painted`: `(B, 3, H, W)` RGB in [0, 1]; `strength`: in [0, 1], broadcasts with them;
    `size`: height and width at which the picture was painted; None: its own.
    Returns `(B, 3, H, W)` in [0, 1].
    """
    height, width = size or content.shape[-2:]
    tinted = tint(content, painted, (height // CELL, width // CELL))
    tinted = torch.lerp(content, tinted, strength * (2 - strength))
    return torch.lerp(tinted, painted, strength * strength.sqrt())


def tint(content: Tensor, painted: Tensor, grid: tuple[int, int]) -> Tensor:
    """Give the content the painting's local colors: a fast guided filter.

    The painting is fitted by a linear function of the content's luma around each cell of a `grid`
    of (rows, columns). Arguments and result otherwise as for `apply_strength`.
    He, Sun, Tang: Guided Image Filtering. ECCV 2010. He, Sun: Fast Guided Filter. 2015.
    """
    luma = _luma(content)
    x, y = _resize(luma, grid), _resize(painted, grid)
    mean_x, mean_y = _mean(x), _mean(y)
    slope = (_mean(x * y) - mean_x * mean_y) / (_mean(x * x) - mean_x * mean_x + EPSILON)
    offset = mean_y - slope * mean_x
    size = (content.shape[-2], content.shape[-1])
    slope, offset = (_resize(_mean(value), size) for value in (slope, offset))
    return (slope * luma + offset).clamp(0, 1)


def _luma(rgb: Tensor) -> Tensor:
    weights = rgb.new_tensor(BT601_LUMA).view(1, 3, 1, 1)
    return (rgb * weights).sum(dim=1, keepdim=True)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def _mean(x: Tensor) -> Tensor:
    """Average over a square around each cell."""
    return F.avg_pool2d(F.pad(x, (RADIUS,) * 4, mode="replicate"), 2 * RADIUS + 1, 1)
