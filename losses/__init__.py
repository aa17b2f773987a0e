"""The objective: style, style blend, content, smoothness, mask distillation."""

from .imitation import imitation_distance
from .mask import mask_distillation
from .objective import Objective, ObjectiveWeights, Painting
from .perceptual import PerceptualNetwork
from .smoothness import total_variation
from .steadiness import steadiness_distance
from .style import content_distance, gram, gram_distance, style_matrices
from .tone import tone_distance, tone_target

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
    "steadiness_distance",
    "style_matrices",
    "tone_distance",
    "tone_target",
    "total_variation",
]
