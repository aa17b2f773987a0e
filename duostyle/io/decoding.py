"""What makes decoded video frames upright RGB pictures: deinterlacing, orientation, colours."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorRange, Colorspace

from duostyle.io.opening import PictureError

# Code points of ITU-T H.273.
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
UNSPECIFIED = 2
SUPPORTED_MATRICES = (1, 4, 5, 6, 7, 9)  # by FFmpeg's swscale
REPLACED_MATRICES = {10: 9}  # BT.2020 with constant luminance is shown with BT.2020's usual matrix
UNSUPPORTED_MATRICES = {
    8: "YCgCo", 11: "SMPTE ST 2085", 12: "chromaticity-derived", 13: "chromaticity-derived",
    14: "ICtCp", 15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro",
}  # fmt: skip
HD_HEIGHT = 720  # pixels; untagged video is BT.709 from this height on and BT.601 below


class Deinterlacer:
    """FFmpeg's `bwdif` from the first interlaced frame on; progressive frames pass unchanged.

    Frames keep their timestamps; `bwdif` returns each frame when it has the next one.
    """

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._format: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Take a frame with its timestamp and time base, None after the last one."""
        format = (frame.width, frame.height, frame.format.name) if frame else None
        if self._graph and format != self._format:
            self._graph.push(None)
            yield from pull_all(self._graph)
            self._graph = None
        if frame and not self._graph and frame.interlaced_frame:
            self._graph, self._format = _bwdif(frame), format
        if frame and self._graph:
            self._graph.push(frame)
            yield from pull_all(self._graph)
        elif frame:
            yield frame


def pull_all(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    """Yield every frame that a filter graph has ready."""
    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def _bwdif(frame: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(template=frame, time_base=frame.time_base)
    graph.link_nodes(
        source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    ).configure()
    return graph


@dataclass(frozen=True)
class Orientation:
    """One of the eight orientations: a transposition, then flips."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Turn `(H, W, ...)` upright; returns a contiguous array."""
        turned = pixels.swapaxes(0, 1) if self.transpose else pixels
        turned = turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return np.ascontiguousarray(turned)


def read_orientation(frame: av.VideoFrame) -> Orientation:
    """Read a frame's display matrix: `x' = a x + c y`, `y' = b x + d y`.

    Other rotations are rounded to the nearest right angle.
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, d < 0, a < 0)
    return Orientation(True, b < 0, c < 0)


@dataclass(frozen=True)
class Color:
    """Colour encoding of a video, as code points of ITU-T H.273."""

    matrix: int
    range: int
    primaries: int
    transfer: int


def read_color(frame: av.VideoFrame, path: Path) -> Color:
    """Read the colour encoding of a frame; untagged values are what players assume.

    Raises PictureError, naming `path`, for HDR and for a matrix that FFmpeg does not convert.
    """
    transfer = int(frame.color_trc)
    if transfer in HDR_TRANSFERS:
        raise PictureError(
            f"{path}: HDR ({HDR_TRANSFERS[transfer]}) is not supported; "
            "convert it to SDR first (ffmpeg's zscale and tonemap filters)"
        )
    matrix, span = int(frame.colorspace), int(frame.color_range)
    if matrix in (0, UNSPECIFIED) or (frame.format.is_rgb and matrix not in SUPPORTED_MATRICES):
        matrix = int(Colorspace.ITU709 if frame.height >= HD_HEIGHT else Colorspace.ITU601)
    matrix = REPLACED_MATRICES.get(matrix, matrix)
    if matrix not in SUPPORTED_MATRICES:
        name = UNSUPPORTED_MATRICES.get(matrix, "of number")
        raise PictureError(
            f"{path}: its colour matrix, {name} ({matrix}), is not supported; "
            "convert it to BT.709 first (ffmpeg's zscale filter, matrix=709)"
        )
    if span == int(ColorRange.UNSPECIFIED):
        span = int(ColorRange.MPEG)
    return Color(matrix, span, int(frame.color_primaries), transfer)
