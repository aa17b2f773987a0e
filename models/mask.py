"""The mask branch: MobileNetV2 and DeepLab's head, refined by a feature pyramid and edges."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from duostyle.constants import IMAGENET_MEAN, IMAGENET_STD
from duostyle.models.config import STRIDES
from duostyle.models.layers import conv, resize_half_pixel

# Outputs of MobileNetV2's feature stages: (index, channels) at strides 4, 8, 16, and 16 or 32.
STAGES = ((3, 24), (6, 32), (13, 96), (17, 320))
LAST = 14  # the first stage after stride 16
CLASSES = 21  # of PASCAL VOC; 0 = background
EXCLUDED = 1e4  # subtracted from the logits of classes that do not count


def backbone(stride: int) -> nn.Sequential:
    """Return MobileNetV2 (Sandler et al. 2018) up to its 320 channels, with random weights.

    The input is `2 * picture - 1`. `stride`: of the last stages, 32 as published, or 16, dilated.
    Raises ValueError for another stride.
    """
    return _finished(mobilenet_v2(weights=None).features[:18].eval(), stride)


def pretrained_backbone(weights: Path | None, stride: int = 32) -> nn.Sequential:
    """Return `backbone` with trained weights.

    `weights`: a safetensors file with torchvision's `features` keys for input `2 * picture - 1`
    (such as DeepLab's own backbone), or None for torchvision's ImageNet weights, whose input
    statistics are folded into the first convolution.
    Raises OSError if the weights cannot be read or fetched, ValueError if they do not fit.
    """
    if weights is None:
        try:
            state = MobileNet_V2_Weights.IMAGENET1K_V2.get_state_dict(
                progress=True, check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise OSError(
                f"MobileNetV2 weights: torchvision's hub cannot be reached ({error}); name a file "
                "with --backbone-weights, or start from a pair with --init"
            ) from error
        network = mobilenet_v2(weights=None)
        network.load_state_dict(state)
        network = network.features[:18].eval()
        _absorb_imagenet_statistics(network[0][0], network[0][1])
        return _finished(network, stride)
    network = mobilenet_v2(weights=None).features[:18].eval()
    try:
        if not weights.is_file():  # reading a pipe would block
            raise FileNotFoundError(f"{weights}: no such file; name one with --backbone-weights")
        state = {k.removeprefix("features."): v.float() for k, v in load_file(weights).items()}
        if not all(value.isfinite().all() for value in state.values()):
            raise ValueError(f"{weights}: holds weights that are not finite; fetch it again")
        network.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{weights}: not MobileNetV2 features ({reason})") from error
    return _finished(network, stride)


def _finished(network: nn.Sequential, stride: int) -> nn.Sequential:
    """Set the stride of the last stages, and fold batch norm. Raises ValueError for another."""
    if stride not in STRIDES:
        raise ValueError(f"the mask branch's last stages have a stride of 16 or 32, not {stride}")
    if stride == 16:
        _dilate(network[LAST:])
    _fold_batch_norm(network)
    return network


def _dilate(stages: nn.Sequential) -> None:
    """Replace stride 2 by dilation 2, with the same weights (Yu and Koltun 2016)."""
    depthwise = [m for m in stages.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    depthwise[0].stride = (1, 1)  # its input is not dilated yet
    for layer in depthwise[1:]:
        layer.dilation = layer.padding = (2, 2)


def _absorb_imagenet_statistics(stem: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Fold input statistics into a stem that expects `(p - mean) / std`: it then takes `2p - 1`."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    with torch.no_grad():
        # (p - mean) / std = (2p - 1) / (2 std) + (0.5 - mean) / std
        offset = (stem.weight * ((0.5 - mean) / std)[:, None, None]).sum(dim=(1, 2, 3))
        stem.weight /= (2 * std)[:, None, None]
        assert norm.running_mean is not None
        norm.running_mean -= offset


def _fold_batch_norm(module: nn.Module) -> None:
    """Fold every (convolution, batch norm) neighbor pair into one convolution, in place."""
    children = list(module.named_children())
    for (name, child), (after, norm) in pairwise([*children, ("", nn.Identity())]):
        if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module._modules[name] = fuse_conv_bn_eval(child, norm)
            module._modules[after] = nn.Identity()
        else:
            _fold_batch_norm(child)


class DeepLabHead(nn.Module):
    """DeepLab-V3's head (Chen et al. 2017) in its light form: image pooling and a 1x1 convolution.

    Buffers: `wanted`, 1 for each of the 21 classes that are foreground; `taken`, 1 if the weights
    are a trained DeepLab's.
    """

    wanted: Tensor
    taken: Tensor

    def __init__(self, in_channels: int, channels: int = 256) -> None:
        super().__init__()
        self.pooling = nn.Conv2d(in_channels, channels, 1)
        self.point = nn.Conv2d(in_channels, channels, 1)
        self.projection = nn.Conv2d(2 * channels, channels, 1)
        self.classes = nn.Conv2d(channels, CLASSES, 1)
        wanted = torch.ones(CLASSES)
        wanted[0] = 0
        self.register_buffer("wanted", wanted)
        self.register_buffer("taken", torch.zeros(()))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return features `(B, channels + 21, h, w)` and foreground logits `(B, 1, h, w)`, float32.

        The features are the projection and the probability of every class.
        """
        pooled = F.relu(self.pooling(features.mean(dim=(2, 3), keepdim=True)))
        point = F.relu(self.point(features))
        joined = torch.cat([pooled.expand_as(point), point], dim=1)
        x = F.relu(self.projection(joined))
        logits = self.classes(x).float()
        wanted = self.wanted.view(1, -1, 1, 1)
        foreground = torch.logsumexp(logits - EXCLUDED * (1 - wanted), dim=1, keepdim=True)
        background = torch.logsumexp(logits - EXCLUDED * wanted, dim=1, keepdim=True)
        known = torch.cat([x, logits.softmax(dim=1).to(x.dtype)], dim=1)
        return known, foreground - background

    def set_foreground_classes(self, classes: Sequence[int]) -> None:
        """Set the classes, 1 to 20, that are foreground."""
        self.wanted.zero_()
        self.wanted[list(classes)] = 1


class Lateral(nn.Module):
    """One step of a feature pyramid (Lin et al. 2017): upsample, add the finer stage, mix."""

    def __init__(self, coarse: int, fine: int, channels: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(coarse, channels, 1)
        self.fine = nn.Conv2d(fine, channels, 1)
        self.spread = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        x = resize_align_corners(self.coarse(coarse), fine.shape[-2:]) + self.fine(fine)
        x = F.relu(x)
        return x + F.relu(self.mix(self.spread(x)))


class MaskBranch(nn.Module):
    """Predict the foreground from a picture of reduced size: backbone, head, feature pyramid.

    `size`: side, in pixels, of the square with the resized picture's area. DeepLab was trained at
    513 (at 385 its masks agree with those at 513 to an IoU of 0.78 only). `edge_width`: channels at
    half resolution of the features that sharpen the edges. `stride`: of the coarsest features, 32,
    or 16 for finer masks at twice the cost of the last stages.
    """

    def __init__(self, size: int, edge_width: int, stride: int = 32) -> None:
        super().__init__()
        self.size = size
        w = edge_width
        self.edges = nn.Sequential(
            conv(3, w, 5, 2),
            nn.ReLU(),
            conv(w, 4 * w, 3, 2),
            nn.ReLU(),
        )
        self.backbone = backbone(stride)
        channels = [c for _, c in STAGES]
        self.head = DeepLabHead(channels[3])
        self.up16 = Lateral(256 + CLASSES, channels[2], 96)
        self.up8 = Lateral(96, channels[1], 64)
        self.up4 = Lateral(64, channels[0], 32)
        self.coarse = nn.Conv2d(32, 1, 1)
        self.edge = nn.Conv2d(4 * w, 16, 1)
        self.refine = nn.Sequential(
            nn.Conv2d(32 + 16 + 1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 3, padding=1)
        )
        # The refinement starts at zero: an untrained branch returns the head's mask.
        for layer in (self.coarse, self.refine[2]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, picture: Tensor, edges: Tensor) -> Tensor:
        """Return the foreground's logits.

        `picture`: `(B, 3, H, W)` in [0, 1]; `edges`: what `self.edges` returns for its place in the
        padded picture, `(B, 4 * edge_width, H/4, W/4)`.
        Returns `(B, 1, H/4, W/4)`, float32.
        """
        x, foreground = self.semantics(self.pyramid(picture))
        fine = edges.shape[-2:]
        logits = resize_half_pixel(
            self.coarse(x) + resize_align_corners(foreground, x.shape[-2:]), fine
        )
        detail = torch.cat([resize_half_pixel(x, fine), F.relu(self.edge(edges)), logits], dim=1)
        return (logits + self.refine(detail)).float()

    def pyramid(self, picture: Tensor) -> list[Tensor]:
        """Return backbone features of the reduced picture, at strides 4, 8, 16 and the last."""
        x = F.interpolate(
            picture,
            self._sides(*picture.shape[-2:]),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        x, stages = 2 * x - 1, []
        wanted = {index for index, _ in STAGES}
        for index, block in enumerate(self.backbone):
            x = block(x)
            if index in wanted:
                stages.append(x)
        return stages

    def semantics(self, stages: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return features `(B, 32, h, w)` at stride 4 and the head's foreground logits."""
        f4, f8, f16, f32 = stages
        known, foreground = self.head(f32)
        return self.up4(self.up8(self.up16(known, f16), f8), f4), foreground

    def _sides(self, height: int, width: int) -> list[int]:
        """Return the sides of the resized picture: 32k + 1 each, so that the grids are aligned."""
        # torch.sym_*: an exported graph computes the sides of any picture.
        scale = self.size / torch.sym_float(height * width) ** 0.5
        steps = [torch.sym_int((side * scale - 1) / 32 + 0.5) for side in (height, width)]
        # Symbolic integers in an exported graph.
        return cast(list[int], [32 * torch.sym_max(step, 1) + 1 for step in steps])


def resize_align_corners(x: Tensor, size: torch.Size) -> Tensor:
    """Resize between grids of 32k + 1 pixels, which have their corners in common."""
    return F.interpolate(x, size, mode="bilinear", align_corners=True)
