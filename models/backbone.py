"""The mask branch's backbone: MobileNetV2, batch norm folded, pretrained or not."""

from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from duostyle.constants import IMAGENET_MEAN, IMAGENET_STD
from duostyle.models.config import STRIDES

# Outputs of MobileNetV2's feature stages: (index, channels) at strides 4, 8, 16, and 16 or 32.
STAGES = ((3, 24), (6, 32), (13, 96), (17, 320))
LAST = 14  # the first stage after stride 16


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
