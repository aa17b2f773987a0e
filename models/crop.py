"""Crop boxes: where a picture, or a part of it, lies in a padded picture."""

from typing import NamedTuple, Self

from torch import Tensor
from torch.nn import functional as F

STRIDE = 4  # of the features, pixels
HALO = 2  # feature cells on each side of a cell that the encoder, a block and the decoder read
MAX_REFLECTED = 12  # pixels in one reflection: a side of 16 allows 15, 3 of them fill the stride


class CropBox(NamedTuple):
    """A rectangle of a padded picture, pixels; `top` and `left` are multiples of STRIDE."""

    height: int
    width: int
    top: int = 0
    left: int = 0

    def shrink(self, pixels: int) -> Self:
        """Return the box without its outer `pixels`.

        Raises ValueError unless `pixels` is a multiple of STRIDE that leaves something.
        """
        if pixels % STRIDE or not 0 <= 2 * pixels < min(self.height, self.width):
            raise ValueError(f"context of {pixels} px: must be a multiple of {STRIDE} that fits")
        height, width = self.height - 2 * pixels, self.width - 2 * pixels
        return type(self)(height, width, self.top + pixels, self.left + pixels)

    def cut(self, x: Tensor) -> Tensor:
        """Crop `(B, C, H, W)` to the box."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def pad_to(self, x: Tensor, height: int, width: int) -> Tensor:
        """Pad the box's content `(B, C, self.height, self.width)` to `height` x `width`.

        The border values are repeated.
        """
        right, bottom = width - self.left - self.width, height - self.top - self.height
        return F.pad(x, (self.left, right, self.top, bottom), mode="replicate")

    def cells(self) -> "CropBox":
        """Return the box on the feature grid: pixels to cells."""
        # Not -(-h // STRIDE): an exported graph rounds a division towards zero.
        height, width = ((side + STRIDE - 1) // STRIDE for side in (self.height, self.width))
        return CropBox(height, width, self.top // STRIDE, self.left // STRIDE)

    def pixels(self) -> "CropBox":
        """Return a box of the feature grid in pixels: the inverse of `cells`."""
        return CropBox(*[STRIDE * value for value in self])

    def decoder_region(self, height: int, width: int) -> tuple["CropBox", "CropBox"]:
        """Return what the decoder needs for this box, on a feature grid of `height` x `width`.

        Returns the cells to decode, HALO more on each side where the grid has them, and where this
        box lies in the decoded picture.
        """
        own = self.cells()
        top, left = max(own.top - HALO, 0), max(own.left - HALO, 0)
        bottom = min(own.top + own.height + HALO, height)
        right = min(own.left + own.width + HALO, width)
        inner = CropBox(self.height, self.width, self.top - STRIDE * top, self.left - STRIDE * left)
        return CropBox(bottom - top, right - left, top, left), inner


def pad(content: Tensor, margin: int) -> tuple[Tensor, CropBox]:
    """Reflect `margin` pixels around `(B, C, H, W)`, and pad to multiples of STRIDE.

    Returns the padded picture and where the content lies in it.
    """
    height, width = content.shape[-2:]
    inner = min(margin, MAX_REFLECTED)
    sides = (inner, inner + -width % STRIDE, inner, inner + -height % STRIDE)
    padded = F.pad(content, sides, mode="reflect")
    if margin > inner:
        padded = F.pad(padded, (margin - inner,) * 4, mode="reflect")
    return padded, CropBox(height, width, margin, margin)
