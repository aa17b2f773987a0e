"""Building blocks of the painter: padded convolutions and norms that know the style."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution with reflect padding, so that borders carry no dark frame."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding=kernel // 2,
        padding_mode="reflect",
    )


def normalize(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Instance normalisation without affine (Ulyanov et al. 2016), `(B, C, H, W)` to the same.

    The statistics are float32 whatever the input's precision: sums over a 4K picture overflow
    or drown in half precision.
    """
    variance, mean = torch.var_mean(x.float(), dim=(2, 3), keepdim=True, correction=0)
    scale = torch.rsqrt(variance + eps)
    return (x * scale + -mean * scale).to(x.dtype)


class StyleAffine(nn.Module):
    """Scale and shift of two styles, mixed at every place.

    `weight` is the share of the first style in [0, 1], `(B, 1, h, w)` with `h, w` the feature's
    size or 1: `gamma(p) = weight(p) * gamma1 + (1 - weight(p)) * gamma2`, likewise beta.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # A little apart from the start, otherwise both styles learn one palette.
        self.scale = nn.Parameter(1 + 0.1 * torch.randn(2, channels))
        self.shift = nn.Parameter(0.1 * torch.randn(2, channels))

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        scale = torch.lerp(*self._both(self.scale), weight)
        shift = torch.lerp(*self._both(self.shift), weight)
        return torch.addcmul(shift, x, scale).to(x.dtype)

    @staticmethod
    def _both(rows: Tensor) -> tuple[Tensor, Tensor]:
        """Second and first style's row as `(1, C, 1, 1)`: lerp's start and end."""
        first, second = rows.float()[:, None, :, None, None]
        return second, first


class Affine(nn.Module):
    """Scale and shift that know no style, after `normalize` in the encoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale).to(x.dtype)


class ConvNorm(nn.Module):
    """Convolution, instance norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = conv(in_channels, out_channels, kernel, stride)
        self.affine = Affine(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.affine(normalize(self.conv(x))))


class Residual(nn.Module):
    """Two 3x3 convolutions with instance norm around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, 3)
        self.conv = conv(channels, channels, 3)
        self.affine = Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.affine(normalize(self.conv(self.first(x))))


class StyledResidual(nn.Module):
    """A residual block whose norms are conditional (Dumoulin et al. 2017): they know the style."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.style1 = StyleAffine(channels)
        self.conv2 = conv(channels, channels, 3)
        self.style2 = StyleAffine(channels)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        y = F.relu(self.style1(normalize(self.conv1(x)), weight))
        return x + self.style2(normalize(self.conv2(y)), weight)


class StyledUpsample(nn.Module):
    """Nearest 2x, convolution, the place's own scale and shift, ReLU.

    There is no norm here on purpose: without statistics over the picture, a place is decoded
    in the blended picture just as in its branch image, and only the seam is left to be painted.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv(in_channels, out_channels, 3)
        self.style = StyleAffine(out_channels)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        x = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return F.relu(self.style(x, weight))
