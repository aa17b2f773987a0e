"""The objective: every term by name, every weight applied here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .imitation import imitation_distance
from .mask import mask_distillation
from .perceptual import CHROMA, Features, PerceptualNetwork
from .smoothness import total_variation
from .steadiness import steadiness_distance
from .style import content_distance, gram_distance, style_matrices
from .tone import key, tone_distance, tone_target

LEAST_REGION = 0.1  # share of a picture
STYLE_STRENGTH = 40.0  # style term of what has no style at all, where no weight is named


@dataclass(frozen=True)
class ObjectiveWeights:
    """Weights of the terms (dimensionless), and the layers that they look at."""

    style_weight: float = 0.0  # 0: by the paintings, STYLE_STRENGTH over their own size
    foreground_style_weight: float = 1.0  # of the foreground's, times style_weight
    content_weight: float = 1.0
    tone_weight: float = 100.0
    tv_weight: float = 10.0
    steady_weight: float = 2500.0
    mask_weight: float = 1.0
    imitation_weight: float = 100.0
    style_layers: tuple[str, ...] = (CHROMA, "relu1_2", "relu2_2", "relu3_3", "relu4_3")
    style_layer_weights: tuple[float, ...] = (0.03, 1.0, 1.0, 2.0, 8.0)
    content_layer: str = "relu2_2"
    covariance_weight: float = 4.0  # of the style's covariances, against its Gram matrices
    # Style of the blended picture's two regions; or else, as in the optimisation method, of both
    # branch images as wholes, also where they are not shown.
    guided_style: bool = True


class Painting(NamedTuple):
    """What is judged: a blended picture with its alpha and mask, and the images that it is of."""

    stylized: Tensor  # (B, 3, H, W) in [0, 1]
    alpha: Tensor  # (B,) in [0, 1]
    mask: Tensor  # (B, 1, H, W) in [0, 1], 1 = foreground
    foreground: Tensor | None = None  # (B, 3, H, W) in [0, 1], the whole picture in style 1
    background: Tensor | None = None  # the whole picture in style 2; both for unguided style


class Objective:
    """The terms that train the painter, with the style matrices of two paintings as targets."""

    def __init__(
        self, vgg: PerceptualNetwork, styles: tuple[Tensor, Tensor], weights: ObjectiveWeights
    ) -> None:
        """`styles`: the foreground's and the background's, each `(1, 3, H, W)` in [0, 1]."""
        self.vgg, self.weights = vgg, weights
        with torch.no_grad():
            self.targets = [self.grams(vgg(style, weights.style_layers)) for style in styles]
        self.keys = [key(style) for style in styles]
        self.scales = dict(zip(weights.style_layers, weights.style_layer_weights, strict=True))
        if not weights.style_weight:
            self.weights = replace(weights, style_weight=STYLE_STRENGTH / self._size())

    def __call__(self, content: Tensor, painting: Painting) -> dict[str, Tensor]:
        """Every weighted term of a batch, averaged over it, by name; their sum is the loss.

        `content`: the photographs, `(B, 3, H, W)` in [0, 1].
        """
        w = self.weights
        with torch.no_grad():
            truth = self.vgg(content, [w.content_layer])[w.content_layer]
        layers = dict.fromkeys([*w.style_layers, w.content_layer])
        blended = self.vgg(painting.stylized, layers if w.guided_style else [w.content_layer])
        own, crossed = self.style_terms(painting, blended)
        light = tone_target(content, painting.mask, painting.alpha, self.keys)
        terms = {
            "style": w.style_weight * own,
            "blend": w.style_weight * painting.alpha * crossed,
            "content": w.content_weight * content_distance(blended[w.content_layer], truth),
            "tone": w.tone_weight * tone_distance(painting.stylized, light),
            "tv": w.tv_weight * total_variation(painting.stylized),
        }
        return {name: term.mean() for name, term in terms.items()}

    def style_terms(self, painting: Painting, blended: Features) -> tuple[Tensor, Tensor]:
        """Distance of foreground and background to their own style and to the other's, `(B,)` each.

        `blended`: activations of the blended picture.
        """
        places = (painting.mask.float(), 1 - painting.mask.float())
        if self.weights.guided_style:
            regions = [(self.grams(blended, place), presence(place)) for place in places]
        elif painting.foreground is None or painting.background is None:
            raise ValueError("unguided style judges both branch images: give them")
        else:
            images = (painting.foreground, painting.background)
            whole = torch.ones_like(painting.alpha)
            regions = [(self.grams(self.vgg(i, self.weights.style_layers)), whole) for i in images]
        # Alike in both terms: the mixture that alpha asks for stays the same.
        strengths = (self.weights.foreground_style_weight, 1.0)
        own = crossed = torch.zeros_like(painting.alpha)
        for index, (grams, present) in enumerate(regions):
            weight = strengths[index] * present
            own = own + weight * gram_distance(grams, self.targets[index], self.scales)
            crossed = crossed + weight * gram_distance(grams, self.targets[1 - index], self.scales)
        return own, crossed

    def _size(self) -> float:
        """Distance of nothing to a style, mean of the two: strong colours and contrasts are far."""
        return fmean(
            gram_distance({k: torch.zeros_like(t) for k, t in target.items()}, target, self.scales)
            .mean()
            .item()
            for target in self.targets
        )

    def mask_term(
        self, logits: Tensor, target: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The weighted distillation term by name; arguments as of `mask_distillation`."""
        return {"mask": self.weights.mask_weight * mask_distillation(logits, target, known).mean()}

    def steady_term(self, again: Tensor, moved: Tensor, seen: Tensor) -> dict[str, Tensor]:
        """The weighted steadiness term by name; arguments as of `steadiness_distance`."""
        distance = steadiness_distance(again, moved, seen).mean()
        return {"steady": self.weights.steady_weight * distance}

    def imitation_term(self, stylized: Tensor, taught: Tensor) -> dict[str, Tensor]:
        """The weighted distance to a teacher's painting by name, `(B, 3, H, W)` in [0, 1] each."""
        distance = imitation_distance(stylized, taught).mean()
        return {"imitation": self.weights.imitation_weight * distance}

    def grams(
        self, features: Mapping[str, Tensor], places: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Style matrices of the style layers, `(B, 2, C, C)` each.

        `places`: what counts, `(B, 1, H, W)` in [0, 1] at the picture's size, None for all.
        """
        found = {}
        for layer in self.weights.style_layers:
            f = features[layer]
            mask = None if places is None else F.interpolate(places, f.shape[-2:], mode="area")
            found[layer] = style_matrices(f, mask, self.weights.covariance_weight)
        return found


def presence(place: Tensor) -> Tensor:
    """Weight of a region's style, `(B, 1, H, W)` to `(B,)`: 1 from a tenth of the picture on.

    A few pixels say little of a style, and the less there is of a region, the less it counts.
    """
    return (place.mean(dim=(1, 2, 3)) / LEAST_REGION).clamp(max=1)
