"""The objective: every term by name, every weight applied here and nowhere else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.losses.imitation import imitation_distance
from duostyle.losses.mask import mask_distillation
from duostyle.losses.palette import palette, palette_distance
from duostyle.losses.perceptual import Features, PerceptualNetwork
from duostyle.losses.smoothness import total_variation
from duostyle.losses.steadiness import steadiness_distance
from duostyle.losses.style import Grams, content_distance, gram, gram_distance

LEAST_REGION = 0.1  # share of a picture
FINE_LAYERS = {"relu1_2": 1.0, "relu2_2": 2.0}  # brushwork and grain, at full size
STYLE_STRENGTH = 40.0  # style term of what has no style at all, where no weight is named


@dataclass(frozen=True)
class ObjectiveWeights:
    """Weights of the terms (dimensionless), and the layers that they compare."""

    style_weight: float = 0.0  # 0: STYLE_STRENGTH over the size of each painting's own matrices
    foreground_style_weight: float = 1.0  # of the foreground's, times style_weight
    fine_weight: float = 0.15  # of the style of FINE_LAYERS at full size, against style_weight
    palette_weight: float = 250.0
    content_weight: float = 1.2
    tv_weight: float = 6.0
    steady_weight: float = 0.0
    mask_weight: float = 1.0
    imitation_weight: float = 100.0
    style_layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    style_layer_weights: tuple[float, ...] = (1.0, 2.0, 6.0, 24.0)
    content_layer: str = "relu3_3"
    vgg_downscale: int = 2  # pictures are reduced so many times for VGG: larger strokes
    # Style of the blended picture's two regions; or else, as in the optimisation method, of both
    # branch images as wholes, also where they are not shown.
    guided_style: bool = True


class Painting(NamedTuple):
    """A blended picture with its alpha, mask and styles, and its two branch images."""

    stylized: Tensor  # (B, 3, H, W) in [0, 1]
    alpha: Tensor  # (B,) in [0, 1]
    mask: Tensor  # (B, 1, H, W) in [0, 1], 1 = foreground
    foreground: Tensor | None = None  # (B, 3, H, W) in [0, 1], the whole picture in style 1
    background: Tensor | None = None  # the whole picture in style 2; both for unguided style
    rows: Tensor | None = None  # (B, 2), foreground's and background's style; None for 0 and 1


class Objective:
    """The terms that train the painter, with the statistics of the paintings as targets."""

    def __init__(
        self, vgg: PerceptualNetwork, styles: Sequence[Tensor], weights: ObjectiveWeights
    ) -> None:
        """`styles`: two paintings, the foreground's first, or more; `(1, 3, H, W)` in [0, 1]."""
        self.vgg, self.weights = vgg, weights
        self.scales = dict(zip(weights.style_layers, weights.style_layer_weights, strict=True))
        with torch.no_grad():
            found = [grams(self._features(style)) for style in styles]
            fine = [grams(vgg(style, FINE_LAYERS)) for style in styles]
        self.palettes = torch.cat([palette(style) for style in styles])
        self.styles = StyleTargets(found, self.scales, weights.style_weight)
        self.fine = StyleTargets(fine, FINE_LAYERS, weights.style_weight)

    def __call__(self, content: Tensor, painting: Painting) -> dict[str, Tensor]:
        """Return every weighted term of a batch, averaged over it, by name; their sum is the loss.

        `content`: the photographs, `(B, 3, H, W)` in [0, 1].
        """
        w = self.weights
        with torch.no_grad():
            truth = self._features(content, [w.content_layer])[w.content_layer]
        layers = dict.fromkeys([*w.style_layers, w.content_layer])
        blended = self._features(painting.stylized, layers if w.guided_style else [w.content_layer])
        own, crossed = self.style_terms(painting, blended)
        terms = {
            "style": own,
            "blend": painting.alpha * crossed,
            "content": w.content_weight * content_distance(blended[w.content_layer], truth),
            "tv": w.tv_weight * total_variation(painting.stylized),
        }
        if w.palette_weight:
            own, crossed = self.palette_terms(painting)
            terms["palette"] = w.palette_weight * (own + painting.alpha * crossed)
        return {name: term.mean() for name, term in terms.items()}

    def style_terms(self, painting: Painting, blended: Features) -> tuple[Tensor, Tensor]:
        """Return the weighted distance of both regions to their own and to the other style, `(B,)`.

        `blended`: activations of the blended picture.
        """
        own, crossed = self._compare(self.styles, painting, self._regions(painting, blended))
        if self.weights.fine_weight and self.weights.guided_style:
            window = middle(painting.stylized)
            mask = painting.mask[window].float()
            features = self.vgg(painting.stylized[window], FINE_LAYERS)
            regions = [(grams(features, p), presence(p)) for p in (mask, 1 - mask)]
            fine = self._compare(self.fine, painting, regions)
            own = own + self.weights.fine_weight * fine[0]
            crossed = crossed + self.weights.fine_weight * fine[1]
        return own, crossed

    def _compare(
        self, styles: "StyleTargets", painting: Painting, regions: Sequence[tuple[Grams, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Sum both regions' distances to their own and to the other style, `(B,)` each.

        `regions`: Gram matrices and presence of foreground and background. Both distances of a
        region have one weight, so that the mixture stays the one that alpha asks for.
        """
        own = crossed = torch.zeros_like(painting.alpha)
        for index, (found, present) in enumerate(regions):
            row, other = self._row(painting, index), self._row(painting, 1 - index)
            weight = present * styles.weights[row]
            if index == 0:
                weight = weight * self.weights.foreground_style_weight
            own = own + weight * styles.distance(found, row)
            crossed = crossed + weight * styles.distance(found, other)
        return own, crossed

    def palette_terms(self, painting: Painting) -> tuple[Tensor, Tensor]:
        """Return the distance of both regions to their own and to the other palette, `(B,)`."""
        own = crossed = torch.zeros_like(painting.alpha)
        for index, place in enumerate((painting.mask, 1 - painting.mask)):
            present = presence(place.float())
            for other in (False, True):
                row = self._row(painting, 1 - index if other else index)
                distance = palette_distance(painting.stylized, place, self.palettes[row])
                if other:
                    crossed = crossed + present * distance
                else:
                    own = own + present * distance
        return own, crossed

    def _regions(self, painting: Painting, blended: Features) -> list[tuple[Grams, Tensor]]:
        """Style matrices and presence of the foreground and of the background."""
        if self.weights.guided_style:
            places = (painting.mask.float(), 1 - painting.mask.float())
            features = {layer: blended[layer] for layer in self.scales}
            return [(grams(features, place), presence(place)) for place in places]
        if painting.foreground is None or painting.background is None:
            raise ValueError("unguided style judges both branch images: give them")
        images = (painting.foreground, painting.background)
        whole = torch.ones_like(painting.alpha)
        return [(grams(self._features(image)), whole) for image in images]

    def _features(self, picture: Tensor, layers: Iterable[str] | None = None) -> Features:
        """VGG's activations of a picture, reduced first; `layers`: None for the style layers."""
        times = self.weights.vgg_downscale
        reduced = F.avg_pool2d(picture, times) if times > 1 else picture
        return self.vgg(reduced, self.scales if layers is None else layers)

    def _row(self, painting: Painting, index: int) -> Tensor:
        """The style of each picture's foreground (0) or background (1), `(B,)` or `(1,)`."""
        if painting.rows is None:
            return torch.tensor([index], device=self.palettes.device)
        return painting.rows[:, index]

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


class StyleTargets:
    """Gram matrices of every painting, and the weight of the distance to each."""

    def __init__(
        self, paintings: Sequence[Grams], scales: Mapping[str, float], weight: float
    ) -> None:
        """`paintings`: Gram matrices by layer, `(1, C, C)`; `scales`: weights of the layers.

        `weight`: of every distance; at 0 each painting has its own: the distance of nothing to it
        is then STYLE_STRENGTH. The term goes with the fourth power of contrast, and a quiet
        painting would have no effect beside a loud one.
        """
        self.scales = scales
        self.grams = {layer: torch.cat([g[layer] for g in paintings]) for layer in scales}
        nothing = {layer: torch.zeros_like(t) for layer, t in self.grams.items()}
        sizes = gram_distance(nothing, self.grams, scales)
        self.weights = torch.full_like(sizes, weight) if weight else STYLE_STRENGTH / sizes

    def distance(self, found: Grams, row: Tensor) -> Tensor:
        """Return the distance of each picture to its painting; `row`: `(B,)` or `(1,)`."""
        return gram_distance(found, {k: t[row] for k, t in self.grams.items()}, self.scales)


def grams(features: Features, place: Tensor | None = None) -> Grams:
    """Return the Gram matrices of layers, `(B, C, C)` each.

    `place`: what counts, `(B, 1, H, W)` in [0, 1] at the picture's size, None for all.
    """
    found = {}
    for layer, f in features.items():
        mask = None if place is None else F.interpolate(place, f.shape[-2:], mode="area")
        found[layer] = gram(f, mask)
    return found


def middle(picture: Tensor) -> tuple[Any, ...]:
    """Index the middle window of `(B, C, H, W)`, half as high and wide."""
    height, width = picture.shape[-2:]
    top, left = height // 4, width // 4
    return (..., slice(top, top + height // 2), slice(left, left + width // 2))


def presence(place: Tensor) -> Tensor:
    """Weight of a region's style, `(B, 1, H, W)` to `(B,)`: 1 from a tenth of the picture on.

    A few pixels say little of a style, and the less there is of a region, the less it counts.
    """
    return (place.mean(dim=(1, 2, 3)) / LEAST_REGION).clamp(max=1)
