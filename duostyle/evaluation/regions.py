"""Style by region: Gram distances by region and alpha, quality of the mask, the seam."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

import torch
from torch import Tensor

from duostyle.data.photos import Entry, find_labels
from duostyle.evaluation.metrics import (
    boundary_f,
    composite,
    iou,
    region_grams,
    relative_distance,
    seam_ratio,
    style_scale,
)
from duostyle.evaluation.options import Results, add_labeled_photos, add_pair
from duostyle.evaluation.pair import (
    FOREGROUND_SHARE,
    EvaluatedPair,
    has_both_regions,
    read_labeled,
)
from duostyle.progress import progress

NAME = "regions"
HELP = "style of each region by alpha, quality of the mask, visibility of the seam"
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
MASK_SHARE = 0.05  # least foreground share of the photographs whose mask is scored

Distances = tuple[float, float, float, float]  # foreground to styles 1 and 2, background to 1 and 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add_pair(parser)
    add_labeled_photos(parser)


def run(args: argparse.Namespace) -> Results:
    """Measure the pair, print the table and return all figures."""
    report = measure(EvaluatedPair.from_arguments(args), find_labels(args.photos, args.labels))
    print(table(report))
    return report.results()


@dataclass
class RegionReport:
    """Figures of a set of photographs; distances as by `relative_distance`."""

    distances: dict[float, list[Distances]] = field(default_factory=dict)  # by alpha
    ious: list[float] = field(default_factory=list)
    boundaries: list[float] = field(default_factory=list)  # boundary F-scores of the mask
    # At alpha 0 with the label as mask: ours, and the composite of the two branch images.
    seams: list[tuple[float, float]] = field(default_factory=list)

    def own_style_share(self) -> float:
        """Share of the photographs where, at alpha 0, each region is closer to its own style."""
        rows = self.distances[0.0]
        return sum(f1 < f2 and b2 < b1 for f1, f2, b1, b2 in rows) / len(rows)

    def mean(self, alpha: float) -> Distances:
        """The four distances at an alpha, averaged over the photographs."""
        f1, f2, b1, b2 = torch.tensor(self.distances[alpha]).mean(dim=0).tolist()
        return f1, f2, b1, b2

    def other_style_approaches(self) -> bool:
        """Whether each region's mean distance to the other style falls at every step of alpha."""
        other = [(self.mean(a)[1], self.mean(a)[2]) for a in sorted(self.distances)]
        return all(
            after[0] < before[0] and after[1] < before[1] for before, after in pairwise(other)
        )

    def mean_iou(self) -> float:
        """Mean IoU of the predicted mask."""
        return fmean(self.ious)

    def clean_seams(self) -> float:
        """Share of the photographs with a lower seam ratio than the composite's; NaN if none."""
        return fmean(ours < pasted for ours, pasted in self.seams) if self.seams else math.nan

    def mean_seams(self) -> tuple[float, float]:
        """Mean seam ratio: ours, and the composite's; NaN if there is none."""
        columns = zip(*self.seams, strict=True) if self.seams else ((math.nan,), (math.nan,))
        ours, pasted = (fmean(column) for column in columns)
        return ours, pasted

    def results(self) -> Results:
        """Return all figures, for JSON."""
        return {
            "regions_right": self.own_style_share(),
            "other_style_falls": self.other_style_approaches(),
            "mask_iou": self.mean_iou(),
            "mask_boundary_f": fmean(self.boundaries),
            "clean_seams": self.clean_seams() if self.seams else None,  # JSON has no NaN
            "mean_distances": {str(a): self.mean(a) for a in ALPHAS},
            "distances": {str(a): rows for a, rows in self.distances.items()},
            "ious": self.ious,
            "boundaries": self.boundaries,
            "seams": self.seams,
        }


@torch.inference_mode()
def measure(pair: EvaluatedPair, entries: Sequence[Entry]) -> RegionReport:
    """Measure a pair on labeled photographs; the labels define the regions.

    Raises PictureError if a photograph or a label cannot be read, ValueError if no photograph has
    10 to 70 % foreground.
    """
    targets = [region_grams(pair.vgg, style)[0] for style in pair.styles()]
    scale = style_scale(targets)
    report = RegionReport({alpha: [] for alpha in ALPHAS})
    for entry in progress(entries, name=NAME, unit="photo"):
        photo, mask, known = (x.to(pair.device) for x in read_labeled(entry, pair.classes))
        if mask.mean() < MASK_SHARE:
            continue
        encoded = pair.network.encode(photo)
        report.ious.append(iou(encoded.mask, mask, known))
        report.boundaries.append(boundary_f(encoded.mask * known, mask * known))
        if not has_both_regions(mask):
            continue
        for alpha in ALPHAS:
            stylized = pair.network.decode(encoded, alpha)
            foreground, background = region_grams(pair.vgg, stylized, mask, known - mask)
            f1, f2 = (relative_distance(foreground, target, scale) for target in targets)
            b1, b2 = (relative_distance(background, target, scale) for target in targets)
            report.distances[alpha].append((f1, f2, b1, b2))
        report.seams += _seams(pair, photo, mask)
    if not report.distances[0.0]:
        raise ValueError("no photograph has 10 to 70 % foreground")
    return report


def _seams(pair: EvaluatedPair, photo: Tensor, mask: Tensor) -> list[tuple[float, float]]:
    """Measure the seam of one photograph; empty if it cannot be measured."""
    view = pair.network.inspect(photo, 0.0, mask)
    ours = seam_ratio(view.stylized, mask)
    pasted = seam_ratio(composite(view.foreground, view.background, mask), mask)
    return [] if ours is None or pasted is None else [(ours, pasted)]


def table(report: RegionReport) -> str:
    """Format the figures for a terminal."""
    low, high = (round(100 * share) for share in FOREGROUND_SHARE)
    rows = []
    for alpha in ALPHAS:
        f1, f2, b1, b2 = report.mean(alpha)
        rows.append(f"{alpha:5.2f}   {f1:15.4f}  {f2:6.4f}     {b1:15.4f}  {b2:6.4f}")
    falls = "yes" if report.other_style_approaches() else "NO"
    ours, pasted = report.mean_seams()
    return "\n".join(
        [
            f"{len(report.distances[0.0])} photographs with {low} to {high} % foreground.",
            "Mean Gram distance of each region to both styles, relative to the mean squared norm",
            "of the styles' Gram matrices:",
            "alpha   foreground to 1, to 2     background to 1, to 2",
            *rows,
            f"regions closer to their own style at alpha 0: {100 * report.own_style_share():.1f} %",
            f"distance to the other style falls at every step: {falls}",
            f"mask: IoU {report.mean_iou():.3f}, boundary F {fmean(report.boundaries):.3f} "
            f"({len(report.ious)} photographs)",
            f"seam ratio below the composite's: {100 * report.clean_seams():.1f} % "
            f"(gradient at the seam over that inside the regions: ours {ours:.2f}, "
            f"composite {pasted:.2f})",
        ]
    )
