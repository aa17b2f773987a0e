"""Building blocks of the network: convolutions and conditional instance norms."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duostyle.models.tiling import WHOLE, Apply, Moments


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with reflection padding, which leaves no dark border."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding=kernel // 2,
        padding_mode="reflect",
    )


def resize_half_pixel(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize `(B, C, h, w)` to `size` = (H, W) bilinearly; pixel centers lie at half-integers."""
    return F.interpolate(x, list(size), mode="bilinear", align_corners=False)


def instance_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Apply instance normalization (Ulyanov et al. 2016) with scale and shift.

    `x`: `(B, C, H, W)`; `gamma`, `beta`: `(B or 1, C, H or 1, W or 1)`. The statistics are float32
    whatever the input's precision: sums over a 4K picture overflow in half precision.
    """
    if torch.is_grad_enabled():
        normed: Tensor = InstanceNorm.apply(x, gamma.float(), beta.float(), eps)
        return normed
    return _normalize(x, gamma, beta, eps)[0]


class InstanceNorm(torch.autograd.Function):
    """Instance normalization with an explicit gradient, in half of autograd's time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        normed, mean, variance = _normalize(x, gamma, beta, eps)
        ctx.save_for_backward(x, mean, torch.rsqrt(variance + eps), gamma)
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, mean, inverse, gamma = ctx.saved_tensors
        gradient, normal = gradient.float(), (x.float() - mean) * inverse
        scaled, turned = gradient * gamma, gradient * normal
        to_shift = scaled.mean(dim=(2, 3), keepdim=True)
        to_scale = (scaled * normal).mean(dim=(2, 3), keepdim=True)
        # The result does not depend on the input's mean and spread.
        to_x = (scaled - to_shift - normal * to_scale) * inverse
        to_gamma, to_beta = (g.sum_to_size(gamma.shape) for g in (turned, gradient))
        return to_x.to(x.dtype), to_gamma, to_beta, None


