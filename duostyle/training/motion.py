"""Small known motions and sensor noise: what a video does to a picture from frame to frame."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LATTICE = 5  # points a side that a motion is drawn at
SHIFT, TURN, ZOOM, WARP = 6.0, 0.05, 0.05, 1.0  # pixels, radians, share, pixels: the most
NOISE = 6 / 255  # the most, standard deviation


class Motions(NamedTuple):
    """What happens to a batch of pictures."""

    displacements: Tensor  # (B, 2, S, S), x and y, pixels
    noise: Tensor  # (B, 3, S, S)


def draw_motions(seeds: Iterable[int], size: int, device: str = "cpu") -> Motions:
    """A motion for each seed, for pictures of `size` pixels a side."""
    drawn = [_draw(torch.Generator().manual_seed(seed), size) for seed in seeds]
    return Motions(*(torch.stack(parts).to(device) for parts in zip(*drawn, strict=True)))


def with_moved(
    crop: Tensor, mask: Tensor, alpha: Tensor, motion: Motions | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Crops, masks and alphas to be painted: behind the given ones the moved ones.

    `crop`: `(B, 3, S, S)` in [0, 1]; `mask`: `(B, 1, S, S)`; `alpha`: `(B,)`.
    """
    if motion:
        moved = (move(crop, motion.displacements)[0] + motion.noise).clamp(0, 1)
        crop = torch.cat([crop, moved])
        mask = torch.cat([mask, move(mask, motion.displacements)[0]])
        alpha = torch.cat([alpha, alpha])
    return crop.contiguous(memory_format=torch.channels_last), mask, alpha


def _draw(generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=generator) - 1

    place = torch.linspace(-size / 2, size / 2, LATTICE)
    y, x = torch.meshgrid(place, place, indexing="ij")
    shift, turn, zoom = SHIFT * uniform(2, 1, 1), TURN * uniform(1), ZOOM * uniform(1)
    lattice = torch.stack([zoom * x - turn * y, turn * x + zoom * y]) + shift
    lattice = lattice + WARP * uniform(2, LATTICE, LATTICE)
    smooth = F.interpolate(lattice[None], (size, size), mode="bicubic", align_corners=True)[0]
    strength = NOISE * torch.rand((), generator=generator)
    return smooth, strength * torch.randn((3, size, size), generator=generator)


def move(pictures: Tensor, displacements: Tensor) -> tuple[Tensor, Tensor]:
    """Each place's value fetched from where its displacement points.

    `pictures`: `(B, C, S, S)`; `displacements`: `(B, 2, S, S)`, pixels. Returns the moved pictures
    and where their values come from within the picture, `(B, 1, S, S)`, 1.0 or 0.0; elsewhere the
    picture is mirrored.
    """
    size = pictures.shape[-1]
    place = torch.arange(size, device=pictures.device, dtype=torch.float32)
    x = place + displacements[:, 0]
    y = place[:, None] + displacements[:, 1]
    grid = torch.stack([x, y], dim=-1) * (2 / (size - 1)) - 1
    moved = F.grid_sample(
        pictures.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=True
    )
    inside = (grid.abs() <= 1).all(dim=-1)[:, None]
    return moved, inside.float()
