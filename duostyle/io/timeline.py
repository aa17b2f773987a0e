"""Time stamps that go on where a file's own start again or jump."""

from fractions import Fraction

import av
from av.format import Flags

MOST_JUMP = 10  # seconds forward; FFmpeg's -dts_delta_threshold
MOST_OVERLAP = Fraction(1, 10)  # seconds back, as FFmpeg's command line allows


def may_jump(container: av.container.InputContainer) -> bool:
    """Whether a container's time stamps may start again, as those of joined recordings do."""
    return bool(container.format.flags & Flags.ts_discont.value)


class Timeline:
    """Shifts packets so that sound and picture go on where their time stamps do not.

    It follows FFmpeg's command line: what one stream's time stamps jump by is taken off all of
    the streams, from there on.
    """

    def __init__(self) -> None:
        self.offset = Fraction(0)  # seconds added to what follows
        self.jumped = False
        self._last: dict[int, Fraction] = {}  # by stream: seconds of the last packet,
        self._next: dict[int, Fraction] = {}  # and of the one expected after it
        self._latest: Fraction | None = None

    def correct(self, packet: av.Packet) -> None:
        """Shift a packet's time stamps in place; packets come in the file's order."""
        if packet.dts is not None and packet.stream.type in ("video", "audio"):
            self._watch(packet)
        if self.offset:
            shift = round(self.offset / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift

    def _watch(self, packet: av.Packet) -> None:
        index = packet.stream.index
        seconds = packet.dts * packet.time_base + self.offset
        expected = self._next.get(index, self._latest)
        if expected is not None:
            again = index in self._last and seconds + MOST_OVERLAP < self._last[index]
            if again or abs(seconds - expected) > MOST_JUMP:
                self.offset += expected - seconds
                self.jumped, seconds = True, expected
        self._last[index] = self._latest = seconds
        self._next[index] = seconds + (packet.duration or 0) * packet.time_base
