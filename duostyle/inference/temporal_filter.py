"""Steady video: what does not move stays as it was painted."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

CELL = 4  # pixels a side, over which sensor noise averages out
STILL, MOVING = 0.012, 0.04  # change of a cell's colour, in [0, 1]: none and full motion
REACH = 3  # cells a side around what moves that count as moving too


class TemporalFilter:
    """A recursive filter over the frames of one video.

    Where the photograph does not change, a frame's painting is mixed with the one before; where it
    does, after a cut, and when alpha moves, the frame is shown as it was painted. Nothing is moved
    along, so nothing smears.
    """

    def __init__(self, strength: float) -> None:
        """`strength`: share of the frame before in what is still, 0 (none) to below 1.

        Raises ValueError where it is off.
        """
        if not 0 <= strength < 1:
            raise ValueError(f"steadying lies between 0 and below 1, not {strength}")
        self.fresh = 1 - strength
        self.photo: Tensor | None = None
        self.alpha: float | None = None
        self.results: dict[str, Tensor] = {}

    def __call__(
        self, content: Tensor, alpha: float, results: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The next frame: `content` `(1, C, H, W)` and everything painted from it, in [0, 1].

        `content`: the photograph's channels, and a given mask's: whatever decides the painting.
        """
        known = self.photo is not None and self.photo.shape == content.shape
        if self.fresh == 1 or not known or alpha != self.alpha:
            self.photo, self.results = content, dict(results)
        else:
            share = self._share(content)
            self.photo = torch.lerp(self.photo, content, share)
            self.results = {
                name: torch.lerp(self.results[name], value, share)
                for name, value in results.items()
            }
        self.alpha = alpha
        return dict(self.results)

    def _share(self, content: Tensor) -> Tensor:
        """How much of the new frame is taken, `(1, 1, H, W)`."""
        change = F.avg_pool2d(content - self.photo, CELL, ceil_mode=True, count_include_pad=False)
        change = F.max_pool2d(change.abs().amax(dim=1, keepdim=True), REACH, 1, REACH // 2)
        share = ((change - STILL) / (MOVING - STILL)).clamp(self.fresh, 1)
        return F.interpolate(share, content.shape[-2:], mode="bilinear", align_corners=False)
