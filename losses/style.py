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
    return _moments(features, mask)[0] / features.shape[1]


def style_matrices(
    features: Tensor, mask: Tensor | None = None, covariance_weight: float = 0.0
) -> Tensor:
    """What a layer says of the style: the Gram matrix, and that of the activations' deviations.

    A Gram matrix is mostly the product of the means and hardly sees how far the activations swing:
    colours and contrast come out tame. The second one is the covariance, `G - mu mu^T / C`.
    Arguments as of `gram`; `covariance_weight`: of its distance, against that of the first.
    Returns `(B, 2, C, C)`, float32.
    """
    second, mean = _moments(features, mask)
    covariance = second - mean[:, :, None] * mean[:, None, :]
    return torch.stack([second, covariance_weight**0.5 * covariance], 1) / features.shape[1]


def _moments(features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean of `f f^T` and of `f` over the places that count, `(B, C, C)` and `(B, C)`, float32."""
    flat = features.flatten(2)
    if mask is None:
        share = flat.new_full((1, 1, flat.shape[2]), 1 / flat.shape[2], dtype=torch.float32)
    else:
        share = mask.float().flatten(2)
        share = share / share.sum(dim=2, keepdim=True).clamp_min(1e-6)
    return Moments.apply(flat, share)


class Moments(torch.autograd.Function):
    """Mean of `f f^T` and of `f`, with a gradient in one product, where autograd takes two."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """`flat`: `(B, C, N)`; `share`: of every place, `(B or 1, 1, N)`, float32, 1 in all."""
        ctx.save_for_backward(flat, share)
        with torch.autocast(flat.device.type, enabled=False):
            flat = flat.float()
            weighted = flat * share
            return weighted @ flat.mT, weighted.sum(dim=2)

    @staticmethod
    def backward(ctx: Any, to_second: Tensor, to_mean: Tensor) -> tuple[Tensor, None]:
        flat, share = ctx.saved_tensors
        # bfloat16 reaches as far as float32; in float16 so small numbers would be nothing.
        kind = torch.bfloat16 if flat.dtype == torch.bfloat16 else torch.float32
        with torch.autocast(flat.device.type, enabled=False):
            pull = (to_second + to_second.mT).to(kind) @ flat.to(kind)
            return ((pull + to_mean[:, :, None]) * share).to(flat.dtype), None


def gram_distance(grams: Grams, targets: Grams, scales: Mapping[str, float]) -> Tensor:
    """Distance of each picture to a style: `sum_l scale_l * mean((G_l - T_l)^2)`, `(B,)`.

    `grams`: `(B, ..., C, C)` by layer, `targets`: `(1, ..., C, C)`; where there are several
    matrices, their means are added.
    """
    terms = []
    for layer, scale in scales.items():
        apart = (grams[layer] - targets[layer]).square().mean(dim=(-2, -1))
        terms.append(scale * apart.view(len(apart), -1).sum(dim=1))
    return torch.stack(terms).sum(dim=0)


def content_distance(features: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference of activations `(B, C, H, W)`, one number a picture, `(B,)`."""
    return (features.float() - targets.float()).square().mean(dim=(1, 2, 3))