def norm_affine(
    mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Return normalization, gamma and beta as one scale and one shift, float32."""
    scale = gamma.float() * torch.rsqrt(variance + eps)
    return scale, beta.float() - mean * scale


def statistics(x: Tensor) -> Moments:
    """Return mean and variance of `(B, C, H, W)` over height and width, `(B, C, 1, 1)`, float32.

    Computed in two passes: torch.var_mean is 15 times as slow on CPUs, and overflows when exported
    in fp16.
    """
    wide = x.float()
    mean = wide.mean(dim=(2, 3), keepdim=True)
    return mean, (wide - mean).square_().mean(dim=(2, 3), keepdim=True)


def _normalize(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalized `(B, C, H, W)`, and its mean and variance before."""
    mean, variance = statistics(x)
    scale, shift = norm_affine(mean, variance, gamma, beta, eps)
    return torch.addcmul(shift, x, scale).to(x.dtype), mean, variance


class DoublingConv(nn.Conv2d):
    """Nearest 2x upsampling and a 3x3 convolution: `(B, C, h, w)` to `(B, C', 2h, 2w)`.

    Two of three taps read the same cell. Summed in advance they make one 2x2 convolution for each
    of four output pixels, with four ninths of the multiplications.
    """

    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.weight.unbind(2)
        rows = torch.stack([torch.stack([a + b, c], 2), torch.stack([a, b + c], 2)], 1)
        a, b, c = rows.unbind(-1)
        taps = torch.stack([torch.stack([a + b, c], -1), torch.stack([a, b + c], -1)], 2)
        places = F.conv2d(
            F.pad(x, (1, 1, 1, 1), mode="replicate"),
            taps.flatten(0, 2),  # for each channel: odd rows and columns first, then even ones
            self.bias.repeat_interleave(4),
        )
        return F.pixel_shuffle(places, 2)[..., 1:-1, 1:-1]


class CellConv(nn.Conv2d):
    """A convolution with reflection padding, computed on cells of 2x2 pixels.

    `(B, C, H, W)` to `(B, C', H, W)`, `H` and `W` even, `kernel` odd. Four times the channels at a
    quarter of the positions: from 4 to 3 channels, 9x9 becomes 5x5 from 16 to 12, which fills
    vector registers. The result is that of the plain convolution, but for rounding.
    """

    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        margin = self.kernel_size[0] // 2
        cells = F.pixel_unshuffle(F.pad(x, (margin,) * 4, mode="reflect"), 2)
        # The kernel of each of a cell's four pixels, in the cells that any of them reads.
        kernels = torch.stack(
            [F.pad(self.weight, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)], dim=1
        )
        out, _, channels, side, _ = kernels.shape
        kernels = kernels.reshape(4 * out, channels, side // 2, 2, side // 2, 2)
        kernels = kernels.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
        return F.pixel_shuffle(F.conv2d(cells, kernels, self.bias.repeat_interleave(4)), 2)


class ConditionalNorm(nn.Module):
    """Conditional instance norm (Dumoulin et al. 2017): one scale and shift per style.

    The two styles of a picture are mixed per pixel, with the weight w of the first one:
    `gamma = w * gamma1 + (1 - w) * gamma2`, and beta likewise.
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
        styles: Tensor | None = None,
        moments: Moments | None = None,
    ) -> Tensor:
        """Normalize, scale and shift `(B, C, H, W)`.

        `weight`: of the first style in [0, 1], `(B, 1, H or 1, W or 1)`; `styles`: indices of each
        picture's two styles, `(B, 2)` int64, None for styles 0 and 1; `moments`: mean and variance
        to use instead of the input's own.
        """
        if moments is None and torch.is_grad_enabled():
            return instance_norm(x, *self.mixed(weight, styles))
        mean, variance = moments or statistics(x)
        tables = zip(_pair(self.scale, styles), _pair(self.shift, styles), strict=True)
        first, second = (norm_affine(mean, variance, gamma, beta) for gamma, beta in tables)
        scale, shift = (
            torch.lerp(two, one, weight.float()) for one, two in zip(first, second, strict=True)
        )
        return torch.addcmul(shift, x, scale).to(x.dtype)

    def mixed(self, weight: Tensor, styles: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return gamma and beta, `(B, C, H or 1, W or 1)` each, float32; arguments as above."""
        first, second = _pair(self.scale.float(), styles)
        scale = torch.lerp(second, first, weight.float())
        first, second = _pair(self.shift.float(), styles)
        return scale, torch.lerp(second, first, weight.float())


def _pair(table: Tensor, styles: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the two styles' entries of `(styles, C, 1, 1)`, `(1 or B, C, 1, 1)` each."""
    if styles is None:
        return table[0:1], table[1:2]
    return table[styles[:, 0]], table[styles[:, 1]]


class StyledResidual(nn.Module):
    """A residual block with conditional instance norm."""

    def __init__(self, channels: int, styles: int = 2) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.style1 = ConditionalNorm(channels, styles)
        self.conv2 = conv(channels, channels, 3)
        self.style2 = ConditionalNorm(channels, styles)

    def forward(
        self, x: Tensor, weight: Tensor, styles: Tensor | None = None, apply: Apply = WHOLE
    ) -> Tensor:
        """Return `(B, C, h, w)` for the same shape.

        `weight`, `styles`: as for `ConditionalNorm`, `weight` `(B, 1, 1, 1)`; `apply`: whole or
        in strips.
        """
        y, m1 = apply(self.conv1, x)
        y, m2 = apply(lambda y: self.conv2(F.relu(self.style1(y, weight, styles, m1))), y)
        return apply(lambda x, y: x + self.style2(y, weight, styles, m2), x, y)[0]


class StyledDownsample(nn.Module):
    """A 3x3 convolution of stride 2; then conditional instance norm and ReLU."""

    def __init__(self, channels: int, styles: int = 2) -> None:
        super().__init__()
        self.conv = conv(channels, channels, 3, 2)
        self.style = ConditionalNorm(channels, styles)

    def finish(
        self, x: Tensor, weight: Tensor, styles: Tensor | None, moments: Moments | None
    ) -> Tensor:
        """Norm and activation of the convolution's output; arguments as for `ConditionalNorm`."""
        return F.relu(self.style(x, weight, styles, moments))


class StyledUpsample(nn.Module):
    """Nearest 2x upsampling and 3x3 convolution; then conditional instance norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, styles: int = 2) -> None:
        super().__init__()
        self.conv = DoublingConv(in_channels, out_channels)
        self.style = ConditionalNorm(out_channels, styles)

    def finish(
        self, x: Tensor, weight: Tensor, styles: Tensor | None, moments: Moments | None
    ) -> Tensor:
        """Norm and activation of the convolution's output; arguments as for `ConditionalNorm`."""
        return F.relu(self.style(x, weight, styles, moments))


class StyledOutput(nn.Module):
    """A 9x9 convolution to RGB; then conditional instance norm and sigmoid.

    The norm sets each style's palette and contrast, whatever the content's.
    """

    def __init__(self, in_channels: int, styles: int = 2) -> None:
        super().__init__()
        self.conv = CellConv(in_channels, 3, 9)
        self.style = ConditionalNorm(3, styles)

    def finish(
        self, x: Tensor, weight: Tensor, styles: Tensor | None, moments: Moments | None
    ) -> Tensor:
        """Norm of the convolution's output, float32; arguments as for `ConditionalNorm`."""
        return self.style(x.float(), weight, styles, moments)


class StyleBranch(nn.Module):
    """A style branch: the image-transformation network of Dumoulin et al. 2017 after its first
    convolution. Conditional instance norm follows every convolution.

    `channels`: of the first convolution and the residual blocks; `width`: of the decoder at full
    resolution, twice at half.
    """

    def __init__(self, channels: int, blocks: int, width: int, styles: int = 2) -> None:
        super().__init__()
        c, w = channels, width
        self.style = ConditionalNorm(c, styles)
        self.downs = nn.ModuleList(StyledDownsample(c, styles) for _ in range(2))
        self.blocks = nn.ModuleList(StyledResidual(c, styles) for _ in range(blocks))
        self.ups = nn.ModuleList(
            [StyledUpsample(c, 2 * w, styles), StyledUpsample(2 * w, w, styles)]
        )
        self.to_rgb = StyledOutput(w, styles)

    def transform(
        self,
        x: Tensor,
        stem: Callable[[Tensor], Tensor],
        weight: Tensor,
        styles: Tensor | None = None,
        apply: Apply = WHOLE,
    ) -> Tensor:
        """Return features `(B, channels, H/4, W/4)` after the residual blocks.

        `stem`: maps `x`, `(B, ..., H, W)`, to the first convolution's output; `weight`, `styles`,
        `apply`: as for `StyledResidual`. Every step ends before a norm, which takes the moments of
        the step's result if that was computed in strips.
        """
        down1, down2 = cast(list[StyledDownsample], self.downs)
        m0 = apply.moments(stem, x)
        x, m1 = apply(lambda x: down1.conv(F.relu(self.style(stem(x), weight, styles, m0))), x)
        x, m2 = apply(lambda x: down2.conv(down1.finish(x, weight, styles, m1)), x)
        x, _ = apply(lambda x: down2.finish(x, weight, styles, m2), x)
        for block in self.blocks:
            x = block(x, weight, styles, apply)
        return x

    def decode(
        self, x: Tensor, weight: Tensor, styles: Tensor | None = None, apply: Apply = WHOLE
    ) -> Tensor:
        """Return the picture before the sigmoid, `(B, 3, H, W)`; arguments as for `transform`."""
        up1, up2 = cast(list[StyledUpsample], self.ups)
        rgb = self.to_rgb

        def to_full(x: Tensor) -> Tensor:
            return up2.conv(up1.finish(x, weight, styles, m1))

        def to_logits(x: Tensor) -> Tensor:
            # Features at full resolution are too large to keep: they are computed again.
            return rgb.conv(up2.finish(to_full(x), weight, styles, m2))

        x, m1 = apply(up1.conv, x)
        m2 = apply.moments(to_full, x)
        x, m3 = apply(to_logits, x)
        return apply(lambda x: rgb.finish(x, weight, styles, m3), x)[0]
