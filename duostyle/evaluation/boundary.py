"""The mask's edge: how well it lies, and how far the seam shows along it."""

from math import ceil, hypot

import torch
from torch import Tensor
from torch.nn import functional as F

TOLERANCE = 0.0075  # of the diagonal: how far apart two boundaries may lie and still agree
BAND = 2  # pixels on either side of the boundary that are the seam
CLEAR = 8  # pixels from the boundary where the regions' inside begins


def boundary_f(mask: Tensor, target: Tensor) -> float:
    """Boundary F-score of `mask > 0.5` against a binary target (Perazzi et al. 2016).

    Both `(1, 1, H, W)`. The harmonic mean of precision and recall of boundary pixels, which agree
    within 0.75 % of the diagonal. 1 where neither has a boundary, 0 where only one has.
    """
    found, wanted = _boundary((mask > 0.5).float()), _boundary((target > 0.5).float())
    if not found.any() or not wanted.any():
        return float(found.any().item() == wanted.any().item())
    reach = ceil(TOLERANCE * hypot(*mask.shape[-2:]))
    precision = _grow(wanted, reach)[found > 0].mean().item()
    recall = _grow(found, reach)[wanted > 0].mean().item()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def seam(picture: Tensor, mask: Tensor) -> float | None:
    """Mean gradient across the mask's boundary over that inside the regions.

    `picture`: `(1, 3, H, W)` in [0, 1]; `mask`: binary, `(1, 1, H, W)`. 1 = the seam is as busy as
    the rest. None where the mask has no boundary, or no inside.
    """
    boundary = _boundary(mask)
    band, inside = _grow(boundary, BAND) > 0, _grow(boundary, CLEAR) == 0
    if not boundary.any() or not inside.any():
        return None
    strength = _gradient(picture)
    return (strength[band].mean() / strength[inside].mean().clamp_min(1e-6)).item()


def _boundary(mask: Tensor) -> Tensor:
    """Pixels of the mask with a neighbour (up, down, left, right) outside of it, 1.0 or 0.0."""
    padded = F.pad(mask, (1, 1, 1, 1), mode="replicate")
    up, down = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    least = torch.stack([up, down, left, right]).amin(dim=0)
    return mask * (1 - least)


def _grow(mask: Tensor, pixels: int) -> Tensor:
    return F.max_pool2d(mask, 2 * pixels + 1, stride=1, padding=pixels)


def _gradient(picture: Tensor) -> Tensor:
    """Length of the gradient, mean over the channels, `(1, 1, H, W)`."""
    padded = F.pad(picture, (0, 1, 0, 1), mode="replicate")
    down = padded[..., 1:, :-1] - picture
    across = padded[..., :-1, 1:] - picture
    return (down.square() + across.square()).sqrt().mean(dim=1, keepdim=True)


def paste(foreground: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """The naive composite: two pictures `(B, 3, H, W)` cut along a mask `(B, 1, H, W)`."""
    return mask * foreground + (1 - mask) * background
