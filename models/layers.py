"""Building blocks of the painter: padded convolutions and norms that know the style."""

from typing import Any

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


def instance_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Instance normalisation (Ulyanov et al. 2016) with its scale and shift in one sweep.

    `x`: `(B, C, H, W)`; `gamma`, `beta`: `(B or 1, C, 1, 1)`. The statistics are float32
    whatever the input's precision: sums over a 4K picture drown or overflow in half precision.
    """
    if torch.is_grad_enabled():
        return InstanceNorm.apply(x, gamma.float(), beta.float(), eps)
    return _normalize(x, gamma, beta, eps)[0]


class InstanceNorm(torch.autograd.Function):
    """The same with a gradient of its own, in half of autograd's time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        stylized, mean, variance = _normalize(x, gamma, beta, eps)
        ctx.save_for_backward(x, mean, torch.rsqrt(variance + eps), gamma)
        return stylized

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, mean, inverse, gamma = ctx.saved_tensors
        gradient, normal = gradient.float(), (x.float() - mean) * inverse
        to_shift = gradient.mean(dim=(2, 3), keepdim=True)
        to_scale = (gradient * normal).mean(dim=(2, 3), keepdim=True)
        # What moves the mean or the spread comes to nothing.
        to_x = (gradient - to_shift - normal * to_scale) * (gamma * inverse)
        places = x.shape[2] * x.shape[3]
        to_gamma, to_beta = ((g * places).sum_to_size(gamma.shape) for g in (to_scale, to_shift))
        return to_x.to(x.dtype), to_gamma, to_beta, None


def norm_affine(
    mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Scale and shift that norm and style do together, float32, of the arguments' shape."""
    scale = gamma.float() * torch.rsqrt(variance + eps)
    return scale, beta.float() - mean * scale


def _normalize(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """What instance norm makes of `(B, C, H, W)`, and mean and variance over the places, float32.

    Two sweeps: torch.var_mean takes 15 times as long on CPUs, and overflows exported in fp16.
    Nothing is kept for a gradient.
    """
    wide = x.float()
    mean = wide.mean(dim=(2, 3), keepdim=True)
    variance = (wide - mean).square_().mean(dim=(2, 3), keepdim=True)
    scale, shift = norm_affine(mean, variance, gamma, beta, eps)
    return torch.addcmul(shift, x, scale).to(x.dtype), mean, variance


class DoublingConv(nn.Conv2d):
    """Nearest 2x and a reflect-padded 3x3 convolution, `(B, C, h, w)` to `(B, C', 2h, 2w)`.

    Two of three taps fall into one cell: added up beforehand they make one 2x2 convolution for
    four places, at four ninths of the multiplications.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.weight.unbind(2)
        rows = torch.stack([torch.stack([a + b, c], 2), torch.stack([a, b + c], 2)], 1)
        a, b, c = rows.unbind(-1)
        taps = torch.stack([torch.stack([a + b, c], -1), torch.stack([a, b + c], -1)], 2)
        places = F.conv2d(
            F.pad(x, (1, 1, 1, 1), mode="replicate"),
            taps.flatten(0, 2),  # of a channel's odd rows and columns, then of its even ones
            self.bias.repeat_interleave(4),
        )
        return F.pixel_shuffle(places, 2)[..., 1:-1, 1:-1]


class StyleAffine(nn.Module):
    """Scale and shift of two styles, mixed at every place.

    `weight` is the share of the first style in [0, 1], `(B, 1, h, w)` with `h, w` the feature's
    size or 1: `gamma(p) = weight(p) * gamma1 + (1 - weight(p)) * gamma2`, likewise beta.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # A little apart from the start, otherwise both styles learn one palette.
        self.scale = nn.Parameter(1 + 0.1 * torch.randn(2, channels, 1, 1))
        self.shift = nn.Parameter(0.1 * torch.randn(2, channels, 1, 1))

    def forward(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Gamma and beta, `(B, C, h, w)` each, float32."""
        first, second = self.scale.float().split(1)
        scale = torch.lerp(second, first, weight.float())
        first, second = self.shift.float().split(1)
        return scale, torch.lerp(second, first, weight.float())


class ConvNorm(nn.Module):
    """Convolution and instance norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = conv(in_channels, out_channels, kernel, stride)
        self.scale = nn.Parameter(torch.ones(1, out_channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(self.conv(x), self.scale, self.shift)


class Residual(nn.Module):
    """Two 3x3 convolutions with instance norm around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, 3)
        self.second = ConvNorm(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))

    def steps(self) -> list[tuple[nn.Conv2d, Tensor, Tensor]]:
        """Convolution, gamma and beta, twice."""
        return [(part.conv, part.scale, part.shift) for part in (self.first, self.second)]


class StyledResidual(nn.Module):
    """A residual block whose norms are conditional (Dumoulin et al. 2017): they know the style."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.style1 = StyleAffine(channels)
        self.conv2 = conv(channels, channels, 3)
        self.style2 = StyleAffine(channels)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """`weight`: share of the first style, `(B, 1, 1, 1)`."""
        y = F.relu(instance_norm(self.conv1(x), *self.style1(weight)))
        return x + instance_norm(self.conv2(y), *self.style2(weight))

    def steps(self, weight: Tensor) -> list[tuple[nn.Conv2d, Tensor, Tensor]]:
        """Convolution, gamma and beta, twice."""
        return [(self.conv1, *self.style1(weight)), (self.conv2, *self.style2(weight))]


class StyledUpsample(nn.Module):
    """Nearest 2x, convolution and a look at the photograph, the place's scale and shift, ReLU.

    There is no norm here on purpose: without statistics over the picture, a place is decoded
    in the blended picture just as in its branch image, and only the seam is left to be painted.
    """

    def __init__(self, in_channels: int, out_channels: int, photo_channels: int = 3) -> None:
        super().__init__()
        self.conv = DoublingConv(in_channels, out_channels)
        # Light, dark and fine detail do not survive norms and a quarter of the size: the
        # photograph itself tells them, from nothing at the start.
        self.photo = conv(photo_channels, out_channels, 3)
        nn.init.zeros_(self.photo.weight)
        self.style = StyleAffine(out_channels)

    def forward(self, x: Tensor, weight: Tensor, photo: Tensor) -> Tensor:
        """`weight`: share of the first style, `(B, 1, 2h, 2w)`; `photo`: `(B, C, 2h, 2w)`."""
        x = self.conv(x) + self.photo(photo)
        gamma, beta = self.style(weight)
        return F.relu(torch.addcmul(beta, x, gamma).to(x.dtype))
