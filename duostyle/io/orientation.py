"""Which way up a video is shown."""

from dataclasses import dataclass

import av
import numpy as np
from av.sidedata.sidedata import Type


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a picture on its sides."""

    transpose: bool = False  # rows become columns, first of all
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Turn `(H, W, ...)` upright; returns a contiguous array."""
        turned = pixels.swapaxes(0, 1) if self.transpose else pixels
        turned = turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return np.ascontiguousarray(turned)


def read_orientation(frame: av.VideoFrame) -> Orientation:
    """Read a frame's display matrix: `x' = a x + c y`, `y' = b x + d y`.

    A rotation by other than right angles is taken for the nearest one.
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, d < 0, a < 0)
    return Orientation(True, b < 0, c < 0)
