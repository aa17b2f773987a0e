"""Warping error: difference of consecutive frames along optical flow (Lai et al. 2018)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from duostyle.evaluation.optional import opencv


class FlowWarp:
    """Warps a frame to the next one by DIS optical flow (Kroeger et al. 2016).

    `valid`: boolean, `(H, W)`; False where a pixel was occluded or its flow is unreliable, by a
    forward-backward check (Sundaram et al. 2010).
    """

    def __init__(self, before: Tensor, now: Tensor) -> None:
        """Estimate the flow between two frames, `(1, 3, H, W)` in [0, 1].

        Raises ValueError if OpenCV is not installed.
        """
        cv2 = opencv()
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        first, second = _gray(before), _gray(now)
        backward = dis.calc(second, first, None)
        forward = dis.calc(first, second, None)
        rows, columns = np.indices(first.shape, dtype=np.float32)
        self.x, self.y = columns + backward[..., 0], rows + backward[..., 1]
        returned = cv2.remap(forward, self.x, self.y, cv2.INTER_LINEAR)
        mismatch = np.square(backward + returned).sum(axis=2)
        length = np.square(backward).sum(axis=2) + np.square(returned).sum(axis=2)
        height, width = first.shape
        inside = (self.x >= 0) & (self.x <= width - 1) & (self.y >= 0) & (self.y <= height - 1)
        self.valid: NDArray[np.bool_] = inside & (mismatch < 0.01 * length + 0.5)

    def error(self, before: Tensor, now: Tensor) -> float:
        """Root mean square difference of `now` and the warped `before` over the valid pixels.

        `(1, C, H, W)` each, of the frames' size. 0 if no pixel is valid.
        """
        if not self.valid.any():
            return 0.0
        cv2 = opencv()
        warped = cv2.remap(_array(before), self.x, self.y, cv2.INTER_LINEAR)
        warped = warped.reshape(*self.valid.shape, -1)  # remap drops a single channel
        difference = (_array(now) - warped)[self.valid]
        return float(np.sqrt(np.square(difference).mean()))


def _array(picture: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(picture[0].permute(1, 2, 0).float().cpu().numpy())


def _gray(picture: Tensor) -> NDArray[np.uint8]:
    return (picture[0].mean(dim=0) * 255).round().to(torch.uint8).cpu().numpy()
