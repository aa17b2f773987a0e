"""The objective: style, style blend, content, smoothness, mask distillation."""

from .imitation import imitation_distance
from .mask import mask_distillation
from .objective import Objective, ObjectiveWeights, Painting
from .palette import palette, palette_distance
from .perceptual import PerceptualNetwork
from .smoothness import total_variation
from .steadiness import steadiness_distance
from .style import content_distance, gram, gram_distance

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
