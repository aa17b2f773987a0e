"""Distillation: what teaches the mask branch DeepLab's mask (Hinton et al. 2015)."""

from torch import Tensor
from torch.nn import functional as F


def mask_distillation(logits: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Cross-entropy plus soft Dice against the teacher's mask, one number a picture, `(B,)`.

    `logits`: `(B, 1, H, W)`; `target`: the same shape in [0, 1], 1 = foreground; `known`: the
    same shape, 0 where the label says "ignore", None for everywhere. Cross-entropy gets every
    place right, Dice keeps small foregrounds from being outvoted.
    """
    weight = target.new_ones(target.shape) if known is None else known
    places = weight.sum(dim=(1, 2, 3)).clamp_min(1)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    entropy = (entropy * weight).sum(dim=(1, 2, 3)) / places
    mask = logits.sigmoid()
    # Smoothed by one per cent of the picture: an empty target and an empty mask agree.
    smooth = 0.01 * places
    overlap = (mask * target * weight).sum(dim=(1, 2, 3))
    total = ((mask + target) * weight).sum(dim=(1, 2, 3))
    return entropy + 1 - (2 * overlap + smooth) / (total + smooth)
