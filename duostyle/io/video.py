"""Video files: read as upright RGB frames with timestamps, and packets of the other streams."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self

import av
import numpy as np
from av.stream import Disposition

from duostyle.io.decoding import (
    Color,
    Deinterlacer,
    FrameClock,
    TimestampCorrector,
    may_jump,
    read_color,
    read_orientation,
)
from duostyle.io.images import PictureError

VIDEO_SUFFIXES = {
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v",
    ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogm", ".ogv", ".qt", ".ts", ".vob",
    ".webm", ".wmv", ".y4m",
}  # fmt: skip
NO_KEYFRAME_SEEK = ("mpegts", "mpeg")  # containers where seeking does not find a keyframe
PREROLL = 20  # seconds before the start at which they are read instead
MIN_CUT = 0.5  # seconds; a file that ends so much too early counts as cut short
MAX_REPEATS = 1000  # consecutive lost frames that are replaced
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's native ones drop alpha


class Frame(NamedTuple):
    """One frame of a video."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright
    pts: int  # time since the start, in units of the video's time base
    duration: int
    alpha: np.ndarray | None = None  # (H, W) uint8, 255 = opaque


@dataclass(frozen=True)
class VideoFormat:
    """The format of a video's frames."""

    width: int
    height: int
    rate: Fraction  # frames per second, on average
    time_base: Fraction  # seconds per tick of `Frame.pts`
    pixel_aspect: Fraction
    color: Color


