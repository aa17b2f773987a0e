"""A video's time in whole ticks."""

import math
from fractions import Fraction

import av

FINEST = 10_000  # ticks a second that a time base has at least, where it is ours


class Clock:
    """The rate of a video stream, and the time base that its frames are counted in.

    That is the file's own, or a finer one where frames of its rate do not fall on its ticks, as in
    Matroska, which counts milliseconds.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.own = self.time_base = stream.time_base
        if (1 / self.rate / self.own).denominator != 1:
            self.time_base = Fraction(
                1, self.rate.numerator * math.ceil(FINEST / self.rate.numerator)
            )
        self.step = max(round(1 / (self.rate * self.time_base)), 1)  # ticks from frame to frame

    def ticks(self, seconds: Fraction) -> int:
        """A time in ticks; back on the rate's grid where the file has rounded it."""
        number = round(seconds * self.rate)
        if abs(number / self.rate - seconds) < self.own:
            seconds = number / self.rate
        return round(seconds / self.time_base)
