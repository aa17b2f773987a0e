"""The options that pictures, videos and cameras share."""

from dataclasses import dataclass
from typing import TypedDict

from duostyle.models import PRECISIONS

STEADY = 0.9


def check_steady(strength: float) -> None:
    """Raise ValueError for a strength of the temporal filter outside of [0, 1)."""
    if not 0 <= strength < 1:
        raise ValueError(f"steady must lie in [0, 1), not {strength}")


@dataclass(frozen=True)
class StylizeOptions:
    """How content is stylized. Raises ValueError for a value that is not allowed.

    Pictures ignore `steady` and `batch`; cameras ignore `batch`.
    """

    swap: bool = False  # exchange the two styles
    keep_colors: bool = False  # luminance of the stylized picture, chroma of the content
    # Stylize with the long side at this many pixels, then enlarge: the strokes become larger.
    size: int | None = None
    precision: str = "fp32"  # fp32, bf16 or fp16
    steady: float = STEADY  # strength of the temporal filter, 0 (off) to below 1
    batch: int | None = None  # frames per forward pass; None: what is fastest

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {self.precision}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size is 1 pixel or more, not {self.size}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch is 1 frame or more, not {self.batch}")
        check_steady(self.steady)


class StylizeKeywords(TypedDict, total=False):
    """The fields of StylizeOptions as keyword arguments."""

    swap: bool
    keep_colors: bool
    size: int | None
    precision: str
    steady: float
    batch: int | None


DEFAULTS = StylizeOptions()
