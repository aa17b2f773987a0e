"""The objective: every term by name, every weight applied here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .mask import mask_distillation
from .perceptual import Features, PerceptualNetwork
from .smoothness import tie, total_variation
from .style import content_distance, gram, gram_distance

LEAST_REGION = 0.1  # share of a picture


@dataclass(frozen=True)
class ObjectiveWeights:
    """Weights of the terms (dimensionless) and the VGG16 layers that they look at."""

    style_weight: float = 1.4e5
    content_weight: float = 1.0
    branch_content_weight: float = 0.25  # content of the branch images
    tv_weight: float = 15.0
    tie_weight: float = 30.0  # blended picture to the merge of the branch images
    mask_weight: float = 1.0
    style_layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    style_layer_weights: tuple[float, ...] = (1.0, 1.0, 2.0, 8.0)
    content_layer: str = "relu2_2"
    guided_style: bool = True  # style where a branch image is shown, not over the whole of it


class Painting(NamedTuple):
    """What the painter made of a batch: blended picture, branch images, alpha and mask."""

    stylized: Tensor  # (B, 3, H, W) in [0, 1]
    foreground: Tensor  # (B, 3, H, W) in [0, 1], the whole picture in style 1
    background: Tensor  # (B, 3, H, W) in [0, 1], the whole picture in style 2
    alpha: Tensor  # (B,) in [0, 1]
    mask: Tensor  # (B, 1, H, W) in [0, 1], 1 = foreground


class Objective:
    """The terms that train the painter, with the Gram targets of two styles."""

    def __init__(
        self, vgg: PerceptualNetwork, styles: tuple[Tensor, Tensor], weights: ObjectiveWeights
    ) -> None:
        """`styles`: the foreground's and the background's, each `(1, 3, H, W)` in [0, 1]."""
        self.vgg, self.weights = vgg, weights
        with torch.no_grad():
            self.targets = [self.grams(vgg(style, weights.style_layers)) for style in styles]
        layers = zip(weights.style_layers, weights.style_layer_weights, strict=True)
        self.scales = dict(layers)

    def __call__(self, content: Tensor, painting: Painting) -> dict[str, Tensor]:
        """Every weighted term of a batch, averaged over it, by name; their sum is the loss.

        `content`: the photographs, `(B, 3, H, W)` in [0, 1].
        """
        w = self.weights
        with torch.no_grad():
            truth = self.vgg(content, [w.content_layer])[w.content_layer]
        branches = self.vgg(
            torch.cat([painting.foreground, painting.background]),
            dict.fromkeys([*w.style_layers, w.content_layer]),
        )
        blended = self.vgg(painting.stylized, [w.content_layer])[w.content_layer]
        own, crossed = self.style_terms(branches, painting.mask)
        branch_content = content_distance(branches[w.content_layer], torch.cat([truth, truth]))
        terms = {
            "style": w.style_weight * own,
            "blend": w.style_weight * painting.alpha * crossed,
            "content": w.content_weight * content_distance(blended, truth),
            "branch_content": w.branch_content_weight * branch_content.view(2, -1).sum(dim=0),
            "tv": w.tv_weight * total_variation(painting.stylized),
            "tie": w.tie_weight
            * tie(painting.stylized, painting.foreground, painting.background, painting.mask),
        }
        return {name: term.mean() for name, term in terms.items()}

    def style_terms(self, branches: Features, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of the branch images to their own styles and to each other's, `(B,)` each.

        `branches`: activations of the foreground images followed by the background images;
        `mask`: where the former are shown. A painter that is judged over the whole branch image
        learns to lay the style where it is not shown, for the content's sake.
        """
        grams = self.grams(branches, shown(mask) if self.weights.guided_style else None)
        halves = [{k: v.chunk(2)[i] for k, v in grams.items()} for i in range(2)]
        own = [gram_distance(halves[i], self.targets[i], self.scales) for i in range(2)]
        crossed = [gram_distance(halves[i], self.targets[1 - i], self.scales) for i in range(2)]
        return own[0] + own[1], crossed[0] + crossed[1]

    def mask_term(
        self, logits: Tensor, target: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The weighted distillation term by name; arguments as of `mask_distillation`."""
        return {"mask": self.weights.mask_weight * mask_distillation(logits, target, known).mean()}

    def grams(
        self, features: Mapping[str, Tensor], places: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Gram matrices of the style layers, `(B, C, C)` each.

        `places`: what counts, `(B, 1, H, W)` in [0, 1] at the picture's size, None for all.
        """
        found = {layer: features[layer] for layer in self.weights.style_layers}
        if places is None:
            return {layer: gram(f) for layer, f in found.items()}
        return {
            layer: gram(f, F.interpolate(places, f.shape[-2:], mode="area"))
            for layer, f in found.items()
        }


def shown(mask: Tensor) -> Tensor:
    """Where the foreground images and then the background images are shown, `(2B, 1, H, W)`.

    A region under a tenth of the picture says little of a style: the whole counts then.
    """
    places = torch.cat([mask, 1 - mask]).float()
    small = places.mean(dim=(1, 2, 3), keepdim=True) < LEAST_REGION
    return torch.where(small, torch.ones_like(places), places)
