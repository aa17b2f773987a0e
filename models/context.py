"""The picture's place in what the painter looks at: surroundings are seen and cut off again."""

from typing import NamedTuple, Self

from torch import Tensor
from torch.nn import functional as F

STRIDE = 4  # of the features against the picture
REFLECTED = 12  # pixels at once: a side of 16 has 15 to reflect, 3 of them for whole strides
HALO = 2  # feature cells that a decoded cell looks at, on every side


class Frame(NamedTuple):
    """A rectangle of what the painter looks at, pixels; `top` and `left` are whole strides."""

    height: int
    width: int
    top: int = 0
    left: int = 0

    @classmethod
    def around(cls, content: Tensor, margin: int) -> tuple[Self, Tensor]:
        """`(B, C, H, W)` with a reflected margin, in whole strides, and where the content lies."""
        height, width = content.shape[-2:]
        inner = min(margin, REFLECTED)
        padding = (inner, inner + -width % STRIDE, inner, inner + -height % STRIDE)
        padded = F.pad(content, padding, mode="reflect")
        if margin > inner:
            padded = F.pad(padded, (margin - inner,) * 4, mode="reflect")
        return cls(height, width, margin, margin), padded

    def shrink(self, pixels: int) -> Self:
        """The rectangle without its outer `pixels`, which are whole strides."""
        if pixels % STRIDE or not 0 <= 2 * pixels < min(self.height, self.width):
            raise ValueError(f"surroundings of {pixels} px: need a multiple of {STRIDE} that fits")
        inner = (self.height - 2 * pixels, self.width - 2 * pixels)
        return type(self)(*inner, self.top + pixels, self.left + pixels)

    def cut(self, x: Tensor) -> Tensor:
        """The rectangle out of `(B, C, H, W)`."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def cells(self) -> "Frame":
        """The rectangle on the feature grid."""
        return self.coarser(STRIDE)

    def extend(self, x: Tensor, height: int, width: int) -> Tensor:
        """Its content `(B, C, self.height, self.width)` spread over `height` x `width`."""
        right, bottom = width - self.left - self.width, height - self.top - self.height
        return F.pad(x, (self.left, right, self.top, bottom), mode="replicate")

    def focus(self, height: int, width: int) -> tuple["Frame", "Frame"]:
        """What has to be decoded for this rectangle, and where it lies in that.

        `height`, `width`: of the feature grid. Returns (cells to decode: the rectangle's own and
        those that they look at; the rectangle in the decoded picture).
        """
        own = self.cells()
        top, left = max(own.top - HALO, 0), max(own.left - HALO, 0)
        bottom = min(own.top + own.height + HALO, height)
        right = min(own.left + own.width + HALO, width)
        inside = (self.top - STRIDE * top, self.left - STRIDE * left)
        return Frame(bottom - top, right - left, top, left), Frame(self.height, self.width, *inside)

    def finer(self, times: int) -> "Frame":
        """The rectangle on a grid so many times as fine: of features, in pixels by STRIDE."""
        return Frame(*[times * value for value in self])

    def coarser(self, cell: int) -> "Frame":
        """The rectangle in cells of so many pixels a side, which divides the strides."""
        # Not -(-h // cell): an exported graph rounds a division towards zero.
        height, width = ((side + cell - 1) // cell for side in (self.height, self.width))
        return Frame(height, width, self.top // cell, self.left // cell)


class Seen(NamedTuple):
    """What there is to decode."""

    first: Tensor  # (B, 4 * width, h, w), features of style branch 1
    second: Tensor  # of style branch 2
    region: Tensor  # (B, 1, 4h, 4w) in [0, 1], the foreground, given or learned, in pixels
    share: Tensor  # (B, 1, 1, 1), of the other style in the mixture
    rows: Tensor | None  # (B, 2), the pictures' two styles; None for styles 0 and 1
    frame: Frame  # where the picture lies in it

    def part(self, cells: Frame) -> Self:
        """A rectangle of the feature grid; the frame is the caller's to keep."""
        return self._replace(
            first=cells.cut(self.first),
            second=cells.cut(self.second),
            region=cells.finer(STRIDE).cut(self.region),
        )
