"""Timestamps of videos: counted in whole ticks, and continued where a file's own ones jump."""

import math
from fractions import Fraction

import av
from av.format import Flags

MIN_TICKS = 10_000  # per second, of a time base that is chosen here
MAX_JUMP = 10  # seconds forward; FFmpeg's -dts_delta_threshold
MAX_OVERLAP = Fraction(1, 10)  # seconds back; as FFmpeg's command line allows


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
