"""The objective: weights, targets, and the weighted sum of the terms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import EllipsisType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.losses.perceptual import Features, PerceptualNetwork
from duostyle.losses.terms import (
    Grams,
    content_distance,
    distillation_distance,
    gram,
    gram_distance,
    mask_loss,
    palette,
    palette_distance,
    temporal_distance,
    total_variation,
)

MIN_REGION = 0.1  # share of the picture from which a region has its full weight
FINE_LAYERS = {"relu1_2": 1.0, "relu2_2": 2.0}  # brushwork and grain, at full resolution
STYLE_STRENGTH = 40.0  # style term of a picture with zero Gram matrices if no weight is given
# Names of weights in settings and checkpoints of former versions.
FORMER_NAMES = {"steady_weight": "temporal_weight", "imitation_weight": "distillation_weight"}


@dataclass(frozen=True)
class ObjectiveWeights:
    """Weights of the terms (dimensionless) and the VGG layers that they compare."""

    style_weight: float | None = None  # None: STYLE_STRENGTH over the norm of each style's targets
    foreground_style_weight: float = 1.0  # of the foreground's style, times style_weight
    fine_weight: float = 0.15  # of the style of FINE_LAYERS at full resolution, times style_weight
    palette_weight: float = 250.0
    content_weight: float = 1.2
    tv_weight: float = 6.0
    temporal_weight: float = 0.0
    mask_weight: float = 1.0
    distillation_weight: float = 100.0
    style_layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    style_layer_weights: tuple[float, ...] = (1.0, 2.0, 6.0, 24.0)
    content_layer: str = "relu3_3"
    vgg_downscale: int = 2  # factor by which pictures are reduced for VGG: larger strokes
    # Whether style is compared for each region of the blended picture, or, as in the reference
    # method, for both branch images as a whole, hidden parts included.
    guided_style: bool = True

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return the weights from a checkpoint's header, of former versions too.

        Raises ValueError for an unknown name.
        """
        renamed = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
        unknown = sorted(renamed.keys() - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"the objective has no {unknown[0]!r}")
        renamed["style_weight"] = renamed.get("style_weight") or None
        # JSON has no tuples.
        weights: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in renamed.items()
        }
        return cls(**weights)


class ObjectiveInput(NamedTuple):
    """What the objective judges: the blended picture and what it was made with."""

    stylized: Tensor  # (B, 3, H, W) in [0, 1]
    alpha: Tensor  # (B,) in [0, 1]
    mask: Tensor  # (B, 1, H, W) in [0, 1], 1 = foreground
    # Both branch images, (B, 3, H, W) in [0, 1]: the whole picture in one style. Only needed
    # without guided style.
    foreground: Tensor | None = None
    background: Tensor | None = None
    styles: Tensor | None = None  # (B, 2), styles of foreground and background; None: 0 and 1


