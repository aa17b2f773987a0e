"""Who wears what: Gram distances by region and alpha, the mask against labels, the seam."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from duostyle.data.photos import Entry
from duostyle.evaluation.boundary import boundary_f, paste, seam
from duostyle.evaluation.subject import REGION_SHARE, Subject, compared, read_labelled
from duostyle.losses import PerceptualNetwork, gram

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
MASK_SHARE = 0.05  # least foreground share of the photographs whose mask is scored

Grams = dict[str, Tensor]


@dataclass
class Regions:
    """Figures over a set of photographs; distances are relative, see `relative_distance`."""

    # By alpha, one value a photograph: foreground to styles 1 and 2, background to 1 and 2.
    distances: dict[float, list[tuple[float, float, float, float]]] = field(default_factory=dict)
    ious: list[float] = field(default_factory=list)
    boundaries: list[float] = field(default_factory=list)  # boundary F-scores of the mask
    # At alpha 0 under the labels' mask: ours, and the branch images cut and pasted.
    seams: list[tuple[float, float]] = field(default_factory=list)

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
        return fmean(self.ious)

    def clean_seams(self) -> float:
        """Share of the photographs whose seam shows less than that of the naive composite."""
        return fmean(ours < naive for ours, naive in self.seams) if self.seams else math.nan

    def mean_seams(self) -> tuple[float, float]:
        """The seam's gradient over that inside: ours, and the naive composite's."""
        columns = zip(*self.seams, strict=True) if self.seams else ((math.nan,), (math.nan,))
        ours, naive = (fmean(column) for column in columns)
        return ours, naive


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
def measure(subject: Subject, entries: Sequence[Entry]) -> Regions:
    """Measure a pair on labelled photographs; the regions are the labels'.

    Raises PictureError where a photograph or a label cannot be read.
    """
    targets = [region_grams(subject.vgg, style)[0] for style in subject.styles()]
    scale = style_scale(targets)
    found = Regions({alpha: [] for alpha in ALPHAS})
    for entry in tqdm(entries, desc="regions", unit="photo", disable=None):
        photo, mask, known = (x.to(subject.device) for x in read_labelled(entry, subject.classes))
        if mask.mean() >= MASK_SHARE:
            view = subject.network.inspect(photo, 0.0)
            found.ious.append(iou(view.mask, mask, known))
            found.boundaries.append(boundary_f(view.mask * known, mask * known))
        if not compared(mask):
            continue
        for alpha in ALPHAS:
            painted = subject.network(photo, alpha) if alpha else view.stylized
            regions = region_grams(subject.vgg, painted, mask, known - mask)
            row = tuple(relative_distance(g, t, scale) for g in regions for t in targets)
            found.distances[alpha].append(row)
        _add_seam(found, subject, photo, mask)
    return found


def _add_seam(found: Regions, subject: Subject, photo: Tensor, mask: Tensor) -> None:
    view = subject.network.inspect(photo, 0.0, mask)
    composite = paste(view.foreground, view.background, mask)
    ours, naive = seam(view.stylized, mask), seam(composite, mask)
    if ours is not None and naive is not None:
        found.seams.append((ours, naive))


def table(found: Regions) -> str:
    """The figures for a terminal. Raises ValueError where no photograph could be compared."""
    if not found.distances[0.0]:
        raise ValueError("no photograph has 10 to 70 % foreground")
    low, high = (round(100 * share) for share in REGION_SHARE)
    rows = []
    for alpha in ALPHAS:
        f1, f2, b1, b2 = found.mean(alpha)
        rows.append(f"{alpha:5.2f}   {f1:15.4f}  {f2:6.4f}     {b1:15.4f}  {b2:6.4f}")
    falls = "yes" if found.falls() else "NO"
    ours, naive = found.mean_seams()
    return "\n".join(
        [
            f"{len(found.distances[0.0])} photographs with {low} to {high} % foreground;",
            "Gram distance of each region to the two styles (1 = the styles' own mean squared "
            "norm),",
            "averaged:",
            "alpha   foreground to 1, to 2     background to 1, to 2",
            *rows,
            f"each region nearer to its own style at alpha 0: {100 * found.right():.1f} %",
            f"distance to the other style falls at every step: {falls}",
            f"mask: IoU {found.mean_iou():.3f}, boundary F {fmean(found.boundaries):.3f} "
            f"({len(found.ious)} photographs)",
            f"seam below the naive composite's: {100 * found.clean_seams():.1f} % "
            f"(gradient across it over that inside, ours {ours:.2f}, naive {naive:.2f})",
        ]
    )


def figures(found: Regions) -> dict[str, object]:
    """Every figure, for JSON."""
    return {
        "regions_right": found.right(),
        "other_style_falls": found.falls(),
        "mask_iou": found.mean_iou(),
        "mask_boundary_f": fmean(found.boundaries),
        "clean_seams": found.clean_seams() if found.seams else None,  # JSON knows no nan
        "mean_distances": {str(a): found.mean(a) for a in ALPHAS},
        "distances": {str(a): rows for a, rows in found.distances.items()},
        "ious": found.ious,
        "boundaries": found.boundaries,
        "seams": found.seams,
    }
