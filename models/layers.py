"""Building blocks of the painter: padded convolutions and norms that know the style."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Moments = tuple[Tensor, Tensor]  # mean and variance, (B, C, 1, 1) each, float32


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

    `x`: `(B, C, H, W)`; `gamma`, `beta`: `(B or 1, C, H or 1, W or 1)`. The statistics are float32
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
        scaled, turned = gradient * gamma, gradient * normal
        to_shift = scaled.mean(dim=(2, 3), keepdim=True)
        to_scale = (scaled * normal).mean(dim=(2, 3), keepdim=True)
        # A change of the mean or the spread alone has no effect.
        to_x = (scaled - to_shift - normal * to_scale) * inverse
        to_gamma, to_beta = (g.sum_to_size(gamma.shape) for g in (turned, gradient))
        return to_x.to(x.dtype), to_gamma, to_beta, None


def norm_affine(
    mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Scale and shift that norm and style do together, float32, of the arguments' shape."""
    scale = gamma.float() * torch.rsqrt(variance + eps)
    return scale, beta.float() - mean * scale


def statistics(x: Tensor) -> Moments:
    """Return mean and variance of `(B, C, H, W)` over the places, `(B, C, 1, 1)`, float32.

    Two sweeps: torch.var_mean takes 15 times as long on CPUs, and overflows exported in fp16.
    """
    wide = x.float()
    mean = wide.mean(dim=(2, 3), keepdim=True)
    return mean, (wide - mean).square_().mean(dim=(2, 3), keepdim=True)


def _normalize(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """What instance norm makes of `(B, C, H, W)`, and its mean and variance."""
    mean, variance = statistics(x)
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


class ConditionalNorm(nn.Module):
    """Conditional instance norm (Dumoulin et al. 2017): a row of scale and shift for every style.

    Two styles of a picture are mixed per place: with `weight`, the share of the first one,
    `gamma(p) = weight(p) * gamma1 + (1 - weight(p)) * gamma2`, likewise beta.
    """

    def __init__(self, channels: int, styles: int = 2) -> None:
        super().__init__()
        # Different from the start, otherwise all styles learn one palette.
        self.scale = nn.Parameter(1 + 0.1 * torch.randn(styles, channels, 1, 1))
        self.shift = nn.Parameter(0.1 * torch.randn(styles, channels, 1, 1))

    def forward(
        self,
        x: Tensor,
        weight: Tensor,
        rows: Tensor | None = None,
        moments: Moments | None = None,
    ) -> Tensor:
        """Normalize `(B, C, H, W)`, scale and shift.

        `weight`: share of the first style in [0, 1], `(B, 1, H or 1, W or 1)`; `rows`: the two
        styles of each picture, `(B, 2)` int64, None for styles 0 and 1; `moments`: mean and
        variance to take instead of the input's own.
        """
        if moments is None and torch.is_grad_enabled():
            return instance_norm(x, *self.mixed(weight, rows))
        mean, variance = moments or statistics(x)
        styles = zip(_two(self.scale, rows), _two(self.shift, rows), strict=True)
        first, second = (norm_affine(mean, variance, *style) for style in styles)
        scale, shift = (
            torch.lerp(two, one, weight.float()) for one, two in zip(first, second, strict=True)
        )
        return torch.addcmul(shift, x, scale).to(x.dtype)

    def mixed(self, weight: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return gamma and beta per place, `(B, C, H or 1, W or 1)` each, float32."""
        first, second = _two(self.scale.float(), rows)
        scale = torch.lerp(second, first, weight.float())
        first, second = _two(self.shift.float(), rows)
        return scale, torch.lerp(second, first, weight.float())


def _two(table: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
    """Two rows of a table `(styles, C, 1, 1)`, `(1 or B, C, 1, 1)` each."""
    if rows is None:
        return table[0:1], table[1:2]
    return table[rows[:, 0]], table[rows[:, 1]]


class StyledResidual(nn.Module):
    """A residual block with conditional instance norm."""

    def __init__(self, channels: int, styles: int = 2) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.style1 = ConditionalNorm(channels, styles)
        self.conv2 = conv(channels, channels, 3)
        self.style2 = ConditionalNorm(channels, styles)

    def forward(self, x: Tensor, weight: Tensor, rows: Tensor | None = None) -> Tensor:
        """`weight`: share of the first style, `(B, 1, 1, 1)`; `rows`: as in `ConditionalNorm`."""
        y = F.relu(self.style1(self.conv1(x), weight, rows))
        return x + self.style2(self.conv2(y), weight, rows)

    def steps(
        self, weight: Tensor, rows: Tensor | None = None
    ) -> list[tuple[nn.Conv2d, Tensor, Tensor]]:
        """Convolution, gamma and beta, twice."""
        return [
            (self.conv1, *self.style1.mixed(weight, rows)),
            (self.conv2, *self.style2.mixed(weight, rows)),
        ]


class StyledUpsample(nn.Module):
    """Nearest 2x upsampling, 3x3 convolution, conditional instance norm per place, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, styles: int = 2) -> None:
        super().__init__()
        self.conv = DoublingConv(in_channels, out_channels)
        self.style = ConditionalNorm(out_channels, styles)

    def convolve(self, x: Tensor) -> Tensor:
        """`(B, C, h, w)` to `(B, C', 2h, 2w)`, before the norm."""
        return self.conv(x)

    def finish(
        self, x: Tensor, weight: Tensor, rows: Tensor | None, moments: Moments | None = None
    ) -> Tensor:
        """Norm and activation; arguments as of `ConditionalNorm`."""
        return F.relu(self.style(x, weight, rows, moments))


class StyledOutput(nn.Module):
    """The last convolution, conditional instance norm per place, sigmoid.

    The norm sets each style's palette and contrast, whatever the photograph's.
    """

    def __init__(self, in_channels: int, styles: int = 2) -> None:
        super().__init__()
        self.conv = conv(in_channels, 3, 9)
        self.style = ConditionalNorm(3, styles)

    def convolve(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, 3, H, W)`, before the norm."""
        return self.conv(x)

    def finish(
        self, x: Tensor, weight: Tensor, rows: Tensor | None, moments: Moments | None = None
    ) -> Tensor:
        """Norm and activation; arguments as of `ConditionalNorm`."""
        return torch.sigmoid(self.style(x.float(), weight, rows, moments))
