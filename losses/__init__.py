"""The objective: style, style blend, content, smoothness, mask distillation."""

from duostyle.losses.imitation import imitation_distance
from duostyle.losses.mask import mask_distillation
from duostyle.losses.objective import Objective, ObjectiveWeights, Painting
from duostyle.losses.palette import palette, palette_distance
from duostyle.losses.perceptual import PerceptualNetwork
from duostyle.losses.smoothness import total_variation
from duostyle.losses.steadiness import steadiness_distance
from duostyle.losses.style import content_distance, gram, gram_distance

__all__ = [
    "Objective",
    "ObjectiveWeights",
    "Painting",
    "PerceptualNetwork",
    "content_distance",
    "gram",
    "gram_distance",
    "imitation_distance",
    "mask_distillation",
    "palette",
    "palette_distance",
    "steadiness_distance",
    "total_variation",
]
