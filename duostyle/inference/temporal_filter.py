"""A recursive temporal filter against flicker in places that do not move."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

STEADY = 0.9  # default strength
CELL = 4  # pixels; sensor noise is averaged over cells of this size
STILL, MOVING = 0.012, 0.04  # change of a cell's mean color: no motion, full motion
DILATION = 3  # cells; the neighborhood of motion counts as motion

K = TypeVar("K")


def check_steady(strength: float) -> None:
    """Raise ValueError for a strength of the temporal filter outside of [0, 1)."""
    if not 0 <= strength < 1:
        raise ValueError(f"steady must lie in [0, 1), not {strength}")


class TemporalFilter(Generic[K]):
    """Averages each stylized frame with the frames before it where the content does not change.

    Where the content changes, and after a cut, the new frame is shown as it is. Nothing is
    warped along motion, so nothing smears.
    """

    def __init__(self, strength: float) -> None:
        """`strength`: weight of the past in still places, 0 (off) to below 1.

        Raises ValueError for another strength.
        """
        check_steady(strength)
        self.strength = strength
        self._content: Tensor | None = None
        self._results: dict[K, Tensor] = {}

    def reset(self) -> None:
        """Forget the past: the next frame is shown as it is."""
        self._content, self._results = None, {}

    def __call__(self, content: Tensor, results: Mapping[K, Tensor]) -> dict[K, Tensor]:
        """Filter the next frame.

        `content`: `(1, C, H, W)` in [0, 1], the channels that decide how the frame is stylized: RGB
        and a given mask; `results`: everything that was computed from it, by the same names every
        time, each `(1, C, H, W)`. Another size resets the filter.
        """
        past = self._content
        if not self.strength or past is None or past.shape != content.shape:
            self._content, filtered = content, dict(results)
        else:
            weight = self._weight(content, past)
            self._content = torch.lerp(past, content, weight)
            filtered = {
                name: torch.lerp(self._results[name], value, weight)
                for name, value in results.items()
            }
        self._results = dict(filtered)
        return filtered

    def _weight(self, content: Tensor, past: Tensor) -> Tensor:
        """Weight of the new frame, `(1, 1, H, W)`."""
        change = F.avg_pool2d(content - past, CELL, ceil_mode=True, count_include_pad=False)
        change = F.max_pool2d(change.abs().amax(dim=1, keepdim=True), DILATION, 1, DILATION // 2)
        weight = ((change - STILL) / (MOVING - STILL)).clamp(1 - self.strength, 1)
        return F.interpolate(weight, content.shape[-2:], mode="bilinear", align_corners=False)
