"""The last layer: enlarge the painted picture by a Kuwahara filter, into closed dabs of paint."""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duostyle.models.layers import resize_half_pixel

SECTORS = 8  # of the disk around a pixel
OFFSET = 1.0  # by which a sector reaches beyond the center, pixels
FALLOFF = 2.0  # of the Gaussian over the disk: exp(-FALLOFF) at its rim
FLAT = 0.014  # standard deviation below which sectors count as equally even
STRIP_PIXELS = 1_000_000  # of the enlarged picture; larger pictures are computed in strips


class KuwaharaUpsample(nn.Module):
    """Enlarge a picture by the generalized Kuwahara filter (Papari et al. 2007).

    Each pixel gets the mean color of the most even of eight sectors around it: flat dabs with sharp
    edges, however much the picture is enlarged. Means and variances are computed at the small size
    and interpolated; the choice between sectors is made at the full size.

    `radius`: of the disk, pixels of the small picture; `enlarges`: False if the picture already has
    its full size, and is filtered only. Without learned weights.
    """

    def __init__(self, radius: int, enlarges: bool = True) -> None:
        super().__init__()
        self.radius, self.enlarges = radius, enlarges
        self.pad: nn.Module = nn.ReflectionPad2d(radius)

    def forward(self, picture: Tensor, height: int, width: int) -> Tensor:
        """Return `(B, 3, height, width)` for a picture `(B, 3, h, w)` in [0, 1].

        `h` and `w` must be greater than the radius. Computed in float32.
        """
        with _without_autocast(picture.device.type):
            # Centered at 0: the variance is a difference of squares.
            padded = self.pad(picture.float() - 0.5)
            pixels = height * width
            if torch.compiler.is_exporting() or picture.requires_grad or pixels <= STRIP_PIXELS:
                return _choose(self._resized(self._moments(padded), [height, width]))
            strips, rows = [], max(STRIP_PIXELS // width, 1)
            for top in range(0, height, rows):
                if not self.enlarges:
                    strips.append(
                        _choose(self._moments(padded[:, :, top : top + rows + 2 * self.radius]))
                    )
                    continue
                first, second, weight = _source_rows(
                    torch.arange(top, min(top + rows, height)), picture.shape[2], height
                )
                start, stop = int(first[0]), int(second[-1]) + 1
                weight = weight.to(padded)[:, None]
                moments = [
                    torch.lerp(x[:, :, first - start], x[:, :, second - start], weight)
                    for x in self._moments(padded[:, :, start : stop + 2 * self.radius])
                ]
                strips.append(_choose(self._resized(moments, [moments[0].shape[2], width])))
            return torch.cat(strips, dim=2)

    def _resized(self, moments: list[Tensor], size: list[int]) -> list[Tensor]:
        return [resize_half_pixel(x, size) for x in moments] if self.enlarges else moments

    def _moments(self, padded: Tensor) -> list[Tensor]:
        """Return the mean of R, G, B and R^2 + G^2 + B^2 in each sector, `(B, SECTORS, h, w)` each.

        `padded`: colors minus 0.5, with `radius` pixels more on each side.
        """
        weights = sector_weights(self.radius).to(padded)[:, None]
        planes = [padded[:, c : c + 1] for c in range(3)]
        planes.append(padded.square().sum(dim=1, keepdim=True))
        return [F.conv2d(plane, weights) for plane in planes]


def _without_autocast(device: str) -> AbstractContextManager[None]:
    """Return a context without mixed precision; devices such as meta have none anyway."""
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else nullcontext()


def _source_rows(rows: Tensor, small: int, large: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return which two rows of `small` each of `large` rows lies between, and the second's weight.

    As in bilinear interpolation with pixel centers at half-integers.
    """
    position = ((rows.double() + 0.5) * (small / large) - 0.5).clamp_min(0)
    first = position.long()
    return first, (first + 1).clamp_max(small - 1), position - first


def _choose(moments: list[Tensor]) -> Tensor:
    """Average the sectors' colors, the most even ones above all.

    `moments`: from `_moments`, at full size. Returns `(B, 3, H, W)` in [0, 1].
    """
    *means, squares = moments
    red, green, blue = means
    variance = squares - red.square() - green.square() - blue.square()
    variance = variance.clamp_min(0.0) + FLAT**2
    # Relative to the most even sector: in float16 all weights might vanish.
    weight = (variance.amin(dim=1, keepdim=True) / variance).square().square()
    weight = weight / weight.sum(dim=1, keepdim=True)
    return torch.cat([(mean * weight).sum(dim=1, keepdim=True) for mean in means], dim=1) + 0.5


def sector_weights(radius: int) -> Tensor:
    """Return the weights of each sector, `(SECTORS, 2r + 1, 2r + 1)`; each sums to 1.

    Polynomials in place of blurred sectors (Kyprianidis et al. 2010), times a Gaussian.
    """
    position = torch.arange(-radius, radius + 1) / (radius + 0.5)
    y, x = torch.meshgrid(position, position, indexing="ij")
    distance = x.square() + y.square()
    angle = math.pi / SECTORS
    offset = OFFSET / radius
    width = (offset + math.cos(angle)) / math.sin(angle) ** 2
    sectors = []
    for number in range(SECTORS):
        turn = 2 * angle * number
        along = x * math.cos(turn) + y * math.sin(turn)
        across = y * math.cos(turn) - x * math.sin(turn)
        sectors.append((along + offset - width * across.square()).clamp_min(0).square())
    weights = torch.stack(sectors)
    weights = weights / weights.sum(dim=0).clamp_min(1e-9)
    weights = weights * torch.exp(-FALLOFF * distance) * (distance <= 1)
    return weights / weights.sum(dim=(1, 2), keepdim=True)
