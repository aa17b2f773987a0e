"""Alpha as a number, or as a curve over the time of a video."""

from bisect import bisect_right
from dataclasses import dataclass

from duostyle.models.interface import check_alpha


@dataclass(frozen=True)
class AlphaCurve:
    """Alpha over time: linear between keyframes, constant before the first and after the last.

    Raises ValueError if the times do not increase from 0 or more, or if an alpha is not in [0, 1].
    """

    times: tuple[float, ...]  # seconds, or fractions of the video's length
    alphas: tuple[float, ...]  # in [0, 1]
    relative: bool = False  # times are fractions of the length

    def __post_init__(self) -> None:
        if not self.times or len(self.times) != len(self.alphas):
            raise ValueError("a curve needs one alpha for each time, and at least one")
        if list(self.times) != sorted(set(self.times)) or self.times[0] < 0:
            raise ValueError("the times of a curve must increase, from 0 or more")
        for alpha in self.alphas:
            check_alpha(alpha)

    def at(self, seconds: float, length: float) -> float:
        """Alpha at a time in a video of `length` seconds, which may be infinite (unknown)."""
        time = min(seconds / max(length, 1e-9), 1.0) if self.relative else seconds
        after = bisect_right(self.times, time)
        if after in (0, len(self.times)):
            return self.alphas[min(after, len(self.times) - 1)]
        begin, end = self.times[after - 1], self.times[after]
        share = (time - begin) / (end - begin)
        return self.alphas[after - 1] + share * (self.alphas[after] - self.alphas[after - 1])

    def __format__(self, _: str) -> str:
        """Format for a file name, for example `0to1`."""
        return f"{self.alphas[0]:g}to{self.alphas[-1]:g}"


Alpha = float | AlphaCurve


def alpha_at(alpha: Alpha, seconds: float, length: float) -> float:
    """The value of `alpha` at a time; see `AlphaCurve.at`."""
    return alpha.at(seconds, length) if isinstance(alpha, AlphaCurve) else alpha


def parse_alphas(text: str) -> list[Alpha]:
    """Parse `0.5`, `0,0.5,1` (one result each) or `0:1` (from start to end of a video).

    Raises ValueError for other text, and for values outside of [0, 1].
    """
    return [_parse_alpha(part.strip()) for part in text.split(",")]


def _parse_alpha(text: str) -> Alpha:
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        raise ValueError(f"'{text}' is not a number, A:B, or a list of them") from None
    for number in numbers:
        check_alpha(number)
    if len(numbers) > 2:
        raise ValueError(f"'{text}': A:B goes from A to B; --alpha-keys takes more")
    return numbers[0] if len(numbers) == 1 else AlphaCurve((0.0, 1.0), tuple(numbers), True)


def parse_keys(text: str) -> AlphaCurve:
    """Parse keyframes such as `0s=0, 2s=1, 5s=0.3`. Raises ValueError for other text."""
    times, alphas = [], []
    for part in text.split(","):
        time, _, alpha = part.strip().partition("=")
        try:
            times.append(float(time.strip().removesuffix("s")))
            alphas.append(float(alpha))
        except ValueError:
            raise ValueError(f"'{part.strip()}' is not SECONDS=ALPHA, such as 2s=0.5") from None
    return AlphaCurve(tuple(times), tuple(alphas))
