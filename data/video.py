"""Video files in: upright RGB frames with their time stamps, and everything else as it is."""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Self

import av
import numpy as np

from .images import PictureError
from .video_color import read_color

VIDEO_SUFFIXES = {
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv",
}  # fmt: skip
FINEST = 10_000  # ticks a second that a time base has at least, where it is ours
MOST_REPEATS = 1000  # frames put in for lost ones in a row


class Frame(NamedTuple):
    """One picture of a video."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright
    pts: int  # time since the start, in units of the video's time base
    duration: int


class VideoReader:
    """A video file as an iterable of its frames and, in between, other streams' packets.

    Frames are decoded one after the other, so memory does not grow with the length. A frame that
    cannot be decoded is counted in `damaged` and replaced by the last good one. Time stamps start
    at 0 at `start`.
    """

    def __init__(self, path: Path, start: float = 0.0, duration: float | None = None) -> None:
        """`start`, `duration`: what to read of it, seconds; None: to the end.

        Raises PictureError where the file is missing, damaged from the start, has no picture, or
        is HDR.
        """
        self.path, self.start = path, start
        self.damaged = 0
        self.cut_short = False
        if not path.is_file():
            raise PictureError(f"{path}: no such file")
        try:
            self.container = av.open(str(path), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise PictureError(f"{path}: not a readable video ({_reason(error)})") from error
        if not self.container.streams.video:
            self.container.close()
            raise PictureError(f"{path}: has no video stream")
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.others = [s for s in self.container.streams if s.type in ("audio", "subtitle")]
        self.rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        self.time_base = self._fine_time_base()
        self.step = max(round(1 / (self.rate * self.time_base)), 1)
        # Seconds by the file's own time stamps at which frames and packets begin to be wanted.
        self.shift = Fraction(self.container.start_time or 0, av.time_base) + Fraction(start)
        length = self._length()
        self.wanted = duration or math.inf  # seconds
        self.end = min(length, start + self.wanted)
        self._last: Frame | None = None
        self._lost = False  # whether frames are missing since the last one
        self._items = self._read()
        self._describe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def __iter__(self) -> Iterator[Frame | av.Packet]:
        return self._items

    @property
    def frame_count(self) -> int | None:
        """About how many frames there will be, None where the file does not say its length."""
        seconds = self.end - self.start
        return max(round(seconds * self.rate), 1) if seconds < math.inf else None

    def _fine_time_base(self) -> Fraction:
        """The file's own, or a finer one where frames of its rate do not fall on its ticks."""
        own = self.stream.time_base
        if (1 / self.rate / own).denominator == 1:
            return own
        return Fraction(1, self.rate.numerator * math.ceil(FINEST / self.rate.numerator))

    def _ticks(self, seconds: Fraction) -> int:
        """A time in units of the time base; back on the rate's grid where the file rounded it."""
        number = round(seconds * self.rate)
        if abs(number / self.rate - seconds) < self.stream.time_base:
            seconds = number / self.rate
        return round(seconds / self.time_base)

    def _length(self) -> float:
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        return self.container.duration / av.time_base if self.container.duration else math.inf

    def _describe(self) -> None:
        """What the first frame says: upright size, pixel aspect, colours."""
        kept = []
        for item in self._items:
            kept.append(item)
            if isinstance(item, Frame):
                break
        else:
            raise PictureError(f"{self.path}: no picture in it could be decoded")
        self._items = itertools.chain(kept, self._items)
        self.height, self.width = kept[-1].pixels.shape[:2]
        aspect = self.stream.sample_aspect_ratio or Fraction(1)
        self.pixel_aspect = 1 / aspect if self.rotation % 180 else aspect

    def _read(self) -> Iterator[Frame | av.Packet]:
        if self.start:
            self.container.seek(int(self.shift / self.stream.time_base), stream=self.stream)
        for packet in self._packets():
            if packet.stream is not self.stream:
                if self._within(packet):
                    yield packet
                continue
            for frame in self._decoded(packet):
                if frame.pts * self.time_base >= self.wanted:
                    return
                if frame.pts >= 0:
                    yield frame

    def _decoded(self, packet: av.Packet) -> Iterator[Frame]:
        """A packet's frames, and before them the last good one in place of lost ones."""
        try:
            pictures = packet.decode()
        except av.FFmpegError:
            self._lost = True
            return
        for raw in pictures:
            frame = self._frame(raw, self._last)
            if self._last and frame.pts <= self._last.pts:
                continue
            if self._last and self._lost:
                yield from self._repeats(self._last, frame.pts)
            self._last, self._lost = frame, False
            yield frame

    def _packets(self) -> Iterator[av.Packet]:
        """Packets until the file ends, well or not."""
        packets = self.container.demux(self.stream, *self.others)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                self.cut_short = True
                return

    def _frame(self, raw: av.VideoFrame, last: Frame | None) -> Frame:
        if raw.pts is None:
            pts = last.pts + self.step if last else 0
        else:
            pts = self._ticks(raw.pts * raw.time_base - self.shift)
        duration = round((raw.duration or 0) * raw.time_base / self.time_base) or self.step
        if raw.is_corrupt and last is not None:
            self.damaged += 1
            return Frame(last.pixels, pts, duration)
        if last is None:
            self.color, self.rotation = read_color(raw, self.path), raw.rotation
        raw.colorspace, raw.color_range = self.color.matrix, self.color.range
        pixels = raw.to_ndarray(format="rgb24")
        # The rotation is counterclockwise, as numpy's is.
        return Frame(
            np.ascontiguousarray(np.rot90(pixels, round(raw.rotation / 90))), pts, duration
        )

    def _repeats(self, last: Frame, until: int) -> Iterator[Frame]:
        """The last good frame at the times of lost ones."""
        missing = min(round((until - last.pts) / self.step) - 1, MOST_REPEATS)
        for number in range(1, missing + 1):
            self.damaged += 1
            yield last._replace(pts=last.pts + number * self.step, duration=self.step)

    def _within(self, packet: av.Packet) -> bool:
        """Whether another stream's packet lies in the part that is read."""
        if packet.pts is None:
            return False
        seconds = packet.pts * packet.time_base - self.shift
        # A sound's first packet may lie before its beginning, to warm its decoder up.
        return (not self.start or seconds >= 0) and seconds < self.wanted


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
