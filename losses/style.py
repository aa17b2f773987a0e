"""Style, style blend and content: distances between VGG16 activations (Gatys et al. 2016)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Grams = Mapping[str, Tensor]


def gram(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Gram matrix `F F^T / (C * H * W)`, in float32 whatever the autocast.

    `features`: `(B, C, H, W)`; `mask`: `(B, 1, H, W)` in [0, 1], the places that count (H * W is
    then the mask's sum), None for all. Returns `(B, C, C)`.
    """
    flat = features.flatten(2)
    if mask is None:
        share = flat.new_full((1, 1, flat.shape[2]), 1 / flat.shape[2], dtype=torch.float32)
    else:
        share = mask.float().flatten(2)
        share = share / share.sum(dim=2, keepdim=True).clamp_min(1e-6)
    return SecondMoment.apply(flat, share) / features.shape[1]


class SecondMoment(torch.autograd.Function):
    """Mean of `f f^T` over the places that count, with a gradient in one product, not two."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, share: Tensor) -> Tensor:
        """`flat`: `(B, C, N)`; `share`: of every place, `(B or 1, 1, N)`, float32, 1 in all."""
        ctx.save_for_backward(flat, share)
        with torch.autocast(flat.device.type, enabled=False):
            flat = flat.float()
            return (flat * share) @ flat.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        flat, share = ctx.saved_tensors
        # bfloat16 has float32's range; in float16 such small numbers would underflow.
        kind = torch.bfloat16 if flat.dtype == torch.bfloat16 else torch.float32
        with torch.autocast(flat.device.type, enabled=False):
            pull = (gradient + gradient.mT).to(kind) @ flat.to(kind)
            return (pull * share).to(flat.dtype), None


def gram_distance(grams: Grams, targets: Grams, scales: Mapping[str, float]) -> Tensor:
    """Distance of each picture to a style: `sum_l scale_l * mean((G_l - T_l)^2)`, `(B,)`.

    `grams`: `(B, C, C)` by layer, `targets`: `(B or 1, C, C)`.
    """
    terms = [
        scale * (grams[layer] - targets[layer]).square().mean(dim=(1, 2))
        for layer, scale in scales.items()
    ]
    return torch.stack(terms).sum(dim=0)


def content_distance(features: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference of activations `(B, C, H, W)`, one number a picture, `(B,)`."""
    return (features.float() - targets.float()).square().mean(dim=(1, 2, 3))
