"""Palette: the distribution of a region's colours, against that of the painting."""

import torch
from torch import Tensor
from torch.nn import functional as F

CELL = 4  # pixels a side that are averaged: strokes have colours, grain has not
QUANTILES = 256
FEWEST = 16  # cells; a smaller region has no palette
# Directions in RGB: light, the three primaries, the three differences between them, and light
# against either end of red to blue.
DIRECTIONS = F.normalize(
    torch.tensor(
        [
            *((0.299, 0.587, 0.114), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
            *((1, -1, 0), (0, 1, -1), (1, 0, -1), (1, -1, 1), (1, 1, -1)),
        ]
    ),
    dim=1,
)


def palette(picture: Tensor) -> Tensor:
    """Return the quantiles of a picture's colours along fixed directions.

    `picture`: `(1, 3, H, W)` in [0, 1]. Returns `(1, directions, QUANTILES)`, rising.
    """
    projected = _projected(F.avg_pool2d(picture, CELL, ceil_mode=True)[0].flatten(1))
    return F.interpolate(projected[None], QUANTILES, mode="linear")


def palette_distance(picture: Tensor, place: Tensor, targets: Tensor) -> Tensor:
    """Sliced Wasserstein distance of a region's colours to a palette (Rabin et al. 2012).

    `picture`: `(B, 3, H, W)` in [0, 1]; `place`: the region, `(B, 1, H, W)` in [0, 1]; `targets`:
    `(B or 1, directions, QUANTILES)`, from `palette`. Returns the mean squared difference of the
    quantiles, `(B,)`; 0 for a region of fewer than `FEWEST` cells.
    """
    cells = F.avg_pool2d(picture.float(), CELL, ceil_mode=True).flatten(2)
    inside = F.avg_pool2d(place.float(), CELL, ceil_mode=True).flatten(1) > 0.5
    distances = []
    for colours, chosen, target in zip(
        cells, inside, targets.expand(len(cells), -1, -1), strict=True
    ):
        projected = _projected(colours[:, chosen])
        if projected.shape[1] < FEWEST:
            distances.append(colours.sum() * 0)
            continue
        wanted = F.interpolate(target[None], projected.shape[1], mode="linear")[0]
        distances.append((projected - wanted).square().mean())
    return torch.stack(distances)


def _projected(colours: Tensor) -> Tensor:
    """Sort colours `(3, N)` along every direction, `(directions, N)`, float32."""
    with torch.autocast(colours.device.type, enabled=False):
        return (DIRECTIONS.to(colours.device) @ colours.float()).sort(dim=1).values
