"""The mask branch: DeepLab's light backbone and head, sharpened by finer and finer features."""

from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from duostyle.models.head import CLASSES, DeepLabHead

# Outputs of MobileNetV2's feature stages: (index, channels) at strides 4, 8, 16, and 16 or 32.
STAGES = ((3, 24), (6, 32), (13, 96), (17, 320))
LAST = 14  # the first stage after stride 16
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def backbone(stride: int) -> nn.Sequential:
    """MobileNetV2 (Sandler et al. 2018) up to its 320 channels, batch norm folded, untrained.

    Its input is `2 * picture - 1`; `stride`: of its last stages, 32 as published, or 16, dilated.
    """
    return _finished(mobilenet_v2(weights=None).features[:18].eval(), stride)


def pretrained_backbone(weights: Path | None, stride: int = 32) -> nn.Sequential:
    """The same with weights: a safetensors file with torchvision's `features` keys, or the hub.

    `weights`: a file for input `2 * picture - 1` (DeepLab's own backbone, say), or None for
    torchvision's ImageNet weights, whose input statistics are folded into the first convolution.
    Raises OSError where neither can be read, ValueError where the keys do not fit.
    """
    if weights is None:
        try:
            state = MobileNet_V2_Weights.IMAGENET1K_V2.get_state_dict(
                progress=True, check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise OSError(
                f"MobileNetV2 weights: torchvision's hub is out of reach ({error}); name a file "
                "with --backbone-weights, or go on from a pair with --init"
            ) from error
        network = mobilenet_v2(weights=None)
        network.load_state_dict(state)
        network = network.features[:18].eval()
        _absorb_imagenet_statistics(network[0][0], network[0][1])
        return _finished(network, stride)
    network = mobilenet_v2(weights=None).features[:18].eval()
    try:
        if not weights.is_file():  # a pipe would be waited for
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
    """Batch norm folded, and the last stages at this stride. Raises ValueError for another."""
    if stride not in (16, 32):
        raise ValueError(f"the mask branch's last stages have a stride of 16 or 32, not {stride}")
    if stride == 16:
        _dilate(network[LAST:])
    return _fold_batch_norm(network)


def _dilate(stages: nn.Sequential) -> None:
    """Look at every place instead of every second one, with the same weights (Yu et al. 2016)."""
    depthwise = [m for m in stages.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    depthwise[0].stride = (1, 1)  # it saw its neighbours still undilated
    for layer in depthwise[1:]:
        layer.dilation = layer.padding = (2, 2)


def _absorb_imagenet_statistics(stem: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Let a stem that expects `(p - mean) / std` take `2p - 1` instead."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    with torch.no_grad():
        # (p - mean) / std = (2p - 1) / (2 std) + (0.5 - mean) / std
        offset = (stem.weight * ((0.5 - mean) / std)[:, None, None]).sum(dim=(1, 2, 3))
        stem.weight /= (2 * std)[:, None, None]
        norm.running_mean -= offset


def _fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold every (convolution, batch norm) neighbour pair into one convolution, in place."""
    children = list(module.named_children())
    for (name, child), (after, norm) in pairwise([*children, ("", nn.Identity())]):
        if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module._modules[name] = fuse_conv_bn_eval(child, norm)
            module._modules[after] = nn.Identity()
        else:
            _fold_batch_norm(child)
    return module


class Lateral(nn.Module):
    """One step up the pyramid: enlarge, add the finer stage, mix."""

    def __init__(self, coarse: int, fine: int, channels: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(coarse, channels, 1)
        self.fine = nn.Conv2d(fine, channels, 1)
        self.spread = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        x = _resize(self.coarse(coarse), fine.shape[-2:]) + self.fine(fine)
        x = F.relu(x)
        return x + F.relu(self.mix(self.spread(x)))


class MaskBranch(nn.Module):
    """Learned foreground: what DeepLab would say, from a picture of reduced size.

    `size`: side in pixels of the square that is as large as the resized picture, whatever its
    shape; DeepLab knows things by the sizes they have at 513 (measured: at 385 it agrees with
    itself at 513 to an IoU of 0.78 only). `edge_channels`: channels of the encoder features that
    sharpen the edges. `stride`: of the coarsest features, 32, or 16 for finer masks at twice the
    cost of the last stages.
    """

    def __init__(self, size: int, edge_channels: int, stride: int = 32) -> None:
        super().__init__()
        self.size = size
        self.backbone = backbone(stride)
        channels = [c for _, c in STAGES]
        self.head = DeepLabHead(channels[3])
        self.up16 = Lateral(256 + CLASSES, channels[2], 96)
        self.up8 = Lateral(96, channels[1], 64)
        self.up4 = Lateral(64, channels[0], 32)
        self.coarse = nn.Conv2d(32, 1, 1)
        self.edge = nn.Conv2d(edge_channels, 16, 1)
        self.refine = nn.Sequential(
            nn.Conv2d(32 + 16 + 1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 3, padding=1)
        )
        # At the start the mask is the head's: what is added to it begins at nothing.
        for layer in (self.coarse, self.refine[2]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, picture: Tensor, edges: Tensor) -> Tensor:
        """Foreground logits.

        `picture`: `(B, 3, H, W)` in [0, 1]; `edges`: `(B, edge_channels, H/4, W/4)`.
        Returns `(B, 1, H/4, W/4)`, float32.
        """
        x, foreground = self.semantics(self.pyramid(picture))
        fine = edges.shape[-2:]
        logits = _fit(self.coarse(x) + _resize(foreground, x.shape[-2:]), fine)
        detail = torch.cat([_fit(x, fine), F.relu(self.edge(edges)), logits], dim=1)
        return (logits + self.refine(detail)).float()

    def pyramid(self, picture: Tensor) -> list[Tensor]:
        """Backbone features at strides 4, 8, 16 and the last of the reduced picture."""
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
        """Features `(B, 32, h, w)` at stride 4, the head's foreground logits at the last stride."""
        f4, f8, f16, f32 = stages
        known, foreground = self.head(f32)
        return self.up4(self.up8(self.up16(known, f16), f8), f4), foreground

    def _sides(self, height: int, width: int) -> list[int]:
        """Sides of the resized picture: 32k + 1 each, so that the backbone's grids line up."""
        # Arithmetic that an exported graph can repeat for any size.
        scale = self.size / torch.sym_float(height * width) ** 0.5
        steps = [torch.sym_int((side * scale - 1) / 32 + 0.5) for side in (height, width)]
        return [32 * torch.sym_max(step, 1) + 1 for step in steps]


def _fit(x: Tensor, size: tuple[int, int]) -> Tensor:
    # The painter's cells lie side by side, their centres half a cell from the border.
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    # Grids of 32k + 1 pixels share their corners, hence align_corners.
    return F.interpolate(x, size, mode="bilinear", align_corners=True)
