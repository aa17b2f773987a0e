"""The pair against the baseline: segmentation, two single-style networks, a composite."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import torch
from torch import Tensor

from duostyle.data.photos import Entry, find_labels
from duostyle.evaluation.metrics import (
    Grams,
    region_grams,
    relative_distance,
    seam_ratio,
    style_scale,
)
from duostyle.evaluation.options import (
    Results,
    add_baseline,
    add_labeled_photos,
    add_pair,
    add_segmenter,
)
from duostyle.evaluation.pair import EvaluatedPair, read_labeled, select_photos
from duostyle.evaluation.single_style import Baseline
from duostyle.losses import content_distance
from duostyle.losses.perceptual import read_weights, vgg16_weights
from duostyle.progress import progress

NAME = "baseline"
HELP = "the pair against segmentation, two single-style networks and a composite"
CONTENT_LAYER = "relu2_2"
Distance = Callable[[Tensor, Tensor], float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add_pair(parser)
    add_labeled_photos(parser, count=40)
    add_baseline(parser, required=True)
    add_segmenter(parser)


def run(args: argparse.Namespace) -> Results:
    """Compare both methods, print the table and return all scores."""
    entries, pair = find_labels(args.photos, args.labels), EvaluatedPair.from_arguments(args)
    baseline = Baseline.load(args.segmenter, args.baseline, pair.device)
    distance = lpips_distance(args.vgg_weights, pair.device)
    scores = measure(pair, baseline, distance, entries, args.count)
    print(table(scores))
    return {name: [asdict(score) for score in found] for name, found in scores.items()}


@dataclass(frozen=True)
class Score:
    """One photograph stylized by one method at alpha 0; lower is better."""

    foreground_style: float  # relative Gram distance of the foreground to style 1
    background_style: float  # relative Gram distance of the background to style 2
    content: float  # mean squared difference of relu2_2
    lpips: float  # to the photograph
    seam: float | None  # seam ratio along the method's own mask
    seconds: float  # segmentation included


class Method(NamedTuple):
    """A method of stylization, and the binary mask that it uses."""

    stylize: Callable[[Tensor], Tensor]
    mask: Callable[[Tensor], Tensor]


def lpips_distance(weights: Path | None, device: str) -> Distance:
    """Load LPIPS (Zhang et al. 2018) on VGG16, its trunk from a file or downloaded.

    Raises ValueError if LPIPS is not installed or the file does not hold all 13 convolutions,
    OSError if the weights cannot be downloaded.
    """
    try:
        import lpips
    except ImportError:
        raise ValueError("this evaluation needs LPIPS: pip install 'duostyle[evaluate]'") from None
    state = read_weights(weights) if weights else vgg16_weights()
    network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    trunk = {}
    for name in network.net.state_dict():
        known = name.replace(name.split(".")[0], "features")  # slice3.12.weight
        if known not in state:
            raise ValueError(f"{weights}: LPIPS needs all 13 convolutions, {known} is missing")
        trunk[name] = state[known].float()
    network.net.load_state_dict(trunk)
    network = network.eval().requires_grad_(False).to(device)
    return lambda one, two: network(one, two, normalize=True).item()


@dataclass(frozen=True)
class Scorer:
    """Scores stylized pictures by a pair's two styles."""

    pair: EvaluatedPair
    distance: Distance
    targets: tuple[Grams, Grams]

    def __call__(
        self,
        stylized: Tensor,
        own_mask: Tensor,
        labeled: tuple[Tensor, Tensor, Tensor],
        seconds: float,
    ) -> Score:
        """Score one picture.

        `own_mask`: the mask that it was combined by; `labeled`: from `read_labeled`.
        """
        photo, mask, known = labeled
        vgg, scale = self.pair.vgg, style_scale(self.targets)
        foreground, background = region_grams(vgg, stylized, mask, known - mask)
        features, truth = (vgg(x, [CONTENT_LAYER])[CONTENT_LAYER] for x in (stylized, photo))
        return Score(
            foreground_style=relative_distance(foreground, self.targets[0], scale),
            background_style=relative_distance(background, self.targets[1], scale),
            content=content_distance(features, truth).item(),
            lpips=self.distance(stylized, photo),
            seam=seam_ratio(stylized, own_mask),
            seconds=seconds,
        )


@torch.inference_mode()
def measure(
    pair: EvaluatedPair,
    baseline: Baseline,
    distance: Distance,
    entries: Sequence[Entry],
    count: int,
) -> dict[str, list[Score]]:
    """Stylize `count` photographs with 10 to 70 % foreground by both methods in turn.

    Returns the scores of "ours" and "baseline". Raises PictureError if a file cannot be read,
    ValueError if no photograph is suitable.
    """
    first, second = (region_grams(pair.vgg, style)[0] for style in pair.styles())
    score = Scorer(pair, distance, (first, second))
    methods = {
        "ours": Method(
            lambda photo: pair.network(photo, 0.0),
            lambda photo: (pair.network.encode(photo).mask > 0.5).float(),
        ),
        "baseline": Method(
            lambda photo: baseline.stylize(photo, pair.classes),
            lambda photo: baseline.mask(photo, pair.classes),
        ),
    }
    scores: dict[str, list[Score]] = {name: [] for name in methods}
    for entry in progress(select_photos(entries, pair.classes, count), name=NAME, unit="photo"):
        photo, mask, known = (x.to(pair.device) for x in read_labeled(entry, pair.classes))
        for name, method in methods.items():
            if not scores[name]:
                method.stylize(photo)  # warm-up
            stylized, seconds = _timed(method.stylize, photo)
            scores[name].append(score(stylized, method.mask(photo), (photo, mask, known), seconds))
    return scores


def _timed(stylize: Callable[[Tensor], Tensor], photo: Tensor) -> tuple[Tensor, float]:
    """Stylize, and measure the seconds until the device has finished."""

    def synchronize() -> None:
        if photo.is_cuda:
            torch.cuda.synchronize(photo.device)

    synchronize()
    start = time.perf_counter()
    stylized = stylize(photo)
    synchronize()
    return stylized, time.perf_counter() - start


def table(scores: dict[str, list[Score]]) -> str:
    """Format the mean scores (the median time) for a terminal."""
    lines = [
        f"{len(scores['ours'])} photographs, alpha 0, mean (seconds: median); lower is better:"
    ]
    lines.append("          foreground style  background style  content  LPIPS   seam   seconds")
    for name, found in scores.items():
        seams = [score.seam for score in found if score.seam is not None]
        seam = f"{fmean(seams):5.2f}" if seams else "    -"
        lines.append(
            f"{name:9s} {fmean(s.foreground_style for s in found):16.4f}  "
            f"{fmean(s.background_style for s in found):16.4f}  "
            f"{fmean(s.content for s in found):7.3f}  {fmean(s.lpips for s in found):5.3f}  "
            f"{seam}  {median(s.seconds for s in found):8.3f}"
        )
    return "\n".join(lines)
