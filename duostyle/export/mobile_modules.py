"""A pair as two modules that the converters for phones take: mask and painter, of a fixed size.

They hold no reflection padding, which the accelerators of the phones' runtimes lack: pictures and
features are reflected by slices and concatenation. Everything else is computed by the network's
own layers.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from duostyle.models import StyleNetwork, apply_strength, strength_map
from duostyle.models.kuwahara import KuwaharaUpsample
from duostyle.models.layers import CellConv, DoublingConv, resize_half_pixel
from duostyle.models.network import merge, other_style_weight
from duostyle.models.tiling import MAX_REFLECTED, STRIDE, CropBox

STEP = 16  # sides are multiples of it: the reduced picture's are then multiples of STRIDE


class SlicedReflection(nn.Module):
    """Reflection padding by slices and concatenation."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, C, H + 2 * pixels, W + 2 * pixels)`."""
        for dim in (2, 3):
            side, count = x.shape[dim], self.pixels
            before = [x.narrow(dim, place, 1) for place in range(count, 0, -1)]
            after = [x.narrow(dim, place, 1) for place in range(side - 2, side - 2 - count, -1)]
            x = torch.cat([*before, x, *after], dim)
        return x


class PlainDoubling(nn.Sequential):
    """`DoublingConv` as nearest upsampling and a convolution."""

    def __init__(self, layer: DoublingConv) -> None:
        convolution = nn.Conv2d(layer.in_channels, layer.out_channels, 3)
        convolution.load_state_dict(layer.state_dict())
        super().__init__(nn.UpsamplingNearest2d(scale_factor=2), SlicedReflection(1), convolution)


def _plain(layer: CellConv) -> nn.Module:
    """Return a `CellConv` as reflection and a convolution."""
    convolution = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size[0])
    convolution.load_state_dict(layer.state_dict())
    return nn.Sequential(SlicedReflection(layer.kernel_size[0] // 2), convolution)


def without_padding_operators(network: StyleNetwork) -> StyleNetwork:
    """Return a copy in which slices and concatenation reflect instead of padding operators."""
    network = copy.deepcopy(network)
    for parameter in network.parameters():
        # litert_torch takes weights in channels-last format for contiguous ones.
        parameter.data = parameter.data.contiguous()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, DoublingConv):
                setattr(module, name, PlainDoubling(child))
            elif isinstance(child, CellConv):
                setattr(module, name, _plain(child))
            elif isinstance(child, nn.Conv2d) and child.padding_mode == "reflect":
                pixels = child.kernel_size[0] // 2
                child.padding_mode, child.padding = "zeros", (0, 0)
                setattr(module, name, nn.Sequential(SlicedReflection(pixels), child))
            elif isinstance(child, KuwaharaUpsample):
                child.pad = SlicedReflection(child.radius)
    return network


class MaskModel(nn.Module):
    """`content` `(1, 3, H, W)` to `mask` `(1, 1, H, W)`: the picture without a margin."""

    def __init__(self, network: StyleNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, content: Tensor) -> Tensor:
        """Return the learned mask in [0, 1], 1 = foreground."""
        branch, config = self.network.mask_branch, self.network.config
        logits = branch(content, branch.edges(self.network.reduce(content)))
        logits = resize_half_pixel(logits, content.shape[-2:])
        return torch.sigmoid(config.mask_gain * (logits + config.mask_bias))


class PaintModel(nn.Module):
    """The style branches and the last layer, for a picture and its mask.

    Inputs: `content` `(1, 3, H, W)`, `mask` `(1, 1, H, W)`, `alpha` `(1,)` and `strength` `(1, 2)`,
    of foreground and background. Output: `stylized` `(1, 3, H, W)`.
    """

    def __init__(self, network: StyleNetwork) -> None:
        super().__init__()
        self.network = network
        inner = min(network.config.margin, MAX_REFLECTED)
        self.margin = nn.Sequential(
            SlicedReflection(inner), SlicedReflection(network.config.margin - inner)
        )

    def forward(self, content: Tensor, mask: Tensor, alpha: Tensor, strength: Tensor) -> Tensor:
        """Return the stylized picture in [0, 1]."""
        network, (height, width) = self.network, content.shape[-2:]
        small, margin = network.reduce(content), network.config.margin
        share = other_style_weight(alpha).view(1, 1, 1, 1)
        features = network.stem(self.margin(small))
        own = CropBox(small.shape[2], small.shape[3], margin, margin)
        cells, inner = own.decoder_region(*(side // STRIDE for side in features.shape[-2:]))
        pictures = []
        for branch, weight in ((network.branch1, 1 - share), (network.branch2, share)):
            x = cells.cut(branch.transform(features, nn.Identity(), weight))
            pictures.append(inner.cut(branch.decode(x, weight)))
        stylized = merge(pictures[0], pictures[1], network.reduce(mask))
        if network.enlarge is not None:
            stylized = network.enlarge(stylized, height, width)
        strengths = strength_map(mask, strength[:, :1, None, None], strength[:, 1:, None, None])
        return apply_strength(content, stylized, strengths)


class PlainOperators(TorchFunctionMode):
    """Within it, operators that the converters lack are traced as plain ones.

    Resizing has no antialiasing: this makes a difference where the mask branch reduces the picture,
    that is above `mask_size` squared pixels.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is F.interpolate:
            kwargs["antialias"] = False
        if func in (torch.lerp, Tensor.lerp):
            first, second, weight = args
            return first + weight * (second - first)
        if func is torch.addcmul:
            return args[0] + args[1] * args[2]
        if func is Tensor.clamp_min:
            return torch.maximum(args[0], torch.full_like(args[0], args[1]))
        if func is Tensor.expand_as:
            return args[0] + torch.zeros_like(args[1])
        return func(*args, **kwargs)
