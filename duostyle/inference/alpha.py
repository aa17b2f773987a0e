"""Alpha as a number, or as a curve over a video's time."""

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class AlphaCurve:
    """Alpha over time: straight lines between keys, level before the first and after the last."""

    times: tuple[float, ...]  # rising: seconds, or shares of the video's length
    alphas: tuple[float, ...]  # in [0, 1]
    relative: bool = False  # times are shares

    def __post_init__(self) -> None:
        if not self.times or len(self.times) != len(self.alphas):
            raise ValueError("an alpha for every time, one at least")
        if list(self.times) != sorted(set(self.times)) or self.times[0] < 0:
            raise ValueError("times must rise from 0 or more")
        if not all(0 <= alpha <= 1 for alpha in self.alphas):
            raise ValueError("alpha lies between 0 and 1")

    def at(self, seconds: float, length: float) -> float:
        """Alpha at a time, in a video of `length` seconds (infinity where it is not known)."""
        time = min(seconds / max(length, 1e-9), 1.0) if self.relative else seconds
        after = bisect_right(self.times, time)
        if after in (0, len(self.times)):
            return self.alphas[min(after, len(self.times) - 1)]
        begin, end = self.times[after - 1], self.times[after]
        share = (time - begin) / (end - begin)
        return self.alphas[after - 1] + share * (self.alphas[after] - self.alphas[after - 1])

    def __format__(self, _: str) -> str:
        """As part of a file's name."""
        return f"{self.alphas[0]:g}to{self.alphas[-1]:g}"


Alpha = float | AlphaCurve


def alpha_at(alpha: Alpha, seconds: float, length: float) -> float:
    """The number that `alpha` is at a time, see `AlphaCurve.at`."""
    return alpha.at(seconds, length) if isinstance(alpha, AlphaCurve) else alpha


def parse_alphas(text: str) -> list[Alpha]:
    """`0.5`, `0,0.5,1` (one result each) or `0:1` (from the video's start to its end).

    Raises ValueError where that is not what it says.
    """
    return [_parse_alpha(part.strip()) for part in text.split(",")]


def _parse_alpha(text: str) -> Alpha:
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        raise ValueError(f"'{text}' is no number, A:B, or list of them") from None
    if not all(0 <= number <= 1 for number in numbers):
        raise ValueError(f"alpha lies between 0 and 1, not {text}")
    if len(numbers) > 2:
        raise ValueError(f"'{text}': A:B goes from A to B; --alpha-keys takes more")
    return numbers[0] if len(numbers) == 1 else AlphaCurve((0.0, 1.0), tuple(numbers), True)


def parse_keys(text: str) -> AlphaCurve:
    """`0s=0, 2s=1, 5s=0.3`: alpha at times. Raises ValueError where that is not what it says."""
    times, alphas = [], []
    for part in text.split(","):
        time, _, alpha = part.strip().partition("=")
        try:
            times.append(float(time.strip().removesuffix("s")))
            alphas.append(float(alpha))
        except ValueError:
            raise ValueError(f"'{part.strip()}' is no SECONDS=ALPHA, 2s=0.5 say") from None
    return AlphaCurve(tuple(times), tuple(alphas))
