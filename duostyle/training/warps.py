"""Synthetic motion for temporal consistency: a known warp and sensor noise."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

GRID = 5  # points per side at which a warp is drawn
# Largest shift (pixels), rotation (radians), zoom (share) and displacement of a point (pixels).
SHIFT, ROTATION, ZOOM, JITTER = 6.0, 0.05, 0.05, 1.0
NOISE = 6 / 255  # largest standard deviation of the noise


class Warps(NamedTuple):
    """A warp for each picture of a batch."""

    displacements: Tensor  # (B, 2, S, S), x and y, pixels
    noise: Tensor  # (B, 3, S, S)


def draw_warps(seeds: Iterable[int], size: int, device: str = "cpu") -> Warps:
    """Draw a warp for each seed, for pictures of `size` pixels per side."""
    drawn = [_draw(torch.Generator().manual_seed(seed), size) for seed in seeds]
    return Warps(*(torch.stack(parts).to(device) for parts in zip(*drawn, strict=True)))


def _draw(generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=generator) - 1

    position = torch.linspace(-size / 2, size / 2, GRID)
    y, x = torch.meshgrid(position, position, indexing="ij")
    shift, angle, zoom = SHIFT * uniform(2, 1, 1), ROTATION * uniform(1), ZOOM * uniform(1)
    grid = torch.stack([zoom * x - angle * y, angle * x + zoom * y]) + shift
    grid = grid + JITTER * uniform(2, GRID, GRID)
    smooth = F.interpolate(grid[None], (size, size), mode="bicubic", align_corners=True)[0]
    strength = NOISE * torch.rand((), generator=generator)
    return smooth, strength * torch.randn((3, size, size), generator=generator)


def warp(pictures: Tensor, displacements: Tensor) -> tuple[Tensor, Tensor]:
    """Sample each pixel from where its displacement points.

    `pictures`: `(B, C, S, S)`; `displacements`: `(B, 2, S, S)`, x and y, pixels. Returns the warped
    pictures, mirrored beyond the border, and `(B, 1, S, S)`, 1.0 where they come from inside, else
    0.0.
    """
    size = pictures.shape[-1]
    position = torch.arange(size, device=pictures.device, dtype=torch.float32)
    x = position + displacements[:, 0]
    y = position[:, None] + displacements[:, 1]
    grid = torch.stack([x, y], dim=-1) * (2 / (size - 1)) - 1
    warped = F.grid_sample(
        pictures.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=True
    )
    inside = (grid.abs() <= 1).all(dim=-1)[:, None]
    return warped, inside.float()


def add_warped(
    crop: Tensor, mask: Tensor, alpha: Tensor, warps: Warps
) -> tuple[Tensor, Tensor, Tensor]:
    """Append the warped and noisy copy of each crop, with its mask and alpha, to the batch.

    `crop`: `(B, 3, S, S)` in [0, 1]; `mask`: `(B, 1, S, S)`; `alpha`: `(B,)`. Returns batches of
    2 * B.
    """
    warped = (warp(crop, warps.displacements)[0] + warps.noise).clamp(0, 1)
    warped_mask, _ = warp(mask, warps.displacements)
    return torch.cat([crop, warped]), torch.cat([mask, warped_mask]), torch.cat([alpha, alpha])
