"""Tone: what is dark in the photograph stays dark, what is light stays light."""

import torch
from torch import Tensor
from torch.nn import functional as F

CELL = 8  # pixels
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue (BT.601)


def tone_distance(stylized: Tensor, content: Tensor) -> Tensor:
    """Mean squared difference of the luminance of cells of 8x8 pixels, `(B, 3, H, W)` to `(B,)`.

    Pictures in [0, 1]. VGG's content hardly minds a face or a sky painted over in an even mixture
    of the palette; strokes within a cell are free.
    """
    return (_cells(stylized) - _cells(content)).square().mean(dim=(1, 2, 3))


def _cells(picture: Tensor) -> Tensor:
    weights = torch.tensor(LUMINANCE, device=picture.device).view(1, 3, 1, 1)
    luminance = (picture.float() * weights).sum(dim=1, keepdim=True)
    return F.avg_pool2d(luminance, CELL, ceil_mode=True)
