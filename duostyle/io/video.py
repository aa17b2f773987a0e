"""Video files in: upright RGB frames with their time stamps, and everything else as it is."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self

import av
import numpy as np
from av.stream import Disposition

from duostyle.io.clock import Clock
from duostyle.io.images import PictureError
from duostyle.io.interlacing import Deinterlacer
from duostyle.io.orientation import read_orientation
from duostyle.io.timeline import Timeline, may_jump
from duostyle.io.video_color import read_color

VIDEO_SUFFIXES = {
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v",
    ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogm", ".ogv", ".qt", ".ts", ".vob",
    ".webm", ".wmv", ".y4m",
}  # fmt: skip
NO_KEYS = ("mpegts", "mpeg")
RUN_UP = 20  # seconds
LEAST_CUT = 0.5  # seconds that a file ends early, and that are worth a word
MOST_REPEATS = 1000  # frames put in for lost ones in a row
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own ones leave alpha out


class Frame(NamedTuple):
    """One picture of a video."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright
    pts: int  # time since the start, in units of the video's time base
    duration: int
    alpha: np.ndarray | None = None  # (H, W) uint8, 255 = opaque


class VideoReader:
    """A video file as an iterable of its frames and, in between, other streams' packets.

    Frames are decoded one after the other, so memory does not grow with the length. A frame that
    cannot be decoded is counted in `damaged` and replaced by the last good one. Interlaced frames
    are deinterlaced. Time stamps start at 0 at `start` and rise, even where the file's own do not.
    """

    def __init__(self, path: Path, start: float = 0.0, duration: float | None = None) -> None:
        """`start`, `duration`: what to read of it, seconds; None: to the end.

        Raises PictureError where the file is missing, damaged from the start, has no picture, is
        HDR, or has colours that cannot be read.
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
        try:
            self.stream = _main_stream(self.container, path)
        except PictureError:
            self.container.close()
            raise
        self.stream.thread_type = "AUTO"
        self._decoder = _alpha_decoder(self.stream)
        self.others = [s for s in self.container.streams if s.type in ("audio", "subtitle")]
        self.clock = Clock(self.stream)
        self.rate, self.time_base = self.clock.rate, self.clock.time_base
        # Seconds by the file's own time stamps at which frames and packets begin to be wanted.
        self.shift = Fraction(self.container.start_time or 0, av.time_base) + Fraction(start)
        self._joined = False  # whether the time stamps start again or jump somewhere
        self._scanned: float | None = None  # seconds that such a file lasts
        self._timeline = Timeline() if may_jump(self.container) else None
        if self._timeline and (start or duration is None or duration > self._length()):
            self._scan()
        length = self._length()
        self.wanted = math.inf if duration is None else duration  # seconds
        self.end = min(length, start + self.wanted)
        self._last: Frame | None = None
        self._lost: int | None = None  # ticks up to which frames are known to be missing
        self._deinterlace = Deinterlacer()
        self._stamped: int | None = None  # ticks of the last picture that was decoded
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

    @property
    def has_alpha(self) -> bool:
        """Whether the frames have an alpha channel."""
        return self._has_alpha

    def _scan(self) -> None:
        """Read all of the packets once, for what the time stamps alone do not say."""
        timeline, end = Timeline(), Fraction(0)
        with av.open(str(self.path), metadata_errors="replace") as container:
            stream = container.streams[self.stream.index]
            with suppress(av.FFmpegError):
                for packet in _packets(container, stream):
                    timeline.correct(packet)
                    if packet.pts is not None and packet.size:
                        end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if timeline.jumped:
            self._joined = True
            self._scanned = float(end - self.shift + Fraction(self.start))

    def _length(self) -> float:
        if self._scanned is not None:
            return self._scanned
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
        self.pixel_aspect = 1 / aspect if self.orientation.transpose else aspect

    def _read(self) -> Iterator[Frame | av.Packet]:
        if self._by_dts:
            first = next(self.container.decode(self.stream), None)
            self._lag = first.dts or 0 if first else 0
        # A file that was joined is read from its beginning: its time stamps lead nowhere.
        if self._by_dts or (self.start and not self._joined):
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
        if not self._ended:
            yield from self._wanted(self._whole(self._deinterlace(None)))
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
        shown, ticks = packet.dts if self._by_dts else packet.pts, self._reach
        if shown is not None and packet.size:
            ticks = self.clock.ticks(shown * packet.time_base - self.shift)
            self._reach = max(self._reach, ticks + self.clock.step)
        try:
            pictures = self._pictures(packet)
        except av.FFmpegError:
            self._lost = max(self._lost or 0, ticks)
            return
        for raw in pictures:
            self._stamp(raw)
            yield from self._whole(self._deinterlace(raw))

    def _pictures(self, packet: av.Packet) -> Sequence[av.VideoFrame]:
        if self._decoder:
            return self._decoder.decode(packet if packet.size else None)
        return packet.decode()

    def _packets(self) -> Iterator[av.Packet]:
        """Packets until the file ends, well or not."""
        try:
            for packet in _packets(self.container, self.stream, *self.others):
                if self._timeline:
                    self._timeline.correct(packet)
                yield packet
        except av.FFmpegError:
            self.cut_short = True

    def _stamp(self, raw: av.VideoFrame) -> None:
        """Give a decoded picture its time in ticks; it is later than that of the one before."""
        own, base = raw.dts if self._by_dts else raw.pts, raw.time_base
        step, before = self.clock.step, self._stamped
        if own is not None:
            pts = self.clock.ticks((own - self._lag) * base - self.shift)
        else:
            pts = 0 if before is None else before + step
        if before is not None and pts <= before:
            pts = before + max(step // 2, 1)  # time stamps that overlap: soon back in time
        raw.duration = round((raw.duration or 0) * base / self.time_base) or step
        raw.pts, raw.time_base, self._stamped = pts, self.time_base, pts

    def _whole(self, pictures: Iterator[av.VideoFrame]) -> Iterator[Frame]:
        """Frames of pictures that have their time, and repeats in place of lost ones."""
        for raw in pictures:
            frame = self._frame(raw, self._last)
            if self._last and self._lost is not None:
                yield from self._repeats(self._last, frame.pts)
                self._lost = None if frame.pts > self._lost else self._lost
            self._last = frame
            yield frame

    def _frame(self, raw: av.VideoFrame, last: Frame | None) -> Frame:
        pts, duration = (
            round(value * raw.time_base / self.time_base) for value in (raw.pts, raw.duration)
        )
        if raw.is_corrupt and last is not None:
            self.damaged += 1
            return last._replace(pts=pts, duration=duration)
        if last is None:
            self.color, self.orientation = read_color(raw, self.path), read_orientation(raw)
            self._has_alpha = _has_alpha(raw, self.stream)
            self._size = {"width": raw.width, "height": raw.height}  # for the rest of it too
        raw.colorspace, raw.color_range = self.color.matrix, self.color.range
        kind = "rgba" if self._has_alpha else "rgb24"
        pixels = raw.to_ndarray(format=kind, **self._size)
        alpha = self.orientation.apply(pixels[..., 3]) if self._has_alpha else None
        return Frame(self.orientation.apply(pixels[..., :3]), pts, duration, alpha)

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
            return not packet.size and math.isinf(self.wanted)  # gets out what a decoder holds back
        seconds = self._seconds(packet)
        # A sound's first packet may lie before its beginning, to warm its decoder up.
        return (not self.start or seconds >= 0) and seconds < self.wanted


def _main_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The film: as FFmpeg does, the one marked as the default, else the largest; no covers.

    Raises PictureError where there is none.
    """
    films = [s for s in container.streams.video if not s.disposition & COVERS]
    known = [stream for stream in films if stream.codec_context]
    if known:
        return max(
            known, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height)
        )
    if films:
        raise PictureError(f"{path}: its video codec is not known here; convert it to H.264 first")
    if container.streams.video:
        raise PictureError(f"{path}: is sound with a cover picture, there is no video in it")
    raise PictureError(f"{path}: has no video stream")


def _alpha_decoder(stream: av.VideoStream) -> av.VideoCodecContext | None:
    """What decodes WebM's alpha channel, where the stream has one and libvpx is here."""
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    marks = {key.lower(): value for key, value in stream.metadata.items()}
    if not name or marks.get("alpha_mode") != "1":
        return None
    try:
        return av.CodecContext.create(name, "r")
    except av.FFmpegError:
        return None


def _has_alpha(raw: av.VideoFrame, stream: av.VideoStream) -> bool:
    # Uncompressed video has a fourth byte, which nobody fills in; palettes' is not used either.
    unused = stream.codec_context.name == "rawvideo" or raw.format.has_palette
    return not unused and any(part.is_alpha for part in raw.format.components)


def _packets(
    container: av.container.InputContainer, *streams: av.stream.Stream
) -> Iterator[av.Packet]:
    """Packets of streams until the file ends. Raises FFmpegError where it is damaged."""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except IndexError:  # of a stream that begins in the middle, which PyAV does not know
            packets = container.demux(*streams)
            continue
        yield packet


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
