"""The single-style network that people use today (Johnson et al. 2016), to compare with."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


class PeerConv(nn.Module):
    """A convolution with reflect padding, after an optional nearest 2x."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, step: int = 1) -> None:
        """`step`: 2 halves the picture, -2 doubles it."""
        super().__init__()
        self.doubles = step < 0
        self.conv2d = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            max(step, 1),
            padding=kernel // 2,
            padding_mode="reflect",
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2d(F.interpolate(x, scale_factor=2) if self.doubles else x)


class PeerResidual(nn.Module):
    """Two 3x3 convolutions with affine instance norm around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = PeerConv(channels, channels, 3)
        self.in1 = nn.InstanceNorm2d(channels, affine=True)
        self.conv2 = PeerConv(channels, channels, 3)
        self.in2 = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))


class PeerNetwork(nn.Module):
    """The image-transformation network of pytorch/examples' fast_neural_style, by its own keys."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.in1 = PeerConv(3, 32, 9), nn.InstanceNorm2d(32, affine=True)
        self.conv2, self.in2 = PeerConv(32, 64, 3, 2), nn.InstanceNorm2d(64, affine=True)
        self.conv3, self.in3 = PeerConv(64, 128, 3, 2), nn.InstanceNorm2d(128, affine=True)
        for number in range(1, 6):
            self.add_module(f"res{number}", PeerResidual(128))
        self.deconv1, self.in4 = PeerConv(128, 64, 3, -2), nn.InstanceNorm2d(64, affine=True)
        self.deconv2, self.in5 = PeerConv(64, 32, 3, -2), nn.InstanceNorm2d(32, affine=True)
        self.deconv3 = PeerConv(32, 3, 9)

    def forward(self, picture: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] to the same; H and W come back as whole fours."""
        x = 255 * picture  # the network knows pixels as 0..255
        x = F.relu(self.in1(self.conv1(x)))
        x = F.relu(self.in2(self.conv2(x)))
        x = F.relu(self.in3(self.conv3(x)))
        for number in range(1, 6):
            x = self.get_submodule(f"res{number}")(x)
        x = F.relu(self.in4(self.deconv1(x)))
        x = F.relu(self.in5(self.deconv2(x)))
        return (self.deconv3(x) / 255).clamp(0, 1)


def load_peer(path: Path, device: str = "cpu") -> PeerNetwork:
    """A peer from a safetensors file.

    Raises FileNotFoundError where there is none, ValueError where it is another network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such peer network")
    network = PeerNetwork()
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a fast_neural_style network ({reason})") from error
    network = network.eval().requires_grad_(False)
    return network.to(torch.device(device), memory_format=torch.channels_last)