class VideoReader:
    """Iterates over the frames of a video file and, interleaved, the packets of other streams.

    Frames are decoded one by one, so memory does not grow with the length. A frame that cannot be
    decoded is counted in `damaged` and replaced by the last good one. Interlaced frames are
    deinterlaced. Timestamps start at 0 at `start` and increase, even if the file's own ones do not.
    """

    def __init__(self, path: Path, start: float = 0.0, duration: float | None = None) -> None:
        """Open `path` and decode its first frame.

        `start`, `duration`: the part to read, in seconds; None reads to the end.
        Raises PictureError if the file is missing, damaged from the start, has no video, is HDR, or
        has a color matrix that is not supported.
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
        self.clock = FrameClock(self.stream)
        self.rate, self.time_base = self.clock.rate, self.clock.time_base
        # The start of the part that is read, in seconds by the file's own timestamps.
        self.shift = Fraction(self.container.start_time or 0, av.time_base) + Fraction(start)
        self._joined = False  # whether the timestamps restart or jump somewhere
        self._scanned: float | None = None  # duration of such a file, in seconds
        self._corrector = TimestampCorrector() if may_jump(self.container) else None
        if self._corrector and (start or duration is None or duration > self._length()):
            self._scan()
        length = self._length()
        self.duration = math.inf if duration is None else duration  # seconds
        self.end = min(length, start + self.duration)
        self._last: Frame | None = None
        self._lost: int | None = None  # ticks up to which frames are known to be lost
        self._deinterlace = Deinterlacer()
        self._last_pts: int | None = None  # ticks of the last decoded frame
        self._packet_end = 0  # ticks at which the last packet ends
        self._ended = False  # whether the last frame of the part has been decoded
        self._delay = 0  # ticks of the file from decoding to display
        self._by_dts = self.container.format.name == "avi"  # which stores no other timestamps
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
    def format(self) -> VideoFormat:
        """The format of the frames."""
        return VideoFormat(
            self.width, self.height, self.rate, self.time_base, self.pixel_aspect, self.color
        )

    @property
    def frame_count(self) -> int | None:
        """Estimate the number of frames; None if the file does not state its duration."""
        seconds = self.end - self.start
        return max(round(seconds * self.rate), 1) if seconds < math.inf else None

    @property
    def has_alpha(self) -> bool:
        """Whether the frames have an alpha channel."""
        return self._has_alpha

    def _scan(self) -> None:
        """Read all packets once, to find jumps of the timestamps and the true duration."""
        corrector, end = TimestampCorrector(), Fraction(0)
        with av.open(str(self.path), metadata_errors="replace") as container:
            stream = container.streams[self.stream.index]
            with suppress(av.FFmpegError):
                for packet in _packets(container, stream):
                    corrector.correct(packet)
                    if packet.pts is not None and packet.size:
                        end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if corrector.jumped:
            self._joined = True
            self._scanned = float(end - self.shift + Fraction(self.start))

    def _length(self) -> float:
        if self._scanned is not None:
            return self._scanned
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        return self.container.duration / av.time_base if self.container.duration else math.inf

    def _describe(self) -> None:
        """Decode the first frame, for the upright size, the pixel aspect and the colors."""
        items: list[Frame | av.Packet] = []
        for item in self._items:
            items.append(item)
            if isinstance(item, Frame):
                break
        else:
            if self.start and self.start >= self._length():
                raise PictureError(
                    f"{self.path}: lasts {self._length():.2f} s, --start lies beyond that"
                )
            raise PictureError(f"{self.path}: no picture in it could be decoded")
        self._items = itertools.chain(items, self._items)
        self.height, self.width = item.pixels.shape[:2]
        aspect = self.stream.sample_aspect_ratio or Fraction(1)
        self.pixel_aspect = 1 / aspect if self.orientation.transpose else aspect

    def _read(self) -> Iterator[Frame | av.Packet]:
        if self._by_dts:
            first = next(self.container.decode(self.stream), None)
            self._delay = first.dts or 0 if first else 0
        # Joined recordings are read from the beginning: their timestamps are no use for seeking.
        if self._by_dts or (self.start and not self._joined):
            self._seek(self.shift)
        # Seconds up to which the other streams are read.
        ends = {s.index: min(self._stream_end(s), self.duration) for s in self.others}
        open_streams = {index for index, end in ends.items() if end > 0}
        for packet in self._packets():
            if packet.stream is not self.stream:
                if self._within(packet):
                    yield packet
                if packet.pts is not None:
                    length = (packet.duration or 0) * packet.time_base
                    if self._seconds(packet) + length >= ends[packet.stream.index]:
                        open_streams.discard(packet.stream.index)
            elif not self._ended:
                yield from self._within_duration(self._decoded(packet))
            if self._ended and not open_streams:
                return
        if not self._ended:
            yield from self._within_duration(self._frames(self._deinterlace(None)))
        if self._last and not self._ended:
            # The last frames may be lost without an error, or be missing from the file.
            shown = self._last.pts + self._last.duration - self.clock.step
            yield from self._within_duration(
                self._repeats(self._last._replace(pts=shown), self._packet_end)
            )
            missing = self._length() - self.start - float(self._packet_end * self.time_base)
            self.cut_short |= MIN_CUT < missing < math.inf

    def _stream_end(self, stream: av.stream.Stream) -> float:
        """The end of another stream in seconds of the part; infinite if the file does not say."""
        if self._corrector or not stream.duration:
            return math.inf
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base - self.shift)

    def _seek(self, seconds: Fraction) -> None:
        if self.container.format.name in NO_KEYFRAME_SEEK:
            seconds = max(seconds - PREROLL, Fraction(0))
        self.container.seek(int(seconds / self.stream.time_base), stream=self.stream)

    def _within_duration(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if frame.pts * self.time_base >= self.duration:
                self._ended = True
                return
            if frame.pts >= 0:
                yield frame

    def _decoded(self, packet: av.Packet) -> Iterator[Frame]:
        """Decode a packet; lost frames before it are replaced by the last good one."""
        shown, ticks = packet.dts if self._by_dts else packet.pts, self._packet_end
        if shown is not None and packet.size:
            ticks = self.clock.ticks(shown * packet.time_base - self.shift)
            self._packet_end = max(self._packet_end, ticks + self.clock.step)
        try:
            pictures = self._pictures(packet)
        except av.FFmpegError:
            self._lost = max(self._lost or 0, ticks)
            return
        for raw in pictures:
            self._stamp(raw)
            yield from self._frames(self._deinterlace(raw))

    def _pictures(self, packet: av.Packet) -> Sequence[av.VideoFrame]:
        if self._decoder:
            return self._decoder.decode(packet if packet.size else None)
        return packet.decode()

    def _packets(self) -> Iterator[av.Packet]:
        """Yield packets until the file ends or is damaged."""
        try:
            for packet in _packets(self.container, self.stream, *self.others):
                if self._corrector:
                    self._corrector.correct(packet)
                yield packet
        except av.FFmpegError:
            self.cut_short = True

    def _stamp(self, raw: av.VideoFrame) -> None:
        """Set the time of a decoded frame in ticks, later than that of the frame before."""
        own, base = raw.dts if self._by_dts else raw.pts, raw.time_base
        step, before = self.clock.step, self._last_pts
        if own is not None:
            pts = self.clock.ticks((own - self._delay) * base - self.shift)
        else:
            pts = 0 if before is None else before + step
        if before is not None and pts <= before:
            pts = before + max(step // 2, 1)  # overlapping timestamps: catches up soon
        raw.duration = round((raw.duration or 0) * base / self.time_base) or step
        raw.pts, raw.time_base, self._last_pts = pts, self.time_base, pts

    def _frames(self, pictures: Iterator[av.VideoFrame]) -> Iterator[Frame]:
        """Convert timestamped pictures to frames, and repeat frames in place of lost ones."""
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
            # Later frames of another size are scaled to the size of the first one.
            self._size = {"width": raw.width, "height": raw.height}
        raw.colorspace, raw.color_range = self.color.matrix, self.color.range
        kind = "rgba" if self._has_alpha else "rgb24"
        pixels = raw.to_ndarray(format=kind, **self._size)
        alpha = self.orientation.apply(pixels[..., 3]) if self._has_alpha else None
        return Frame(self.orientation.apply(pixels[..., :3]), pts, duration, alpha)

    def _repeats(self, last: Frame, until: int) -> Iterator[Frame]:
        """Repeat the last good frame at the times of lost ones, before `until`."""
        missing = min(round((until - last.pts) / self.clock.step) - 1, MAX_REPEATS)
        for number in range(1, missing + 1):
            self.damaged += 1
            yield last._replace(pts=last.pts + number * self.clock.step, duration=self.clock.step)

    def _seconds(self, packet: av.Packet) -> Fraction:
        return packet.pts * packet.time_base - self.shift

    def chapters(self) -> Iterator[dict[str, Any]]:
        """Yield the chapters of the part that is read, as FFmpeg's dictionaries."""
        for chapter in self.container.chapters():
            base = chapter["time_base"]
            start, end = (chapter[side] * base - self.shift for side in ("start", "end"))
            start, end = max(start, Fraction(0)), min(end, self.duration)
            if start < end:
                yield chapter | {"start": round(start / base), "end": round(end / base)}

    def _within(self, packet: av.Packet) -> bool:
        """Whether a packet of another stream lies in the part that is read."""
        if packet.pts is None:
            # An empty packet flushes a decoder.
            return not packet.size and math.isinf(self.duration)
        seconds = self._seconds(packet)
        # The first audio packet may lie before time 0, to prime the decoder.
        return (not self.start or seconds >= 0) and seconds < self.duration


