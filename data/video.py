"""Video files in: upright RGB frames with their time stamps, and everything else as it is."""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self

import av
import numpy as np

from .clock import Clock
from .images import PictureError
from .video_color import read_color

VIDEO_SUFFIXES = {
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv",
}  # fmt: skip
NO_KEYS = ("mpegts", "mpeg")
RUN_UP = 20  # seconds
LEAST_CUT = 0.5  # seconds that a file ends early, and that are worth a word
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
        self.clock = Clock(self.stream)
        self.rate, self.time_base = self.clock.rate, self.clock.time_base
        # Seconds by the file's own time stamps at which frames and packets begin to be wanted.
        self.shift = Fraction(self.container.start_time or 0, av.time_base) + Fraction(start)
        length = self._length()
        self.wanted = math.inf if duration is None else duration  # seconds
        self.end = min(length, start + self.wanted)
        self._last: Frame | None = None
        self._lost = False  # whether frames are missing since the last one
        self._reach = 0  # ticks to which there are packets
        self._ended = False  # whether all of the frames that are wanted have been seen
        self._lag = 0  # ticks by which frames come later than their decoding
        self._by_dts = self.container.format.name == "avi"  # which knows no other time stamps
        self._items = self._read()
        try:
            self._describe()
        except av.FFmpegError as error:
            raise PictureError(f"{path}: not a readable video ({_reason(error)})") from error
        finally:
            if not hasattr(self, "width"):
                self.container.close()

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
            if self.start and self.start >= self._length():
                raise PictureError(
                    f"{self.path}: lasts {self._length():.2f} s, --start lies beyond that"
                )
            raise PictureError(f"{self.path}: no picture in it could be decoded")
        self._items = itertools.chain(kept, self._items)
        self.height, self.width = kept[-1].pixels.shape[:2]
        aspect = self.stream.sample_aspect_ratio or Fraction(1)
        self.pixel_aspect = 1 / aspect if self.rotation % 180 else aspect

    def _read(self) -> Iterator[Frame | av.Packet]:
        if self._by_dts:
            first = next(self.container.decode(self.stream), None)
            self._lag = first.dts or 0 if first else 0
        if self.start or self._by_dts:
            self._seek(self.shift)
        unfinished = {stream.index for stream in self.others}
        for packet in self._packets():
            if packet.stream is not self.stream:
                if self._within(packet):
                    yield packet
                elif packet.pts is not None and self._seconds(packet) >= self.wanted:
                    unfinished.discard(packet.stream.index)
            elif not self._ended:
                yield from self._wanted(self._decoded(packet))
            if self._ended and not unfinished:
                return
        if self._last:
            # The last ones may be lost without an error; or not be in the file at all.
            shown = self._last.pts + self._last.duration - self.clock.step
            yield from self._wanted(self._repeats(self._last._replace(pts=shown), self._reach))
            missing = self._length() - self.start - float(self._reach * self.time_base)
            self.cut_short |= LEAST_CUT < missing < math.inf

    def _seek(self, seconds: Fraction) -> None:
        if self.container.format.name in NO_KEYS:
            # They do not seek to a key frame: begin early enough to meet one.
            seconds = max(seconds - RUN_UP, Fraction(0))
        self.container.seek(int(seconds / self.stream.time_base), stream=self.stream)

    def _wanted(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if frame.pts * self.time_base >= self.wanted:
                self._ended = True
                return
            if frame.pts >= 0:
                yield frame

    def _decoded(self, packet: av.Packet) -> Iterator[Frame]:
        """A packet's frames, and before them the last good one in place of lost ones."""
        if packet.pts is not None and packet.size:
            self._reach = max(
                self._reach, self.clock.ticks(self._seconds(packet)) + self.clock.step
            )
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
        if self._by_dts:
            raw.pts = raw.dts - self._lag
        if raw.pts is None:
            pts = last.pts + self.clock.step if last else 0
        else:
            pts = self.clock.ticks(raw.pts * raw.time_base - self.shift)
        duration = round((raw.duration or 0) * raw.time_base / self.time_base) or self.clock.step
        if raw.is_corrupt and last is not None:
            self.damaged += 1
            return Frame(last.pixels, pts, duration)
        if last is None:
            self.color, self.rotation = read_color(raw, self.path), raw.rotation
            self._size = {"width": raw.width, "height": raw.height}  # for the rest of it too
        raw.colorspace, raw.color_range = self.color.matrix, self.color.range
        pixels = raw.to_ndarray(format="rgb24", **self._size)
        # The rotation is counterclockwise, as numpy's is.
        return Frame(
            np.ascontiguousarray(np.rot90(pixels, round(raw.rotation / 90))), pts, duration
        )

    def _repeats(self, last: Frame, until: int) -> Iterator[Frame]:
        """The last good frame at the times of lost ones."""
        missing = min(round((until - last.pts) / self.clock.step) - 1, MOST_REPEATS)
        for number in range(1, missing + 1):
            self.damaged += 1
            yield last._replace(pts=last.pts + number * self.clock.step, duration=self.clock.step)

    def _seconds(self, packet: av.Packet) -> Fraction:
        return packet.pts * packet.time_base - self.shift

    def chapters(self) -> Iterator[dict[str, Any]]:
        """The chapters of the part that is read, as FFmpeg has them."""
        for chapter in self.container.chapters():
            base = chapter["time_base"]
            start, end = (chapter[side] * base - self.shift for side in ("start", "end"))
            start, end = max(start, Fraction(0)), min(end, self.wanted)
            if start < end:
                yield chapter | {"start": round(start / base), "end": round(end / base)}

    def _within(self, packet: av.Packet) -> bool:
        """Whether another stream's packet lies in the part that is read."""
        if packet.pts is None:
            return False
        seconds = self._seconds(packet)
        # A sound's first packet may lie before its beginning, to warm its decoder up.
        return (not self.start or seconds >= 0) and seconds < self.wanted


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
