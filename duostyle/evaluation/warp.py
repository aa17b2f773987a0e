"""How far consecutive frames agree where the same thing is seen in both (Lai et al. 2018)."""

from types import ModuleType

import numpy as np
import torch
from torch import Tensor


def opencv() -> ModuleType:
    """OpenCV, an optional extra. Raises ValueError without it."""
    try:
        import cv2
    except ImportError:
        raise ValueError("temporal needs OpenCV: pip install -e '.[evaluate]'") from None
    return cv2


class Motion:
    """Where each pixel of a frame was in the frame before, by DIS optical flow (Kroeger 2016)."""

    def __init__(self, before: Tensor, now: Tensor) -> None:
        """Two frames, `(1, 3, H, W)` in [0, 1]."""
        cv2 = opencv()
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        first, second = _grey(before), _grey(now)
        backward = dis.calc(second, first, None)
        forward = dis.calc(first, second, None)
        rows, columns = np.indices(first.shape, dtype=np.float32)
        self.x, self.y = columns + backward[..., 0], rows + backward[..., 1]
        returned = cv2.remap(forward, self.x, self.y, cv2.INTER_LINEAR)
        # What does not come back was hidden, or its motion is not known (Sundaram et al. 2010).
        apart = np.square(backward + returned).sum(axis=2)
        length = np.square(backward).sum(axis=2) + np.square(returned).sum(axis=2)
        height, width = first.shape
        inside = (self.x >= 0) & (self.x <= width - 1) & (self.y >= 0) & (self.y <= height - 1)
        self.seen = inside & (apart < 0.01 * length + 0.5)

    def error(self, before: Tensor, now: Tensor) -> float:
        """Root mean square difference of `now` to `before` moved along, where both are seen.

        `(1, C, H, W)` each, of the frames' size. 0 where nothing is seen in both.
        """
        if not self.seen.any():
            return 0.0
        cv2 = opencv()
        moved = cv2.remap(_array(before), self.x, self.y, cv2.INTER_LINEAR)
        moved = moved.reshape(*self.seen.shape, -1)  # remap drops a single channel
        apart = (_array(now) - moved)[self.seen]
        return float(np.sqrt(np.square(apart).mean()))


def _array(picture: Tensor) -> np.ndarray:
    return np.ascontiguousarray(picture[0].permute(1, 2, 0).float().cpu().numpy())


def _grey(picture: Tensor) -> np.ndarray:
    return (picture[0].mean(dim=0) * 255).round().to(torch.uint8).cpu().numpy()
