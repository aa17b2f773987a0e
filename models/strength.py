"""Strength: how much of a picture is painted."""

import torch
from torch import Tensor


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


def apply_strength(content: Tensor, painted: Tensor, strength: Tensor) -> Tensor:
    """Show the content where the strength is 0, and the painting where it is 1, both exactly.

    In between, a crossfade. `content`, `painted`: `(B, 3, H, W)` RGB in [0, 1]; `strength`: in
    [0, 1], broadcasts with them. Returns `(B, 3, H, W)` in [0, 1].
    """
    return torch.lerp(content, painted, strength)
