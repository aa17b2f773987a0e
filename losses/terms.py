"""The single terms of the objective: distances per picture, without weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.constants import BT601_LUMA

Grams = Mapping[str, Tensor]  # Gram matrices by layer

PALETTE_CELL = 4  # side of the squares whose mean color counts, pixels
QUANTILES = 256
MIN_PALETTE_CELLS = 16  # a smaller region has no palette
# Directions in RGB: luma, the three primaries, their three differences, and two that set one
# primary against the others: green against red and blue, blue against red and green.
DIRECTIONS = F.normalize(
    torch.tensor(
        [
            *(BT601_LUMA, (1, 0, 0), (0, 1, 0), (0, 0, 1)),
            *((1, -1, 0), (0, 1, -1), (1, 0, -1), (1, -1, 1), (1, 1, -1)),
        ]
    ),
    dim=1,
)


def gram(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the Gram matrix `F F^T / (C * H * W)` of each picture (Gatys et al. 2016).

    `features`: `(B, C, H, W)`; `mask`: `(B, 1, H, W)` in [0, 1], weights of the positions (their
    sum replaces `H * W`), None for all ones. Returns `(B, C, C)`, float32 under autocast too.
    """
    flat = features.flatten(2)
    if mask is None:
        weights = flat.new_full((1, 1, flat.shape[2]), 1 / flat.shape[2], dtype=torch.float32)
    else:
        weights = mask.float().flatten(2)
        weights = weights / weights.sum(dim=2, keepdim=True).clamp_min(1e-6)
    return _SecondMoment.apply(flat, weights) / features.shape[1]


class _SecondMoment(torch.autograd.Function):
    """Weighted mean of `f f^T` over the positions; its backward pass needs one product, not two."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, weights: Tensor) -> Tensor:
        """`flat`: `(B, C, N)`; `weights`: `(B or 1, 1, N)`, float32, with sum 1."""
        ctx.save_for_backward(flat, weights)
        with torch.autocast(flat.device.type, enabled=False):
            flat = flat.float()
            return (flat * weights) @ flat.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        flat, weights = ctx.saved_tensors
        # bfloat16 has the range of float32; in float16 these small numbers would underflow.
        dtype = torch.bfloat16 if flat.dtype == torch.bfloat16 else torch.float32
        with torch.autocast(flat.device.type, enabled=False):
            product = (gradient + gradient.mT).to(dtype) @ flat.to(dtype)
            return (product * weights).to(flat.dtype), None


def gram_distance(grams: Grams, targets: Grams, layer_weights: Mapping[str, float]) -> Tensor:
    """Return the style distance `sum_l w_l * mean((G_l - T_l)^2)` of each picture, `(B,)`.

    `grams`: `(B, C, C)` by layer; `targets`: `(B or 1, C, C)` by layer.
    """
    terms = [
        weight * (grams[layer] - targets[layer]).square().mean(dim=(1, 2))
        for layer, weight in layer_weights.items()
    ]
    return torch.stack(terms).sum(dim=0)


def content_distance(features: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared difference of activations `(B, C, H, W)` of each picture, `(B,)`."""
    return (features.float() - targets.float()).square().mean(dim=(1, 2, 3))


def total_variation(picture: Tensor) -> Tensor:
    """Return the mean absolute difference of vertical plus horizontal neighbors, `(B,)`.

    `picture`: `(B, C, H, W)`.
    """
    vertical = (picture[..., 1:, :] - picture[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    horizontal = (picture[..., :, 1:] - picture[..., :, :-1]).abs().mean(dim=(1, 2, 3))
    return vertical + horizontal


def palette(picture: Tensor) -> Tensor:
    """Return the quantiles of a picture's colors along `DIRECTIONS`.

    `picture`: `(1, 3, H, W)` in [0, 1]. Returns `(1, directions, QUANTILES)`, ascending.
    """
    projected = _project(F.avg_pool2d(picture, PALETTE_CELL, ceil_mode=True)[0].flatten(1))
    return F.interpolate(projected[None], QUANTILES, mode="linear")


def palette_distance(picture: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """Return the sliced Wasserstein distance of a region's colors to a palette.

    Rabin et al. 2012. `picture`: `(B, 3, H, W)` in [0, 1]; `mask`: the region, `(B, 1, H, W)` in
    [0, 1]; `targets`: `(B or 1, directions, QUANTILES)` from `palette`. Returns the mean squared
    difference of the quantiles, `(B,)`; 0 for regions of fewer than `MIN_PALETTE_CELLS` cells.
    """
    cells = F.avg_pool2d(picture.float(), PALETTE_CELL, ceil_mode=True).flatten(2)
    inside = F.avg_pool2d(mask.float(), PALETTE_CELL, ceil_mode=True).flatten(1) > 0.5
    distances = []
    for colors, selected, target in zip(
        cells, inside, targets.expand(len(cells), -1, -1), strict=True
    ):
        projected = _project(colors[:, selected])
        if projected.shape[1] < MIN_PALETTE_CELLS:
            distances.append(colors.sum() * 0)
            continue
        expected = F.interpolate(target[None], projected.shape[1], mode="linear")[0]
        distances.append((projected - expected).square().mean())
    return torch.stack(distances)


def _project(colors: Tensor) -> Tensor:
    """Project colors `(3, N)` on each direction and sort, `(directions, N)`, float32."""
    with torch.autocast(colors.device.type, enabled=False):
        return (DIRECTIONS.to(colors.device) @ colors.float()).sort(dim=1).values


def mask_loss(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return cross-entropy plus soft Dice loss against DeepLab's mask for each picture, `(B,)`.

    `logits`: `(B, 1, H, W)`; `target`: the same shape in [0, 1], 1 = foreground; `valid`: the same
    shape, 0 where the label says "ignore", None for all ones. Dice keeps small foregrounds from
    being outvoted (Milletari et al. 2016).
    """
    weight = target.new_ones(target.shape) if valid is None else valid
    count = weight.sum(dim=(1, 2, 3)).clamp_min(1)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    entropy = (entropy * weight).sum(dim=(1, 2, 3)) / count
    mask = logits.sigmoid()
    # Smoothed by one percent of the picture, so that an empty mask fits an empty target.
    smooth = 0.01 * count
    overlap = (mask * target * weight).sum(dim=(1, 2, 3))
    total = ((mask + target) * weight).sum(dim=(1, 2, 3))
    return entropy + 1 - (2 * overlap + smooth) / (total + smooth)


def distillation_distance(stylized: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean absolute difference to the teacher's output, `(B,)` (Hinton et al. 2015).

    `stylized`, `teacher`: `(B, 3, H, W)` in [0, 1]. Absolute, because the mean of two possible
    strokes, which a squared difference favors, is no stroke.
    """
    return (stylized.float() - teacher.float()).abs().mean(dim=(1, 2, 3))


def temporal_distance(stylized: Tensor, warped: Tensor, valid: Tensor) -> Tensor:
    """Return the mean squared warping error of each picture, `(B,)` (Gupta et al. 2017).

    `stylized`: output for the warped photograph, `(B, 3, H, W)` in [0, 1]; `warped`: output for the
    original photograph, then warped; `valid`: `(B, 1, H, W)`, 1 where the warp reads from inside.
    """
    squares = (stylized.float() - warped.float()).square().mean(dim=1, keepdim=True) * valid
    return squares.sum(dim=(1, 2, 3)) / valid.sum(dim=(1, 2, 3)).clamp_min(1)
