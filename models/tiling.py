"""Tiling: large pictures in strips, in bounded memory, with instance norm over the whole picture.

A network's layers call `apply(function, *inputs)`. `Whole` calls the function once. `Strips` calls
it strip by strip, joins the results, and returns their mean and variance, which the next instance
norm takes instead of its own input's. The picture is the same but for rounding. Crop boxes
say where a picture, or a part of it, lies in a padded one.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 4  # of the features, pixels
HALO = 2  # feature cells on each side of a cell that a step of a branch or the decoder reads
MAX_REFLECTED = 12  # pixels in one reflection: a side of 16 allows 15, 3 of them fill the stride
STRIP_PIXELS = 1_000_000  # of the picture, in one strip
BRANCH_PIXELS = 1_500_000  # larger pictures pass the style branches in strips
DECODED_PIXELS = 4_000_000  # larger pictures are decoded in strips
WHOLE_PIXELS = 12_500_000  # larger pictures: no layer runs whole, features are kept in float16
Moments = tuple[Tensor, Tensor]  # mean and variance, (B, C, 1, 1) each, float32


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
        # Not -(-h // STRIDE): an exported graph rounds a division toward zero.
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


def to_stride(side: int) -> int:
    """Return how many pixels are missing to a multiple of STRIDE."""
    # Not -side % STRIDE: with a product, an exported graph shows that the sum is a multiple.
    return STRIDE * ((side + STRIDE - 1) // STRIDE) - side


def pad(content: Tensor, margin: int) -> tuple[Tensor, CropBox]:
    """Reflect `margin` pixels around `(B, C, H, W)`, and pad to multiples of STRIDE.

    Returns the padded picture and where the content lies in it.
    """
    height, width = content.shape[-2:]
    inner = min(margin, MAX_REFLECTED)
    sides = (inner, inner + to_stride(width), inner, inner + to_stride(height))
    padded = F.pad(content, sides, mode="reflect")
    if margin > inner:
        padded = F.pad(padded, (margin - inner,) * 4, mode="reflect")
    return padded, CropBox(height, width, margin, margin)


class Apply(Protocol):
    """How a function of pictures and features is applied: whole, or in strips."""

    def __call__(
        self, function: Callable[..., Tensor], *inputs: Tensor
    ) -> tuple[Tensor, Moments | None]:
        """Return the result and its moments, or None where a norm computes its own."""

    def moments(self, function: Callable[..., Tensor], *inputs: Tensor) -> Moments | None:
        """Return the moments alone; the result, too large to keep, is computed again later."""


class Whole:
    """Apply a function to whole inputs; a norm computes its own statistics."""

    def __call__(
        self, function: Callable[..., Tensor], *inputs: Tensor
    ) -> tuple[Tensor, Moments | None]:
        return function(*inputs), None

    def moments(self, function: Callable[..., Tensor], *inputs: Tensor) -> Moments | None:
        return None


WHOLE = Whole()


class Strips:
    """Apply a function in strips of some feature rows, with HALO rows more on each side.

    `cells`: feature rows of the picture; `rows`: of a strip; `half`: keep features in float16
    between two functions (computation stays in float32, or as autocast says).
    """

    def __init__(self, cells: int, rows: int, half: bool = False) -> None:
        self.cells, self.rows, self.half = cells, rows, half

    def __call__(
        self, function: Callable[..., Tensor], *inputs: Tensor
    ) -> tuple[Tensor, Moments | None]:
        """Return the result `(B, C, H, W)`, and its mean and variance.

        `function`: reads at most HALO cells on each side of a cell; `inputs`: `(B, C, H, W)` with
        `H` a multiple of `cells`.
        """
        output: Tensor | None = None
        sums = Sums()
        for top, part in self._parts(function, inputs):
            sums.add(part)
            if output is None:
                step = part.shape[2] // min(self.rows, self.cells)
                shape = (*part.shape[:2], step * self.cells, part.shape[3])
                output = part.new_empty(shape, dtype=self._dtype(part))
            output[:, :, step * top : step * top + part.shape[2]] = part
        assert output is not None  # there is at least one strip
        return output, sums.moments()

    def moments(self, function: Callable[..., Tensor], *inputs: Tensor) -> Moments | None:
        """Return mean and variance of the result; arguments as above."""
        sums = Sums()
        for _, part in self._parts(function, inputs):
            sums.add(part)
        return sums.moments()

    def _parts(
        self, function: Callable[..., Tensor], inputs: Sequence[Tensor]
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the first cell and the result of every strip, without its neighbors."""
        for top in range(0, self.cells, self.rows):
            bottom = min(top + self.rows, self.cells)
            start, stop = max(top - HALO, 0), min(bottom + HALO, self.cells)
            part = function(*[self._rows(x, start, stop) for x in inputs])
            step = part.shape[2] // (stop - start)
            yield top, part[:, :, step * (top - start) : step * (bottom - start)]

    def _rows(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Return feature rows `start` to `stop` of an input of any resolution."""
        step = x.shape[2] // self.cells
        x = x[:, :, step * start : step * stop]
        return x.float() if self.half and x.dtype == torch.half else x

    def _dtype(self, part: Tensor) -> torch.dtype:
        """Return the type that a result is kept in; pictures and masks keep their own."""
        return torch.half if self.half and part.shape[1] > 3 else part.dtype


class Sums:
    """Sums for the mean and variance of a tensor that is seen part by part, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total = self.squares = torch.zeros((), dtype=torch.float64)
        self.device = torch.device("cpu")

    def add(self, part: Tensor) -> None:
        """Add some rows, `(B, C, h, W)`."""
        part = part.float()
        self.count += part.shape[2] * part.shape[3]
        self.total = _sum(part) + self.total
        self.squares = _sum(part.square()) + self.squares
        self.device = part.device

    def moments(self) -> Moments:
        """Return mean and variance of all rows so far, `(B, C, 1, 1)` each, float32."""
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp_min(0)
        return mean.float().to(self.device), variance.float().to(self.device)


def choose_tiling(network: nn.Module, height: int, width: int, limit: int) -> Apply:
    """Choose how layers are applied to a picture of `height` x `width` feature cells.

    `limit`: pixels up to which a picture is processed whole. Training and export always are.
    """
    pixels = STRIDE * STRIDE * height * width
    if torch.compiler.is_exporting() or pixels <= limit or _learns(network):
        return WHOLE
    rows = max(STRIP_PIXELS // (STRIDE * STRIDE * width), 4 * HALO)
    return Strips(height, rows, half=pixels > WHOLE_PIXELS)


def _learns(network: nn.Module) -> bool:
    return torch.is_grad_enabled() and any(p.requires_grad for p in network.parameters())


def _sum(x: Tensor) -> Tensor:
    """Sum over height and width, `(B, C, 1, 1)`, float64 (on the CPU for MPS, which has none)."""
    if x.device.type == "mps":
        return x.sum(dim=3, keepdim=True).cpu().double().sum(dim=2, keepdim=True)
    return x.sum(dim=(2, 3), keepdim=True, dtype=torch.float64)
