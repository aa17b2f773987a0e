"""Metrics of stylized pictures: style by region, mask, visible seam, warping error."""

from collections.abc import Mapping, Sequence
from math import ceil, hypot

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from duostyle.evaluation.options import opencv
from duostyle.losses import PerceptualNetwork, gram

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
TOLERANCE = 0.0075  # distance of matching boundaries, as a share of the picture's diagonal
BAND = 2  # pixels on each side of the boundary that belong to the seam
CLEARANCE = 8  # pixels between the boundary and the inside of a region

Grams = dict[str, Tensor]


def region_grams(vgg: PerceptualNetwork, picture: Tensor, *masks: Tensor) -> list[Grams]:
    """Compute the Gram matrices of a picture within each mask, or of the whole without masks.

    `picture`: `(1, 3, H, W)` in [0, 1]; `masks`: `(1, 1, H, W)`, reduced to each layer's size.
    """
    features = vgg(picture, LAYERS)
    if not masks:
        return [{layer: gram(f) for layer, f in features.items()}]
    return [
        {k: gram(f, F.interpolate(mask, f.shape[-2:], mode="area")) for k, f in features.items()}
        for mask in masks
    ]


def style_scale(targets: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Compute the mean squared norm of the styles' Gram matrices, by layer."""
    return {k: sum(t[k].square().sum().item() for t in targets) / len(targets) for k in LAYERS}


def relative_distance(
    grams: Mapping[str, Tensor], target: Mapping[str, Tensor], scale: Mapping[str, float]
) -> float:
    """Compute the mean over the layers of `|G_l - T_l|^2 / scale_l`.

    `scale`: from `style_scale`, so that all layers have equal weight.
    """
    ratios = [(grams[k] - target[k]).square().sum().item() / scale[k] for k in LAYERS]
    return sum(ratios) / len(ratios)


def iou(mask: Tensor, target: Tensor, known: Tensor) -> float:
    """Intersection over union of `mask > 0.5` and a binary target, where `known` is 1."""
    found, wanted = (mask > 0.5) & (known > 0), (target > 0.5) & (known > 0)
    return (found & wanted).sum().item() / max((found | wanted).sum().item(), 1)


def boundary_f(mask: Tensor, target: Tensor) -> float:
    """Boundary F-score of `mask > 0.5` and a binary target (Perazzi et al. 2016).

    Both `(1, 1, H, W)`. The harmonic mean of precision and recall of the boundary pixels; pixels
    match within 0.75 % of the diagonal. 1 if neither has a boundary, 0 if only one has.
    """
    found, wanted = _boundary((mask > 0.5).float()), _boundary((target > 0.5).float())
    if not found.any() or not wanted.any():
        return float(found.any().item() == wanted.any().item())
    radius = ceil(TOLERANCE * hypot(*mask.shape[-2:]))
    precision = _dilate(wanted, radius)[found > 0].mean().item()
    recall = _dilate(found, radius)[wanted > 0].mean().item()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def seam_ratio(picture: Tensor, mask: Tensor) -> float | None:
    """Ratio of the mean gradient magnitude at the mask's boundary to that inside the regions.

    `picture`: `(1, 3, H, W)` in [0, 1]; `mask`: binary, `(1, 1, H, W)`. 1 means that the seam has
    as much contrast as the rest. None if the mask has no boundary, or the regions have no inside.
    """
    boundary = _boundary(mask)
    band, inside = _dilate(boundary, BAND) > 0, _dilate(boundary, CLEARANCE) == 0
    if not boundary.any() or not inside.any():
        return None
    magnitude = _gradient_magnitude(picture)
    return (magnitude[band].mean() / magnitude[inside].mean().clamp_min(1e-6)).item()


def composite(foreground: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """Combine two pictures `(B, 3, H, W)` by a mask `(B, 1, H, W)`, 1 = foreground."""
    return mask * foreground + (1 - mask) * background


def _boundary(mask: Tensor) -> Tensor:
    """Mark the mask's pixels that have a 4-neighbor outside of it."""
    padded = F.pad(mask, (1, 1, 1, 1), mode="replicate")
    up, down = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    least = torch.stack([up, down, left, right]).amin(dim=0)
    return mask * (1 - least)


def _dilate(mask: Tensor, radius: int) -> Tensor:
    return F.max_pool2d(mask, 2 * radius + 1, stride=1, padding=radius)


def _gradient_magnitude(picture: Tensor) -> Tensor:
    """Gradient magnitude, averaged over the channels, `(1, 1, H, W)`."""
    padded = F.pad(picture, (0, 1, 0, 1), mode="replicate")
    down = padded[..., 1:, :-1] - picture
    across = padded[..., :-1, 1:] - picture
    return (down.square() + across.square()).sqrt().mean(dim=1, keepdim=True)


class FlowWarp:
    """Warps a frame to the next one by DIS optical flow (Kroeger et al. 2016).

    `valid`: boolean, `(H, W)`; False where a pixel was occluded or its flow is unreliable, by a
    forward-backward check (Sundaram et al. 2010).
    """

    def __init__(self, before: Tensor, now: Tensor) -> None:
        """Estimate the flow between two frames, `(1, 3, H, W)` in [0, 1].

        Raises ValueError if OpenCV is not installed.
        """
        cv2 = opencv()
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        first, second = _gray(before), _gray(now)
        backward = dis.calc(second, first, None)
        forward = dis.calc(first, second, None)
        rows, columns = np.indices(first.shape, dtype=np.float32)
        self.x, self.y = columns + backward[..., 0], rows + backward[..., 1]
        returned = cv2.remap(forward, self.x, self.y, cv2.INTER_LINEAR)
        mismatch = np.square(backward + returned).sum(axis=2)
        length = np.square(backward).sum(axis=2) + np.square(returned).sum(axis=2)
        height, width = first.shape
        inside = (self.x >= 0) & (self.x <= width - 1) & (self.y >= 0) & (self.y <= height - 1)
        self.valid: NDArray[np.bool_] = inside & (mismatch < 0.01 * length + 0.5)

    def error(self, before: Tensor, now: Tensor) -> float:
        """Root mean square difference of `now` and the warped `before` over the valid pixels.

        `(1, C, H, W)` each, of the frames' size. 0 if no pixel is valid.
        """
        if not self.valid.any():
            return 0.0
        cv2 = opencv()
        warped = cv2.remap(_array(before), self.x, self.y, cv2.INTER_LINEAR)
        warped = warped.reshape(*self.valid.shape, -1)  # remap drops a single channel
        difference = (_array(now) - warped)[self.valid]
        return float(np.sqrt(np.square(difference).mean()))


def _array(picture: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(picture[0].permute(1, 2, 0).float().cpu().numpy())


def _gray(picture: Tensor) -> NDArray[np.uint8]:
    return (picture[0].mean(dim=0) * 255).round().to(torch.uint8).cpu().numpy()
