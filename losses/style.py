"""Style, style blend and content: distances between VGG16 activations (Gatys et al. 2016)."""

from collections.abc import Mapping

import torch
from torch import Tensor

Grams = Mapping[str, Tensor]


def gram(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Gram matrix `F F^T / (C * H * W)`, in float32 whatever the autocast.

    `features`: `(B, C, H, W)`; `mask`: `(B, 1, H, W)` in [0, 1], the places that count (H * W is
    then the mask's sum), None for all. Returns `(B, C, C)`.
    """
    channels = features.shape[1]
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        if mask is None:
            weighted, places = flat, flat.shape[2]
        else:
            weight = mask.float().flatten(2)
            weighted, places = flat * weight, weight.sum(dim=2, keepdim=True).clamp_min(1e-6)
        return torch.einsum("bcn,bdn->bcd", weighted, flat) / (channels * places)


def style_matrices(
    features: Tensor, mask: Tensor | None = None, covariance_weight: float = 0.0
) -> Tensor:
    """What a layer says of the style: the Gram matrix, and that of the activations' deviations.

    A Gram matrix is mostly the product of the means and hardly sees how far the activations swing:
    colours and contrast come out tame. The second one is the covariance, `G - mu mu^T / C`.
    Arguments as of `gram`; `covariance_weight`: of its distance, against that of the first.
    Returns `(B, 2, C, C)`, float32.
    """
    second_moment = gram(features, mask)
    with torch.autocast(features.device.type, enabled=False):
        x = features.float()
        if mask is None:
            mean = x.mean(dim=(2, 3))
        else:
            places = mask.float().sum(dim=(2, 3)).clamp_min(1e-6)
            mean = (x * mask.float()).sum(dim=(2, 3)) / places
        outer = mean[:, :, None] * mean[:, None, :] / features.shape[1]
        covariance = second_moment - outer
    return torch.stack([second_moment, covariance_weight**0.5 * covariance], dim=1)


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
