"""Who wears what: Gram distances by region and alpha, and the learned mask against labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from data.images import list_pictures, read_picture, sha256
from data.masks import IGNORE, foreground_mask, read_labels
from data.photos import Entry
from losses import PerceptualNetwork, gram
from models import StyleNetwork

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
REGION_SHARE = (0.10, 0.70)  # foreground share of the photographs whose regions are compared
MASK_SHARE = 0.05  # least foreground share of the photographs whose mask is scored

Grams = dict[str, Tensor]


@dataclass
class Regions:
    """Figures over a set of photographs; distances are relative, see `relative_distance`."""

    # By alpha, one value a photograph: foreground to styles 1 and 2, background to 1 and 2.
    distances: dict[float, list[tuple[float, float, float, float]]] = field(default_factory=dict)
    ious: list[float] = field(default_factory=list)

    def right(self) -> float:
        """Share of the photographs where, at alpha 0, each region is nearer to its own style."""
        rows = self.distances[0.0]
        return sum(f1 < f2 and b2 < b1 for f1, f2, b1, b2 in rows) / len(rows)

    def mean(self, alpha: float) -> tuple[float, float, float, float]:
        """The four distances at an alpha, averaged over the photographs."""
        columns = torch.tensor(self.distances[alpha]).mean(dim=0).tolist()
        return tuple(columns)

    def falls(self) -> bool:
        """Whether each region's mean distance to the other style falls at every alpha step."""
        other = [(self.mean(a)[1], self.mean(a)[2]) for a in sorted(self.distances)]
        return all(
            after[0] < before[0] and after[1] < before[1] for before, after in pairwise(other)
        )

    def mean_iou(self) -> float:
        """Mean IoU of the learned mask."""
        return sum(self.ious) / len(self.ious)


def relative_distance(grams: Grams, target: Grams, scale: dict[str, float]) -> float:
    """`mean_l |G_l - T_l|^2 / scale_l`; with `style_scale` every layer counts alike."""
    ratios = [(grams[k] - target[k]).square().sum().item() / scale[k] for k in LAYERS]
    return sum(ratios) / len(ratios)


def style_scale(targets: Sequence[Grams]) -> dict[str, float]:
    """Mean squared norm of the styles' Gram matrices by layer: one yardstick for all of them."""
    return {k: sum(t[k].square().sum().item() for t in targets) / len(targets) for k in LAYERS}


def region_grams(vgg: PerceptualNetwork, picture: Tensor, *masks: Tensor) -> list[Grams]:
    """Gram matrices of a picture `(1, 3, H, W)` within each mask, or of the whole without one.

    Masks `(1, 1, H, W)` are reduced to each layer's size.
    """
    features = vgg(picture, LAYERS)
    if not masks:
        return [{layer: gram(f) for layer, f in features.items()}]
    return [
        {k: gram(f, F.interpolate(mask, f.shape[-2:], mode="area")) for k, f in features.items()}
        for mask in masks
    ]


def iou(mask: Tensor, target: Tensor, known: Tensor) -> float:
    """Intersection over union of `mask > 0.5` with a binary target, where it is known."""
    found, wanted = (mask > 0.5) & (known > 0), (target > 0.5) & (known > 0)
    return (found & wanted).sum().item() / max((found | wanted).sum().item(), 1)


@torch.inference_mode()
def measure(
    network: StyleNetwork,
    vgg: PerceptualNetwork,
    styles: tuple[Tensor, Tensor],
    entries: Sequence[Entry],
    classes: Sequence[int],
) -> Regions:
    """Measure a network on labelled photographs; the regions are the labels'.

    `styles`: the foreground's and the background's, `(1, 3, H, W)` each. Raises PictureError
    where a photograph or a label cannot be read.
    """
    targets = [region_grams(vgg, style)[0] for style in styles]
    scale = style_scale(targets)
    figures = Regions({alpha: [] for alpha in ALPHAS})
    for entry in tqdm(entries, desc="regions", unit="photo", disable=None):
        photo, mask, known = _read(entry, classes)
        share = mask.mean().item()
        if share >= MASK_SHARE:
            figures.ious.append(iou(network.inspect(photo, 0.0).mask, mask, known))
        if not REGION_SHARE[0] <= share <= REGION_SHARE[1]:
            continue
        for alpha in ALPHAS:
            painted = network(photo, alpha)
            regions = region_grams(vgg, painted, mask, known - mask)
            row = tuple(relative_distance(g, t, scale) for g in regions for t in targets)
            figures.distances[alpha].append(row)
    return figures


def _read(entry: Entry, classes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    photo, labels = read_picture(entry.photo).pixels[None], read_labels(entry.label)[None]
    labels = F.interpolate(labels, photo.shape[-2:], mode="nearest")
    return photo, foreground_mask(labels, classes), (labels != IGNORE).float()


def find_style(style: dict[str, str], folder: Path) -> Path:
    """The image of a checkpoint's style in a folder, found by its SHA-256.

    Raises FileNotFoundError where it is not there.
    """
    for path in list_pictures(folder):
        if sha256(path) == style["sha256"]:
            return path
    raise FileNotFoundError(
        f"{style['name']}: its image is not in {folder.name}/; name both images with --styles"
    )
