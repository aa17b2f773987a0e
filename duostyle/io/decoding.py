"""Decoded video frames to upright RGB pictures: timestamps, deinterlacing, orientation, colors.

Timestamps are counted in whole ticks, and continued where a file's own ones jump.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.format import Flags
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorRange, Colorspace

from duostyle.io.images import PictureError

MIN_TICKS = 10_000  # per second, of a time base that is chosen here
MAX_JUMP = 10  # seconds forward; FFmpeg's -dts_delta_threshold
MAX_OVERLAP = Fraction(1, 10)  # seconds back; as FFmpeg's command line allows
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


class FrameClock:
    """The frame rate of a video stream, and the time base of its frames.

    The time base is the file's own. A finer one is chosen if frames at the frame rate do not fall
    on the file's ticks, as in Matroska, which counts milliseconds.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.file_time_base = self.time_base = stream.time_base or Fraction(1, MIN_TICKS)
        if (1 / self.rate / self.file_time_base).denominator != 1:
            numerator = self.rate.numerator
            self.time_base = Fraction(1, numerator * math.ceil(MIN_TICKS / numerator))
        self.step = max(round(1 / (self.rate * self.time_base)), 1)  # ticks from frame to frame

    def ticks(self, seconds: Fraction) -> int:
        """Convert seconds to ticks.

        A time that the file's time base has rounded is moved back to the grid of the frame rate.
        """
        number = round(seconds * self.rate)
        if abs(number / self.rate - seconds) < self.file_time_base:
            seconds = number / self.rate
        return round(seconds / self.time_base)


def may_jump(container: av.container.InputContainer) -> bool:
    """Whether a container's timestamps may restart, as those of joined recordings do."""
    return bool(container.format.flags & Flags.ts_discont.value)


class TimestampCorrector:
    """Shifts packets so that timestamps continue where the file's own ones restart or jump.

    It follows FFmpeg's command line: a jump of one stream is subtracted from all streams from there
    on.
    """

    def __init__(self) -> None:
        self.offset = Fraction(0)  # seconds added to the packets that follow
        self.jumped = False
        self._last: dict[int, Fraction] = {}  # by stream: time of the last packet in seconds
        self._next: dict[int, Fraction] = {}  # by stream: expected time of the next packet
        self._latest: Fraction | None = None

    def correct(self, packet: av.Packet) -> None:
        """Shift a packet's timestamps in place; packets come in the order of the file."""
        if packet.dts is not None and packet.stream.type in ("video", "audio"):
            self._detect_jump(packet)
        if self.offset:
            shift = round(self.offset / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift

    def _detect_jump(self, packet: av.Packet) -> None:
        index = packet.stream.index
        seconds = packet.dts * packet.time_base + self.offset
        expected = self._next.get(index, self._latest)
        if expected is not None:
            restarted = index in self._last and seconds + MAX_OVERLAP < self._last[index]
            if restarted or abs(seconds - expected) > MAX_JUMP:
                self.offset += expected - seconds
                self.jumped, seconds = True, expected
        self._last[index] = self._latest = seconds
        self._next[index] = seconds + (packet.duration or 0) * packet.time_base


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
    """Color encoding of a video, as code points of ITU-T H.273."""

    matrix: int
    range: int
    primaries: int
    transfer: int


def read_color(frame: av.VideoFrame, path: Path) -> Color:
    """Read the color encoding of a frame; untagged values are what players assume.

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
            f"{path}: its color matrix, {name} ({matrix}), is not supported; "
            "convert it to BT.709 first (ffmpeg's zscale filter, matrix=709)"
        )
    if span == int(ColorRange.UNSPECIFIED):
        span = int(ColorRange.MPEG)
    return Color(matrix, span, int(frame.color_primaries), transfer)