def _main_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """Select the video stream as FFmpeg does: the default one, else the largest; no covers.

    Raises PictureError if there is none.
    """
    streams = [s for s in container.streams.video if not s.disposition & COVERS]
    supported = [stream for stream in streams if stream.codec_context]
    if supported:
        return max(
            supported, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height)
        )
    if streams:
        raise PictureError(f"{path}: its video codec is not supported; convert it to H.264 first")
    if container.streams.video:
        raise PictureError(f"{path}: is audio with a cover picture, there is no video in it")
    raise PictureError(f"{path}: has no video stream")


def _alpha_decoder(stream: av.VideoStream) -> av.VideoCodecContext | None:
    """A decoder for the alpha channel of WebM; None without alpha or without libvpx."""
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if not name or tags.get("alpha_mode") != "1":
        return None
    try:
        return av.CodecContext.create(name, "r")
    except av.FFmpegError:
        return None


def _has_alpha(raw: av.VideoFrame, stream: av.VideoStream) -> bool:
    # The fourth byte of uncompressed video is not filled in; that of palettes is not used either.
    unused = stream.codec_context.name == "rawvideo" or raw.format.has_palette
    return not unused and any(part.is_alpha for part in raw.format.components)


def _packets(
    container: av.container.InputContainer, *streams: av.stream.Stream
) -> Iterator[av.Packet]:
    """Yield packets of streams until the file ends. Raises FFmpegError if it is damaged."""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except IndexError:  # PyAV does not know a stream that begins in the middle
            packets = container.demux(*streams)
            continue
        yield packet


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
