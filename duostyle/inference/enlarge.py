"""Enlarge a small painting to the photograph's size: sharp contours, no photographic detail."""

import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.io.pixels import luma, resize

LUMA_SCALE = 0.12  # difference of the photograph's luma that separates two places
PAINT_SCALE = 0.09  # difference of the painting's color that separates two places
GUIDE_RATIO = 2  # the photograph is smoothed to this many pixels per pixel of the painting
TAPS = 4  # painted pixels in a row that a result is averaged from
STRIP_PIXELS = 500_000
LEAST = 1e-6  # weight of a painted pixel that resembles nothing


def enlarge(painted: Tensor, small: Tensor, content: Tensor) -> Tensor:
    """Enlarge a painting by joint bilateral upsampling.

    Each pixel is an average of the painted pixels around it, weighted by distance (cubic B-spline)
    and by likeness: in the photograph, whose contours the result follows, and in the bicubically
    enlarged painting, whose strokes stay sharp. An average holds no detail that was not painted.
    `painted`: `(B, 3, h, w)` in [0, 1]; `small`: the photograph `(B, 3, h, w)` that was painted;
    `content`: `(B, 3, H, W)`, the photograph at full size. Returns `(B, 3, H, W)` in [0, 1].
    Beside the result it needs a value per pixel; the rest is computed in strips.
    Kopf, Cohen, Lischinski, Uyttendaele: Joint Bilateral Upsampling. SIGGRAPH 2007.
    """
    (height, width), (h, w) = content.shape[-2:], painted.shape[-2:]
    known = torch.cat([painted / PAINT_SCALE, luma(small) / LUMA_SCALE], dim=1)
    contours = resize(luma(content), (min(GUIDE_RATIO * h, height), min(GUIDE_RATIO * w, width)))
    contours = resize(contours, (height, width))
    result = F.interpolate(painted, (height, width), mode="bicubic", align_corners=False)
    rows, row_weights = _taps(height, h, painted)
    columns, column_weights = _taps(width, w, painted)
    step = max(STRIP_PIXELS // width, 1)
    for top in range(0, height, step):
        strip = slice(top, top + step)
        guide = torch.cat(
            [result[:, :, strip] / PAINT_SCALE, contours[:, :, strip] / LUMA_SCALE], dim=1
        )
        total, weights = torch.zeros_like(guide[:, :3]), torch.zeros_like(guide[:, :1])
        for row, row_weight in zip(rows[:, strip], row_weights[:, strip], strict=True):
            line = known[:, :, row]
            for column, column_weight in zip(columns, column_weights, strict=True):
                tap = line[..., column]
                apart = (guide - tap).square_().sum(dim=1, keepdim=True)
                alike = apart.mul_(-0.5).exp_().add_(LEAST)
                weight = alike.mul_(row_weight[:, None] * column_weight)
                total.addcmul_(weight, tap[:, :3])
                weights += weight
        result[:, :, strip] = total.div_(weights).mul_(PAINT_SCALE)
    return result.clamp_(0, 1)


def _taps(size: int, small: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return indices and cubic B-spline weights, `(TAPS, size)` each, of nearby small pixels."""
    position = (torch.arange(size, device=like.device) + 0.5) * small / size - 0.5
    offsets = torch.arange(TAPS, device=like.device)[:, None] - (TAPS // 2 - 1)
    index = position.floor() + offsets
    apart = (index - position).abs()
    inner, outer = 2 / 3 - apart**2 + apart**3 / 2, (2 - apart).clamp_min(0) ** 3 / 6
    weights = torch.where(apart < 1, inner, outer).to(like.dtype)
    return index.long().clamp(0, small - 1), weights
