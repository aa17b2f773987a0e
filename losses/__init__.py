"""The training objective: its terms, its weights, the VGG network, and the reference solver."""

from duostyle.losses.objective import Objective, ObjectiveInput, ObjectiveWeights
from duostyle.losses.perceptual import PerceptualNetwork
from duostyle.losses.terms import (
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

__all__ = [
    "Objective",
    "ObjectiveInput",
    "ObjectiveWeights",
    "PerceptualNetwork",
    "content_distance",
    "distillation_distance",
    "gram",
    "gram_distance",
    "mask_loss",
    "palette",
    "palette_distance",
    "temporal_distance",
    "total_variation",
]
