"""Large pictures in bounded memory: strips that share the norms' statistics of the whole.

The result is that of the whole picture but for rounding: features are kept in float16. Every
convolution but the last of a norm's way is reckoned again for the next norm; that is the price.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duostyle.models.context import HALO, STRIDE, Frame, Seen
from duostyle.models.layers import norm_affine

STRIP = 64  # feature rows at a time

Affine = tuple[Tensor, Tensor]  # scale and shift, (B, C, 1, 1) each


class Strip(NamedTuple):
    """Some feature rows."""

    look: slice  # rows to look at
    own: slice  # the strip's own, among these
    place: slice  # the strip's own, among all


def strips(height: int, size: int | None = None) -> Iterator[Strip]:
    """Every row once, in strips of `size` rows (None: STRIP) with HALO more on either side."""
    for start in range(0, height, size or STRIP):
        top, end = max(start - HALO, 0), min(start + (size or STRIP), height)
        look = slice(top, min(end + HALO, height))
        yield Strip(look, slice(start - top, end - top), slice(start, end))


class Moments:
    """Mean and variance over the places of all strips, in float64."""

    def __init__(self) -> None:
        self.count, self.sum, self.squares = 0, 0.0, 0.0
        self.device = torch.device("cpu")

    def add(self, part: Tensor) -> None:
        """A strip's own rows, `(B, C, h, w)`."""
        part, self.device = part.float(), part.device
        self.count += part.shape[2] * part.shape[3]
        self.sum = self.sum + self._add_up(part)
        self.squares = self.squares + self._add_up(part.square())

    @staticmethod
    def _add_up(part: Tensor) -> Tensor:
        """Sum over the places, `(B, C, 1, 1)`, float64 (on the CPU where the device has none)."""
        if part.device.type == "mps":
            return part.sum(dim=3, keepdim=True).cpu().double().sum(dim=2, keepdim=True)
        return part.sum(dim=(2, 3), keepdim=True, dtype=torch.float64)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, `(B, C, 1, 1)` each, float32."""
        mean = self.sum / self.count
        variance = (self.squares / self.count - mean.square()).clamp_min(0)
        return mean.float().to(self.device), variance.float().to(self.device)

    def affine(self, gamma: Tensor, beta: Tensor) -> Affine:
        """What the norm does to `x`: `scale * x + shift`."""
        return norm_affine(*self.statistics(), gamma, beta)


def encode(encoder: nn.Sequential, picture: Tensor) -> Tensor:
    """Return the encoder's features of `(B, 3, H, W)`, `(B, C, H/4, W/4)`, float16."""
    batch, _, height, width = picture.shape
    channels, height, width = encoder[-2].out_channels, height // STRIDE, width // STRIDE
    features = picture.new_empty(batch, channels, height, width, dtype=torch.half)
    for look, own, place in strips(height):
        rows = slice(STRIDE * look.start, STRIDE * look.stop)
        features[..., place, :] = encoder(picture[..., rows, :])[..., own, :]
    return features


def residual(x: Tensor, steps: Sequence[tuple[nn.Conv2d, Tensor, Tensor]]) -> Tensor:
    """A residual block on features `(B, C, h, w)`, by its `steps`: convolution, gamma, beta."""
    (first, gamma1, beta1), (second, gamma2, beta2) = steps
    moments = Moments()
    for look, own, _ in strips(x.shape[-2]):
        moments.add(first(x[..., look, :].float())[..., own, :])
    scale, shift = moments.affine(gamma1, beta1)
    moments, y = Moments(), torch.empty_like(x)
    for look, own, place in strips(x.shape[-2]):
        part = F.relu(torch.addcmul(shift, first(x[..., look, :].float()), scale))
        part = second(part)[..., own, :]
        moments.add(part)
        y[..., place, :] = part
    scale, shift = moments.affine(gamma2, beta2)
    for _, _, place in strips(x.shape[-2]):
        rows = y[..., place, :]
        rows.copy_(x[..., place, :].float() + torch.addcmul(shift, rows.float(), scale))
    return y


def decode(paint: Callable[..., Tensor], norms: int, seen: Seen, mask: Tensor, rows: int) -> Tensor:
    """Decode features and style 1's region by `paint`, so many feature rows at a time.

    `paint`: takes features, region, statistics of the norms so far and the number of the norm
    whose input is wanted; `norms`: how many there are. One pass over the strips for each norm, and
    one that paints.
    """
    height, width = seen.first.shape[-2:]
    known: list[tuple[Tensor, Tensor]] = []
    painted: list[Tensor] = []
    for norm in range(norms + 1):
        moments = Moments()
        for look, own, _ in strips(height, rows):
            part = Frame(look.stop - look.start, width, look.start)
            region = part.finer(STRIDE).cut(mask)
            until = norm if norm < norms else None
            strip = paint(seen.part(part), region, known, until)
            step = strip.shape[-2] // part.height
            strip = strip[..., step * own.start : step * own.stop, :]
            if until is None:
                painted.append(strip)
            else:
                moments.add(strip)
        if norm < norms:
            known.append(moments.statistics())
    return torch.cat(painted, dim=2)