class Objective:
    """All terms of the objective for a set of styles, weighted."""

    def __init__(
        self,
        vgg: PerceptualNetwork,
        styles: Sequence[Tensor | Sequence[Tensor]],
        weights: ObjectiveWeights,
    ) -> None:
        """Compute the targets.

        `styles`: the style images, `(1, 3, H, W)` in [0, 1]; of a pair, the foreground's first.
        Several images for a style: its Gram matrices and palette are their means.
        """
        self.vgg, self.weights = vgg, weights
        groups = [[style] if isinstance(style, Tensor) else list(style) for style in styles]
        layers = dict(zip(weights.style_layers, weights.style_layer_weights, strict=True))
        with torch.no_grad():
            grams = [
                mean_grams([compute_grams(self._features(image, layers)) for image in group])
                for group in groups
            ]
            fine = [
                mean_grams([compute_grams(vgg(image, FINE_LAYERS)) for image in group])
                for group in groups
            ]
        self.palettes = torch.cat(
            [torch.stack([palette(image) for image in group]).mean(dim=0) for group in groups]
        )
        self.style_targets = StyleTargets(grams, layers, weights.style_weight)
        self.fine_targets = StyleTargets(fine, FINE_LAYERS, weights.style_weight)

    def __call__(self, content: Tensor, inputs: ObjectiveInput) -> dict[str, Tensor]:
        """Return the weighted terms by name, averaged over the batch; their sum is the loss.

        `content`: the photographs, `(B, 3, H, W)` in [0, 1].
        """
        w = self.weights
        with torch.no_grad():
            content_target = self._features(content, [w.content_layer])[w.content_layer]
        layers = dict.fromkeys([*w.style_layers, w.content_layer])
        features = self._features(inputs.stylized, layers if w.guided_style else [w.content_layer])
        own, other = self.style_terms(inputs, features)
        terms = {
            "style": own,
            "blend": inputs.alpha * other,
            "content": w.content_weight
            * content_distance(features[w.content_layer], content_target),
            "tv": w.tv_weight * total_variation(inputs.stylized),
        }
        if w.palette_weight:
            own, other = self.palette_terms(inputs)
            terms["palette"] = w.palette_weight * (own + inputs.alpha * other)
        return {name: term.mean() for name, term in terms.items()}

    def style_terms(self, inputs: ObjectiveInput, features: Features) -> tuple[Tensor, Tensor]:
        """Return the weighted distance of both regions to their own and the other style, `(B,)`.

        `features`: VGG activations of `inputs.stylized`.
        """
        own, other = self._compare(self.style_targets, inputs, self._regions(inputs, features))
        if self.weights.fine_weight and self.weights.guided_style:
            window = center_window(inputs.stylized)
            mask = inputs.mask[window].float()
            fine = self.vgg(inputs.stylized[window], FINE_LAYERS)
            regions = [(compute_grams(fine, m), region_weight(m)) for m in (mask, 1 - mask)]
            fine_own, fine_other = self._compare(self.fine_targets, inputs, regions)
            own = own + self.weights.fine_weight * fine_own
            other = other + self.weights.fine_weight * fine_other
        return own, other

    def style_distance(self, picture: Tensor, style: int) -> Tensor:
        """Return the weighted distance of whole pictures `(B, 3, H, W)` to one style, `(B,)`."""
        grams = compute_grams(self._features(picture, self.style_targets.layers))
        index = torch.tensor([style], device=picture.device)
        return self.style_targets.weights[style] * self.style_targets.distance(grams, index)

    def _compare(
        self,
        targets: "StyleTargets",
        inputs: ObjectiveInput,
        regions: Sequence[tuple[Grams, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Sum the distances of both regions to their own and to the other style, `(B,)` each.

        `regions`: Gram matrices and weight of foreground and background. Both distances of a
        region get the weight of its own style, so that alpha alone sets the mixture.
        """
        own = other = torch.zeros_like(inputs.alpha)
        for index, (grams, weight) in enumerate(regions):
            style = self._style(inputs, index)
            weight = weight * targets.weights[style]
            if index == 0:
                weight = weight * self.weights.foreground_style_weight
            own = own + weight * targets.distance(grams, style)
            other = other + weight * targets.distance(grams, self._style(inputs, 1 - index))
        return own, other

    def palette_terms(self, inputs: ObjectiveInput) -> tuple[Tensor, Tensor]:
        """Return the distance of both regions to their own and to the other palette, `(B,)`."""
        own = other = torch.zeros_like(inputs.alpha)
        for index, mask in enumerate((inputs.mask, 1 - inputs.mask)):
            weight = region_weight(mask.float())
            own_palette, other_palette = (
                self.palettes[self._style(inputs, i)] for i in (index, 1 - index)
            )
            own = own + weight * palette_distance(inputs.stylized, mask, own_palette)
            other = other + weight * palette_distance(inputs.stylized, mask, other_palette)
        return own, other

    def _regions(self, inputs: ObjectiveInput, features: Features) -> list[tuple[Grams, Tensor]]:
        """Return Gram matrices and weight of the foreground and of the background."""
        if self.weights.guided_style:
            masks = (inputs.mask.float(), 1 - inputs.mask.float())
            features = {layer: features[layer] for layer in self.style_targets.layers}
            return [(compute_grams(features, mask), region_weight(mask)) for mask in masks]
        if inputs.foreground is None or inputs.background is None:
            raise ValueError("style without guidance needs both branch images")
        images = (inputs.foreground, inputs.background)
        weight = torch.ones_like(inputs.alpha)
        layers = self.style_targets.layers
        return [(compute_grams(self._features(image, layers)), weight) for image in images]

    def _features(self, picture: Tensor, layers: Iterable[str]) -> Features:
        """Return VGG's activations of the reduced picture."""
        factor = self.weights.vgg_downscale
        return self.vgg(F.avg_pool2d(picture, factor) if factor > 1 else picture, layers)

    def _style(self, inputs: ObjectiveInput, index: int) -> Tensor:
        """Return the style of the foreground (0) or background (1), `(B,)` or `(1,)`."""
        if inputs.styles is None:
            return torch.tensor([index], device=self.palettes.device)
        return inputs.styles[:, index]

    def mask_term(
        self, logits: Tensor, target: Tensor, valid: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted mask term by name; arguments as of `mask_loss`."""
        return {"mask": self.weights.mask_weight * mask_loss(logits, target, valid).mean()}

    def temporal_term(self, stylized: Tensor, warped: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Return the weighted temporal term by name; arguments as of `temporal_distance`."""
        distance = temporal_distance(stylized, warped, valid).mean()
        return {"temporal": self.weights.temporal_weight * distance}

    def distillation_term(self, stylized: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Return the weighted distillation term by name; `distillation_distance`'s arguments."""
        distance = distillation_distance(stylized, teacher).mean()
        return {"distillation": self.weights.distillation_weight * distance}


class StyleTargets:
    """Gram matrices of the styles, and the weight of the distance to each."""

    def __init__(
        self, styles: Sequence[Grams], layers: Mapping[str, float], weight: float | None
    ) -> None:
        """Stack the targets.

        `styles`: Gram matrices by layer, `(1, C, C)` each; `layers`: weights of the layers;
        `weight`: of every distance. None: each style's own, such that the distance of zero Gram
        matrices is STYLE_STRENGTH. The distance grows with the fourth power of the contrast;
        with one weight a style of low contrast would have no effect beside one of high contrast.
        """
        self.layers = layers
        self.grams = {layer: torch.cat([g[layer] for g in styles]) for layer in layers}
        zeros = {layer: torch.zeros_like(t) for layer, t in self.grams.items()}
        norms = gram_distance(zeros, self.grams, layers)
        self.weights = STYLE_STRENGTH / norms if weight is None else torch.full_like(norms, weight)

    def distance(self, grams: Grams, style: Tensor) -> Tensor:
        """Return the distance of each picture to its style; `style`: `(B,)` or `(1,)`."""
        targets = {layer: t[style] for layer, t in self.grams.items()}
        return gram_distance(grams, targets, self.layers)


def compute_grams(features: Features, mask: Tensor | None = None) -> Grams:
    """Return the Gram matrices by layer, `(B, C, C)` each.

    `mask`: weights of the positions, `(B, 1, H, W)` in [0, 1] at the picture's size.
    """
    grams = {}
    for layer, f in features.items():
        resized = None if mask is None else F.interpolate(mask, f.shape[-2:], mode="area")
        grams[layer] = gram(f, resized)
    return grams


def mean_grams(images: Sequence[Grams]) -> Grams:
    """Return the means of the Gram matrices of several images, by layer."""
    return {layer: torch.stack([grams[layer] for grams in images]).mean(0) for layer in images[0]}


def center_window(picture: Tensor) -> tuple[EllipsisType, slice, slice]:
    """Return the index of the center window of `(B, C, H, W)`, half as high and half as wide."""
    height, width = picture.shape[-2:]
    top, left = height // 4, width // 4
    return (..., slice(top, top + height // 2), slice(left, left + width // 2))


def region_weight(mask: Tensor) -> Tensor:
    """Return the weight of a region's style, `(B, 1, H, W)` to `(B,)`.

    Proportional to its area, and 1 from MIN_REGION of the picture on: a few pixels say little
    about style.
    """
    return (mask.mean(dim=(1, 2, 3)) / MIN_REGION).clamp(max=1)
