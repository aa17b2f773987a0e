"""How steady the painting of a clip is: warping error, mask, and flicker before a still camera."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from duostyle.evaluation.baseline import Rivals
from duostyle.evaluation.regions import iou
from duostyle.evaluation.warp import Motion
from duostyle.inference.temporal_filter import TemporalFilter
from duostyle.io.images import (
    PictureError,
    list_pictures,
    long_side,
    natural_order,
    read_mask,
    read_picture,
    resize,
)
from duostyle.io.pixels import frames_to_tensor
from duostyle.io.video import Frame, VideoReader
from duostyle.models import StyleNetwork

NOISE = 4 / 255  # standard deviation of the still camera's sensor noise
STILL_FRAMES = 8


class Painted(NamedTuple):
    """One frame of a way."""

    stylized: Tensor  # (1, 3, H, W) in [0, 1]
    mask: Tensor | None = None  # (1, 1, H, W) in [0, 1]


Paint = Callable[[Tensor], Painted]
Ways = Mapping[str, Callable[[], Paint]]  # by name; called anew for every clip


class Shot(NamedTuple):
    """A frame with its true mask, where there is one."""

    frame: Tensor
    truth: Tensor | None


@dataclass
class Steadiness:
    """One way of painting one clip."""

    clip: str
    way: str
    warping: float = 0.0  # mean over pairs of frames of `Motion.error`
    mask_iou: float | None = None  # mean over the frames, where there is a true mask
    mask_change: float | None = None  # mean |mask - mask before| moved along
    warpings: list[float] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)


def by_network(network: StyleNetwork, steady: float = 0.0) -> Callable[[], Paint]:
    """A network frame by frame, at alpha 0; `steady`: as of `TemporalFilter`."""

    def begin() -> Paint:
        temporal_filter = TemporalFilter(steady)

        def paint(frame: Tensor) -> Painted:
            view = network.inspect(frame, 0.0)._asdict()
            kept = {name: view[name] for name in Painted._fields}
            return Painted(**temporal_filter(frame, kept))

        return paint

    return begin


def by_rivals(rivals: Rivals, classes: Sequence[int]) -> Callable[[], Paint]:
    """The naive pipeline frame by frame."""

    def paint(frame: Tensor) -> Painted:
        mask = rivals.mask(frame, classes)
        return Painted(rivals.paint_by(frame, mask), mask)

    return lambda: paint


def read_clip(path: Path, count: int, size: int) -> Iterator[Shot]:
    """The first `count` frames with the long side at `size` pixels at most.

    `path`: a video, a folder of frames, or a folder with `frames` and `masks` of the same names.
    Raises PictureError where one of them cannot be read.
    """
    if path.is_file():
        with VideoReader(path) as reader:
            frames = (item for item in reader if isinstance(item, Frame))
            for frame in islice(frames, count):
                yield Shot(_reduced(frames_to_tensor([frame.pixels]), size), None)
        return
    folder = path / "frames" if (path / "frames").is_dir() else path
    masks = {file.stem: file for file in list_pictures(path / "masks")}
    files = natural_order(list_pictures(folder))
    if not files:
        raise PictureError(f"{path}: no video, and no folder of frames")
    for file in files[:count]:
        frame = _reduced(read_picture(file).pixels[None], size)
        truth = masks.get(file.stem)
        yield Shot(frame, read_mask(truth, tuple(frame.shape[-2:])) if truth else None)


def _reduced(picture: Tensor, size: int) -> Tensor:
    whole = tuple(picture.shape[-2:])
    return resize(picture, long_side(whole, size)) if max(whole) > size else picture


@torch.inference_mode()
def measure_clip(path: Path, ways: Ways, count: int, size: int, device: str) -> list[Steadiness]:
    """Every way on one clip, `source` (unpainted) before them.

    Raises PictureError where the clip cannot be read, or has a single frame.
    """
    paints = {"source": Painted, **{name: begin() for name, begin in ways.items()}}
    found = {name: Steadiness(path.name, name) for name in paints}
    changes: dict[str, list[float]] = {name: [] for name in paints}
    before: dict[str, Painted] = {}
    motion, last = None, None
    shots = read_clip(path, count, size)
    for shot in tqdm(shots, desc=path.name, total=count, unit="frame", disable=None):
        motion = Motion(last, shot.frame) if last is not None else None
        for name, paint in paints.items():
            painted = Painted(*(x if x is None else x.cpu() for x in paint(shot.frame.to(device))))
            if motion:
                found[name].warpings.append(motion.error(before[name].stylized, painted.stylized))
                if painted.mask is not None:
                    changes[name].append(motion.error(before[name].mask, painted.mask))
            if shot.truth is not None and painted.mask is not None:
                truth = (shot.truth > 0.5).float()
                found[name].ious.append(iou(painted.mask, truth, torch.ones_like(truth)))
            before[name] = painted
        last = shot.frame
    if motion is None:
        raise PictureError(f"{path}: a clip has two frames at least")
    for name, steadiness in found.items():
        steadiness.warping = fmean(steadiness.warpings)
        steadiness.mask_change = fmean(changes[name]) if changes[name] else None
        steadiness.mask_iou = fmean(steadiness.ious) if steadiness.ious else None
    return list(found.values())


@torch.inference_mode()
def flicker(photo: Tensor, ways: Ways, device: str, seed: int = 0) -> dict[str, float]:
    """A still camera: one photograph `(1, 3, H, W)` with fresh noise in each of 8 frames.

    The standard deviation over time, mean over pixels and channels, by way; `source`: the noise's
    own. In units of [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((STILL_FRAMES, *photo.shape[1:]), generator=generator) * NOISE
    frames = (photo + noise).clamp(0, 1)
    found = {"source": frames.std(dim=0).mean().item()}
    for name, begin in ways.items():
        paint = begin()
        painted = torch.cat([paint(frame[None].to(device)).stylized.cpu() for frame in frames])
        found[name] = painted.std(dim=0).mean().item()
    return found


def table(found: Sequence[Steadiness], still: Mapping[str, float]) -> str:
    """Means over the clips, for a terminal."""
    names = list(dict.fromkeys(s.way for s in found))
    source = fmean(s.warping for s in found if s.way == "source")
    lines = ["warping error (root mean square), mask's IoU and its change from frame to frame,"]
    lines.append("flicker of a still camera (standard deviation over time); mean over the clips:")
    lines.append("                 warping  of the source's   mask IoU   change   still")
    for name in names:
        rows = [s for s in found if s.way == name]
        warping = fmean(s.warping for s in rows)
        ious, changes = ([v for v in values if v is not None] for values in (
            [s.mask_iou for s in rows], [s.mask_change for s in rows]))  # fmt: skip
        lines.append(
            f"{name:16s} {warping:7.4f}  {warping / max(source, 1e-9):15.2f}   {_mean(ious):>8s}  "
            f"{_mean(changes):>7s}  {still[name]:.4f}"
        )
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}" if values else "-"


def figures(found: Sequence[Steadiness], still: Mapping[str, float]) -> dict[str, object]:
    """Every figure, for JSON."""
    return {"clips": [asdict(s) for s in found], "still": dict(still)}
