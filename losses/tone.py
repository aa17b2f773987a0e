"""Tone: what is dark in the photograph is painted dark, what is light light, in the style's key."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .color import luminance

CELL = 8  # pixels
PHOTO_MEAN, PHOTO_SPREAD = 0.45, 0.20  # of the luminance of cells, over 60 photographs of COCO


class Key(NamedTuple):
    """How a painting uses light: `light = mean + contrast * (photograph's - PHOTO_MEAN)`."""

    mean: float
    contrast: float


def cells(picture: Tensor) -> Tensor:
    """Mean luminance of 8x8 pixels, `(B, 3, H, W)` in [0, 1] to `(B, 1, H/8, W/8)`, rounded up."""
    return F.avg_pool2d(luminance(picture), CELL, ceil_mode=True)


def key(style: Tensor) -> Key:
    """The key of a painting, `(1, 3, H, W)`: its mean, and a contrast half way to its own.

    Half way (the geometric mean): a portrait that is all mid-tones has no darks for a photograph's
    night, and a photograph squeezed into such mid-tones is fog.
    """
    light = cells(style)
    return Key(light.mean().item(), (light.std().item() / PHOTO_SPREAD) ** 0.5)


def tone_target(content: Tensor, mask: Tensor, alpha: Tensor, keys: Sequence[Key]) -> Tensor:
    """What light a painting of `content` should have, `(B, 1, H/8, W/8)`.

    `content`: `(B, 3, H, W)`; `mask`: `(B, 1, H, W)`, 1 = foreground; `alpha`: `(B,)`; `keys`: of
    the foreground's and the background's painting. Alpha mixes the keys as it mixes the styles.
    """
    share = (alpha / (1 + alpha)).view(-1, 1, 1, 1)
    first_style = torch.lerp(share, 1 - share, F.avg_pool2d(mask.float(), CELL, ceil_mode=True))
    light = cells(content) - PHOTO_MEAN
    first, second = (key.mean + key.contrast * light for key in keys)
    return torch.lerp(second, first, first_style)


def tone_distance(stylized: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of the light of cells to `target`, `(B,)`.

    VGG's content hardly minds a face or a sky painted over in an even mixture of the palette;
    strokes within a cell are free.
    """
    return (cells(stylized) - target).square().mean(dim=(1, 2, 3))
