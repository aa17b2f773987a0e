"""Ours against the naive pipeline: segment, run two single-style networks, cut and paste."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from duostyle.data.masks import Segmenter, foreground_mask, segment
from duostyle.data.photos import Entry
from duostyle.evaluation.boundary import paste, seam
from duostyle.evaluation.peer_network import PeerNetwork
from duostyle.evaluation.regions import Grams, region_grams, relative_distance, style_scale
from duostyle.evaluation.subject import Subject, choose, read_labelled
from duostyle.losses import content_distance
from duostyle.losses.weights import read_weights, vgg16_weights
from duostyle.models import StyleNetwork

CONTENT_LAYER = "relu2_2"
Distance = Callable[[Tensor, Tensor], float]
Labelled = tuple[Tensor, Tensor, Tensor]  # photograph, foreground by the label, where known


@dataclass(frozen=True)
class Score:
    """One way of painting one photograph at alpha 0."""

    foreground_style: float  # Gram distance of the foreground to style 1, relative
    background_style: float
    content: float  # mean squared difference of relu2_2
    lpips: float  # to the photograph
    seam: float | None  # along the mask that this way painted by
    seconds: float  # segmentation included


@dataclass(frozen=True)
class Rivals:
    """The naive pipeline."""

    segmenter: Segmenter
    foreground: PeerNetwork
    background: PeerNetwork

    def mask(self, photo: Tensor, classes: Sequence[int]) -> Tensor:
        """What the segmenter takes for foreground, `(1, 1, H, W)`."""
        labels = segment(photo.cpu(), self.segmenter)
        return foreground_mask(labels, classes).to(photo.device)

    def paint(self, photo: Tensor, classes: Sequence[int]) -> Tensor:
        """`(1, 3, H, W)` in [0, 1] to the same: segmented, painted twice, pasted."""
        return self.paint_by(photo, self.mask(photo, classes))

    def paint_by(self, photo: Tensor, mask: Tensor) -> Tensor:
        """Painted twice and pasted by a mask `(1, 1, H, W)`."""
        height, width = photo.shape[-2:]
        first, second = (
            network(photo)[..., :height, :width] for network in (self.foreground, self.background)
        )
        return paste(first, second, mask)


def by_mask(
    network: StyleNetwork, foreground: PeerNetwork, background: PeerNetwork
) -> Callable[[Tensor], Tensor]:
    """Two single-style networks pasted by another network's learned mask."""

    def paint(photo: Tensor) -> Tensor:
        height, width = photo.shape[-2:]
        photo = photo.to(network.device)
        first, second = (peer(photo)[..., :height, :width] for peer in (foreground, background))
        return paste(first, second, network.inspect(photo, 0.0).mask).cpu()

    return paint


def lpips_distance(weights: Path | None, device: str) -> Distance:
    """LPIPS (Zhang et al. 2018) on VGG16, its trunk from a file, or fetched as ours is.

    Raises ValueError where the file does not hold all 13 convolutions, OSError without weights.
    """
    try:
        import lpips
    except ImportError:
        raise ValueError("peers needs lpips: pip install -e '.[evaluate]'") from None
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
class Judge:
    """Scores paintings of a pair's two styles."""

    subject: Subject
    distance: Distance
    targets: tuple[Grams, Grams]

    def score(self, painted: Tensor, own_mask: Tensor, entry: Labelled, seconds: float) -> Score:
        """`own_mask`: what it was painted by; `entry`: photograph, label's foreground, known."""
        photo, mask, known = entry
        vgg, scale = self.subject.vgg, style_scale(self.targets)
        grams = region_grams(vgg, painted, mask, known - mask)
        near = [relative_distance(g, t, scale) for g, t in zip(grams, self.targets, strict=True)]
        features, truth = (vgg(x, [CONTENT_LAYER])[CONTENT_LAYER] for x in (painted, photo))
        content = content_distance(features, truth).item()
        return Score(
            *near, content, self.distance(painted, photo), seam(painted, own_mask), seconds
        )


class Way(NamedTuple):
    """One way of painting, and the binary mask that it paints by."""

    paint: Callable[[Tensor], Tensor]
    mask: Callable[[Tensor], Tensor]


@torch.inference_mode()
def measure(
    subject: Subject, rivals: Rivals, distance: Distance, entries: Sequence[Entry], count: int
) -> dict[str, list[Score]]:
    """Paint `count` photographs with 10 to 70 % foreground both ways, in turn; all scores.

    Raises PictureError where a file cannot be read, ValueError where no photograph serves.
    """
    first, second = (region_grams(subject.vgg, style)[0] for style in subject.styles())
    judge = Judge(subject, distance, (first, second))
    ways = {
        "ours": Way(
            lambda photo: subject.network(photo, 0.0),
            lambda photo: (subject.network.inspect(photo, 0.0).mask > 0.5).float(),
        ),
        "naive": Way(
            lambda photo: rivals.paint(photo, subject.classes),
            lambda photo: rivals.mask(photo, subject.classes),
        ),
    }
    found: dict[str, list[Score]] = {name: [] for name in ways}
    chosen = choose(entries, subject.classes, count)
    for entry in tqdm(chosen, desc="peers", unit="photo", disable=None):
        labelled = tuple(x.to(subject.device) for x in read_labelled(entry, subject.classes))
        for name, way in ways.items():
            if not found[name]:
                way.paint(labelled[0])  # the first run pays for what later ones find ready
            painted, seconds = _timed(way.paint, labelled[0])
            found[name].append(judge.score(painted, way.mask(labelled[0]), labelled, seconds))
    return found


def _timed(paint: Callable[[Tensor], Tensor], photo: Tensor) -> tuple[Tensor, float]:
    """A painting and the seconds it took, the device's queue drained."""

    def drain() -> None:
        if photo.is_cuda:
            torch.cuda.synchronize(photo.device)

    drain()
    begun = time.perf_counter()
    painted = paint(photo)
    drain()
    return painted, time.perf_counter() - begun


def table(found: dict[str, list[Score]]) -> str:
    """Means over the photographs, for a terminal (the median of the seconds)."""
    lines = [f"{len(found['ours'])} photographs, alpha 0, mean (time: median); less is better:"]
    lines.append("       foreground style  background style  content  LPIPS   seam   seconds")
    for name, scores in found.items():
        seams = [score.seam for score in scores if score.seam is not None]
        seam_text = f"{fmean(seams):5.2f}" if seams else "    -"
        lines.append(
            f"{name:6s} {fmean(s.foreground_style for s in scores):16.4f}  "
            f"{fmean(s.background_style for s in scores):16.4f}  "
            f"{fmean(s.content for s in scores):7.3f}  {fmean(s.lpips for s in scores):5.3f}  "
            f"{seam_text}  {median(s.seconds for s in scores):8.3f}"
        )
    return "\n".join(lines)


def figures(found: dict[str, list[Score]]) -> dict[str, object]:
    """Every figure, for JSON."""
    return {name: [asdict(score) for score in scores] for name, scores in found.items()}
