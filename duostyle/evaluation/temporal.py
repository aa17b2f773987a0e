"""Temporal consistency: warping error, mask quality and stability, flicker of a static scene."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from duostyle.evaluation.metrics import FlowWarp, iou
from duostyle.evaluation.options import (
    PHOTO,
    Results,
    add_baseline,
    add_pair,
    add_segmenter,
    add_size,
    positive_int,
)
from duostyle.evaluation.pair import EvaluatedPair
from duostyle.evaluation.single_style import Baseline
from duostyle.inference.mask_memory import STEADY_MASK, MaskMemory
from duostyle.inference.temporal_filter import TemporalFilter
from duostyle.io.images import PictureError, list_pictures, natural_order, read_mask, read_picture
from duostyle.io.pixels import frames_to_tensor, long_side, resize
from duostyle.io.video import Frame, VideoReader
from duostyle.models import StyleNetwork, load_pair
from duostyle.progress import progress

NAME = "temporal"
HELP = "temporal consistency of stylized clips"
NOISE = 4 / 255  # standard deviation of the simulated sensor noise
STATIC_FRAMES = 8
SOURCE = "source"  # the clip itself


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add_pair(parser)
    parser.add_argument(
        "clips",
        nargs="+",
        type=Path,
        metavar="CLIP",
        help="video, folder of frames, or folder that contains frames/ and masks/",
    )
    parser.add_argument(
        "--frames", type=positive_int, default=40, help="frames of each clip (default: 40)"
    )
    add_size(parser, "long", 640)
    parser.add_argument(
        "--still",
        type=Path,
        default=PHOTO,
        help="photograph of the static scene (default: the bundled one)",
    )
    parser.add_argument(
        "--steady",
        type=float,
        default=0.9,
        help="strength of the temporal filter, as for duostyle paint (default: 0.9)",
    )
    parser.add_argument(
        "--steady-mask",
        type=float,
        default=STEADY_MASK,
        help=f"strength of the mask's memory, as for duostyle paint (default: {STEADY_MASK})",
    )
    parser.add_argument(
        "--others", nargs="*", default=[], metavar="CHECKPOINT", help="checkpoints to compare with"
    )
    add_baseline(parser)
    add_segmenter(parser)


def run(args: argparse.Namespace) -> Results:
    """Measure every method on every clip, print the table and return all figures."""
    pair = EvaluatedPair.from_arguments(args)
    methods = {
        "ours": by_network(pair.network),
        "ours, mask kept": by_network(pair.network, steady_mask=args.steady_mask),
        "ours, filtered": by_network(pair.network, args.steady, args.steady_mask),
    }
    for checkpoint in args.others:
        methods[checkpoint] = by_network(load_pair(checkpoint, pair.device))
    if args.baseline:
        baseline = Baseline.load(args.segmenter, args.baseline, pair.device)
        methods["baseline"] = by_baseline(baseline, pair.classes)
    static = flicker(read_picture(args.still).pixels[None], methods, pair.device)
    scores = [
        score
        for clip in args.clips
        for score in measure_clip(clip, methods, args.frames, args.size, pair.device)
    ]
    print(table(scores, static))
    return {"clips": [asdict(score) for score in scores], "still": static}


class StylizedFrame(NamedTuple):
    """One frame as a method stylizes it."""

    stylized: Tensor  # (1, 3, H, W) in [0, 1]
    mask: Tensor | None = None  # (1, 1, H, W) in [0, 1]


StylizeFrame = Callable[[Tensor], StylizedFrame]
Methods = Mapping[str, Callable[[], StylizeFrame]]  # by name; called at the start of every clip


class ClipFrame(NamedTuple):
    """A frame of a clip."""

    pixels: Tensor  # (1, 3, H, W) in [0, 1]
    true_mask: Tensor | None  # (1, 1, H, W) in [0, 1]; None if unknown


@dataclass
class ClipScore:
    """One method on one clip."""

    clip: str
    method: str
    warping: float = 0.0  # warping error, mean over pairs of frames
    mask_iou: float | None = None  # mean over the frames with a true mask
    mask_change: float | None = None  # warping error of the mask, mean over pairs of frames
    warpings: list[float] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)


def by_network(
    network: StyleNetwork, steady: float = 0.0, steady_mask: float = 0.0
) -> Callable[[], StylizeFrame]:
    """Stylize by a network at alpha 0.

    `steady`, `steady_mask`: strengths of `TemporalFilter` and `MaskMemory`, 0 = off.
    """

    def begin() -> StylizeFrame:
        temporal_filter: TemporalFilter[str] = TemporalFilter(steady)
        memory = MaskMemory(steady_mask)

        def stylize(frame: Tensor) -> StylizedFrame:
            encoded = network.encode(frame)
            encoded = network.change_mask(encoded, lambda learned: memory(frame, learned))
            results = {"stylized": network.decode(encoded, 0.0), "mask": encoded.mask}
            return StylizedFrame(**temporal_filter(frame, results))

        return stylize

    return begin


def by_baseline(baseline: Baseline, classes: Sequence[int]) -> Callable[[], StylizeFrame]:
    """Stylize by the baseline, each frame on its own."""

    def stylize(frame: Tensor) -> StylizedFrame:
        mask = baseline.mask(frame, classes)
        return StylizedFrame(baseline.stylize_with_mask(frame, mask), mask)

    return lambda: stylize


def read_clip(path: Path, count: int, size: int) -> Iterator[ClipFrame]:
    """Read the first `count` frames, their long side at most `size` pixels.

    `path`: a video, a folder of frames, or a folder with `frames` and `masks` of the same names.
    Raises PictureError if a file cannot be read or there are no frames.
    """
    if path.is_file():
        with VideoReader(path) as reader:
            frames = (item for item in reader if isinstance(item, Frame))
            for frame in islice(frames, count):
                yield ClipFrame(_shrink(frames_to_tensor([frame.pixels]), size), None)
        return
    folder = path / "frames" if (path / "frames").is_dir() else path
    masks = {file.stem: file for file in list_pictures(path / "masks")}
    files = natural_order(list_pictures(folder))
    if not files:
        raise PictureError(f"{path}: neither a video nor a folder of frames")
    for file in files[:count]:
        pixels = _shrink(read_picture(file).pixels[None], size)
        mask = masks.get(file.stem)
        shape = (pixels.shape[-2], pixels.shape[-1])
        yield ClipFrame(pixels, read_mask(mask, shape) if mask else None)


def _shrink(picture: Tensor, size: int) -> Tensor:
    shape = (picture.shape[-2], picture.shape[-1])
    return resize(picture, long_side(shape, size)) if max(shape) > size else picture


@torch.inference_mode()
def measure_clip(
    path: Path, methods: Methods, count: int, size: int, device: str
) -> list[ClipScore]:
    """Measure the clip itself ("source") and every method on it.

    Raises PictureError if the clip cannot be read or has a single frame.
    """
    stylizers: dict[str, StylizeFrame] = {SOURCE: StylizedFrame}
    stylizers |= {name: begin() for name, begin in methods.items()}
    scores = {name: ClipScore(path.name, name) for name in stylizers}
    changes: dict[str, list[float]] = {name: [] for name in stylizers}
    before: dict[str, StylizedFrame] = {}
    last: Tensor | None = None
    frames = read_clip(path, count, size)
    for pixels, true_mask in progress(frames, name=path.name, unit="frame", total=count):
        flow = None if last is None else FlowWarp(last, pixels)
        for name, stylize in stylizers.items():
            stylized, mask = stylize(pixels.to(device))
            now = StylizedFrame(stylized.cpu(), None if mask is None else mask.cpu())
            if flow:
                earlier = before[name]
                scores[name].warpings.append(flow.error(earlier.stylized, now.stylized))
                if earlier.mask is not None and now.mask is not None:
                    changes[name].append(flow.error(earlier.mask, now.mask))
            if true_mask is not None and now.mask is not None:
                truth = (true_mask > 0.5).float()
                scores[name].ious.append(iou(now.mask, truth, torch.ones_like(truth)))
            before[name] = now
        last = pixels
    if not scores[SOURCE].warpings:
        raise PictureError(f"{path}: a clip needs at least two frames")
    for name, score in scores.items():
        score.warping = fmean(score.warpings)
        score.mask_change = fmean(changes[name]) if changes[name] else None
        score.mask_iou = fmean(score.ious) if score.ious else None
    return list(scores.values())


@torch.inference_mode()
def flicker(photo: Tensor, methods: Methods, device: str, seed: int = 0) -> dict[str, float]:
    """Measure flicker of a static scene: 8 frames of one photograph with independent noise.

    `photo`: `(1, 3, H, W)` in [0, 1]. Returns the standard deviation over time, averaged over
    pixels and channels, by method; "source" is that of the noise itself.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((STATIC_FRAMES, *photo.shape[1:]), generator=generator) * NOISE
    frames = (photo + noise).clamp(0, 1)
    found = {SOURCE: frames.std(dim=0).mean().item()}
    total = STATIC_FRAMES * len(methods)
    with progress(name="static scene", unit="frame", total=total) as bar:
        for name, begin in methods.items():
            stylize, stylized = begin(), []
            for frame in frames:
                stylized.append(stylize(frame[None].to(device)).stylized.cpu())
                bar.update()
            found[name] = torch.cat(stylized).std(dim=0).mean().item()
    return found


def table(scores: Sequence[ClipScore], static: Mapping[str, float]) -> str:
    """Format the means over the clips for a terminal."""
    names = list(dict.fromkeys(score.method for score in scores))
    source = fmean(score.warping for score in scores if score.method == SOURCE)
    lines = [
        "Warping error (RMS) and its ratio to the source's, IoU and warping error of the mask,"
    ]
    lines.append("flicker of a static scene (standard deviation over time); mean over the clips:")
    lines.append("                 warping  ratio to source   mask IoU   change  flicker")
    for name in names:
        rows = [score for score in scores if score.method == name]
        warping = fmean(score.warping for score in rows)
        ratio = warping / max(source, 1e-9)
        mask_iou = _mean([score.mask_iou for score in rows])
        change = _mean([score.mask_change for score in rows])
        lines.append(
            f"{name:16s} {warping:7.4f}  {ratio:15.2f}   {mask_iou:>8s}  {change:>7s}  "
            f"{static[name]:7.4f}"
        )
    return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):.3f}" if known else "-"
