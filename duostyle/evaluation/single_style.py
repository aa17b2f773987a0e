"""The baseline: segmentation, one single-style network for each style, and a composite."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from duostyle.data.masks import Segmenter, foreground_mask, load_segmenter, segment
from duostyle.evaluation.metrics import composite
from duostyle.models import StyleNetwork

Stylize = Callable[[Tensor], Tensor]  # (1, 3, H, W) in [0, 1] to the same


class ReflectConv(nn.Module):
    """A convolution with reflection padding, after an optional nearest 2x upsampling."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        self.upsample = upsample
        self.conv2d = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding=kernel // 2,
            padding_mode="reflect",
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2d(F.interpolate(x, scale_factor=2) if self.upsample else x)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with affine instance norm and a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ReflectConv(channels, channels, 3)
        self.in1 = nn.InstanceNorm2d(channels, affine=True)
        self.conv2 = ReflectConv(channels, channels, 3)
        self.in2 = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))


class SingleStyleNetwork(nn.Module):
    """The network of pytorch/examples' fast_neural_style (Johnson et al. 2016), with its keys."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.in1 = ReflectConv(3, 32, 9), nn.InstanceNorm2d(32, affine=True)
        self.conv2, self.in2 = ReflectConv(32, 64, 3, 2), nn.InstanceNorm2d(64, affine=True)
        self.conv3, self.in3 = ReflectConv(64, 128, 3, 2), nn.InstanceNorm2d(128, affine=True)
        for number in range(1, 6):
            self.add_module(f"res{number}", ResidualBlock(128))
        self.deconv1 = ReflectConv(128, 64, 3, upsample=True)
        self.in4 = nn.InstanceNorm2d(64, affine=True)
        self.deconv2 = ReflectConv(64, 32, 3, upsample=True)
        self.in5 = nn.InstanceNorm2d(32, affine=True)
        self.deconv3 = ReflectConv(32, 3, 9)

    def forward(self, picture: Tensor) -> Tensor:
        """Stylize `(B, 3, H, W)` in [0, 1]; H and W are rounded up to multiples of 4."""
        x = 255 * picture  # the network was trained on pixels in [0, 255]
        x = F.relu(self.in1(self.conv1(x)))
        x = F.relu(self.in2(self.conv2(x)))
        x = F.relu(self.in3(self.conv3(x)))
        for number in range(1, 6):
            x = self.get_submodule(f"res{number}")(x)
        x = F.relu(self.in4(self.deconv1(x)))
        x = F.relu(self.in5(self.deconv2(x)))
        return (self.deconv3(x) / 255).clamp(0, 1)


def load_single_style(path: Path, device: str = "cpu") -> SingleStyleNetwork:
    """Load a single-style network from a safetensors file.

    Raises FileNotFoundError if the file does not exist, ValueError if it holds another network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such single-style network")
    network = SingleStyleNetwork()
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a fast_neural_style network ({reason})") from error
    network = network.eval().requires_grad_(False)
    return network.to(torch.device(device)).to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Baseline:
    """Segment, stylize twice, combine by the binary mask of the segmentation."""

    segmenter: Segmenter
    foreground: Stylize
    background: Stylize

    @classmethod
    def load(cls, segmenter: str, networks: Sequence[Path], device: str) -> Self:
        """Load the segmenter (as for `load_segmenter`) and both single-style networks."""
        first, second = (load_single_style(path, device) for path in networks)
        return cls(load_segmenter(segmenter, device), first, second)

    def mask(self, photo: Tensor, classes: Sequence[int]) -> Tensor:
        """Segment a photograph `(1, 3, H, W)`; returns the foreground mask `(1, 1, H, W)`."""
        labels = segment(photo.cpu(), self.segmenter)
        return foreground_mask(labels, classes).to(photo.device)

    def stylize(self, photo: Tensor, classes: Sequence[int]) -> Tensor:
        """Stylize `(1, 3, H, W)` in [0, 1]; `classes`: VOC classes that are foreground."""
        return self.stylize_with_mask(photo, self.mask(photo, classes))

    def stylize_with_mask(self, photo: Tensor, mask: Tensor) -> Tensor:
        """Stylize with a given mask `(1, 1, H, W)`."""
        return composite_of_styles(photo, self.foreground, self.background, mask)


def composite_of_styles(
    photo: Tensor, foreground: Stylize, background: Stylize, mask: Tensor
) -> Tensor:
    """Stylize a photograph twice, and combine both results by a mask `(1, 1, H, W)`."""
    height, width = photo.shape[-2:]
    first, second = (stylize(photo)[..., :height, :width] for stylize in (foreground, background))
    return composite(first, second, mask)


def composite_by_predicted_mask(
    network: StyleNetwork, foreground: Stylize, background: Stylize
) -> Stylize:
    """Combine two single-style networks by the mask that a pair's network predicts."""

    def stylize(photo: Tensor) -> Tensor:
        photo = photo.to(network.device)
        mask = network.encode(photo).mask
        return composite_of_styles(photo, foreground, background, mask).cpu()

    return stylize
