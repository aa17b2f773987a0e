"""Training samples: photographs paired with labels, and random crops of them by position."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from duostyle.data.masks import IGNORE, foreground_mask, read_labels
from duostyle.io.images import PictureError, list_pictures, read_picture
from duostyle.progress import progress

ROTATED_MARGIN = 0.05  # by which the log aspect ratios have to differ: 5 %
MAX_TRIES = 100  # unusable photographs in a row
MIN_SIDE = 64  # of a photograph, pixels; smaller ones are skipped
MAX_REDUCTION = 1.5  # of a crop


class Sample(NamedTuple):
    """A training sample; batched, each tensor has a leading `B` and `skipped` is a list."""

    photo: Tensor  # (3, P, P) in [0, 1], for the mask branch
    photo_mask: Tensor  # (1, P, P), 1 = foreground
    photo_valid: Tensor  # (1, P, P), 0 where the label says "ignore"
    crop: Tensor  # (3, S, S) in [0, 1], for stylization, with its context
    crop_mask: Tensor  # (1, S, S), 1 = style 1
    alpha: Tensor  # () in [0, 1]
    seed: Tensor  # () int64, for random choices during the step
    skipped: str  # why photographs drawn before this one were skipped, a line each


@dataclass(frozen=True)
class Entry:
    """A photograph and its label file."""

    photo: Path
    label: Path


def find_labels(photos: Path, labels: Path) -> list[Entry]:
    """Pair every photograph of a folder with its label: the same relative path, `.png`.

    The labels need not exist. Raises PictureError if the folder holds no picture, or two with the
    same label.
    """
    label_root = labels.resolve()
    entries: dict[Path, Entry] = {}
    for path in list_pictures(photos):
        if photos.resolve() != label_root and label_root in path.resolve().parents:
            continue  # a label: its folder lies within the photographs' folder
        label = labels / path.relative_to(photos).with_suffix(".png")
        if label in entries:
            other = entries[label].photo.name
            raise PictureError(f"{path}: {other} has the same label file; rename one")
        entries[label] = Entry(path, label)
    if not entries:
        raise PictureError(f"{photos}: no pictures in this folder")
    return list(entries.values())


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn."""

    photo_size: int  # side of a photograph, pixels
    photo_share: float  # smallest fraction of a photograph's area that its crop covers
    crop_size: int  # side of a crop, context included, pixels
    late_crop_size: int  # from position `late_from` on
    late_from: int
    crop_zoom: float  # largest factor by which a crop is enlarged
    empty_prob: float  # probability of a photograph without foreground
    # Probability that the crop's mask is inverted, so that both styles are learned on foreground
    # and on background.
    swap_prob: float
    alpha_low: float
    alpha_high: float
    alpha_ends: float  # probability of either end; alpha is uniform otherwise
    seed: int


class PhotoDataset(Dataset[Sample]):
    """Random crops of photographs, the same for the same position of a run.

    Everything random about a sample (photograph, crop, flip, alpha) depends on its position alone,
    so that a resumed or distributed run sees the same samples as an uninterrupted one.
    """

    def __init__(
        self, entries: Sequence[Entry], classes: Sequence[int], sampling: Sampling
    ) -> None:
        """Read the labels; `classes`: VOC classes of the foreground.

        Raises PictureError if no photograph has a readable label.
        """
        self.classes, self.sampling = tuple(classes), sampling
        self.skipped: dict[str, str] = {}  # why, by photograph
        self.full, self.empty = self._split(entries)
        if not self.full and not self.empty:
            raise PictureError(f"{entries[0].photo.parent}: no photograph could be read")
        size = sampling.photo_size
        self.crop_photo = v2.Compose(
            [
                v2.RandomResizedCrop(
                    size, scale=(sampling.photo_share, 1), ratio=(0.8, 1.25), antialias=True
                ),
                v2.RandomHorizontalFlip(),
            ]
        )
        self.crop_early, self.crop_late = (
            _random_crop(crop_size, size, sampling.crop_zoom)
            for crop_size in (sampling.crop_size, sampling.late_crop_size)
        )

    def _split(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
        """Return the photographs with foreground and those without."""
        full: list[Entry] = []
        empty: list[Entry] = []
        for entry in progress(entries, name="labels read", unit="photo", announce=False):
            try:
                labels = read_labels(entry.label)
                (full if foreground_mask(labels, self.classes).any() else empty).append(entry)
            except PictureError as error:
                # An unreadable photograph got no label.
                reason = str(error) if entry.label.exists() else f"{entry.photo}: not readable"
                self.skipped[str(entry.photo)] = reason
        return full, empty

    def __getitem__(self, position: int) -> Sample:
        """Return the sample of a position. Raises PictureError after MAX_TRIES photographs."""
        own, later = sample_seeds(self.sampling.seed, position)
        crop = self.crop_late if position >= self.sampling.late_from else self.crop_early
        skipped: list[str] = []
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(own)
            alpha = self._draw_alpha()
            for _ in range(MAX_TRIES):
                entry = self._draw_entry()
                try:
                    tensors = self._crops(entry, crop)
                    return Sample(*tensors, alpha, torch.tensor(later), "\n".join(skipped))
                except PictureError as error:
                    skipped.append(str(error))
        raise PictureError(f"{MAX_TRIES} photographs in a row cannot be used; {skipped[-1]}")

    def _crops(
        self, entry: Entry, random_crop: v2.Transform
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return photo, photo_mask, photo_valid, crop and crop_mask."""
        pixels, labels = read_picture(entry.photo).pixels, read_labels(entry.label)
        if min(pixels.shape[-2:]) < MIN_SIDE:
            raise PictureError(f"{entry.photo}: smaller than {MIN_SIDE} pixels")
        if is_rotated(labels.shape[-2:], pixels.shape[-2:]):
            raise PictureError(
                f"{entry.label}: not rotated like its photograph, which has an EXIF rotation; "
                "remove it, and it is made again"
            )
        if labels.shape[-2:] != pixels.shape[-2:]:
            labels = v2.functional.resize(
                labels, list(pixels.shape[-2:]), v2.InterpolationMode.NEAREST
            )
        valid = (labels != IGNORE).float()
        masks = torch.cat([foreground_mask(labels, self.classes), valid])
        photo, masks = self.crop_photo(tv_tensors.Image(pixels), tv_tensors.Mask(masks))
        crop, crop_masks = random_crop(photo, masks)
        crop_mask = crop_masks[:1]
        if torch.rand(()).item() < self.sampling.swap_prob:
            crop_mask = 1 - crop_mask
        return (
            photo.as_subclass(Tensor),
            masks[:1].as_subclass(Tensor),
            masks[1:].as_subclass(Tensor),
            crop.as_subclass(Tensor),
            crop_mask.as_subclass(Tensor),
        )

    def _draw_alpha(self) -> Tensor:
        number, s = torch.rand(()).item(), self.sampling
        if number < s.alpha_ends:
            return torch.tensor(s.alpha_low)
        if number < 2 * s.alpha_ends:
            return torch.tensor(s.alpha_high)
        return torch.empty(()).uniform_(s.alpha_low, s.alpha_high)

    def _draw_entry(self) -> Entry:
        wants_empty = torch.rand(()).item() < self.sampling.empty_prob
        pool = (self.empty if wants_empty else self.full) or self.full or self.empty
        return pool[int(torch.randint(len(pool), ()))]


def sample_seeds(seed: int, position: int) -> tuple[int, int]:
    """Return two independent seeds for a position of a run, 32 bits each."""
    first, second = np.random.SeedSequence((seed, position)).generate_state(2).tolist()
    return first, second


def _random_crop(crop_size: int, photo_size: int, zoom: float) -> v2.RandomResizedCrop:
    """Return a random square crop, enlarged up to `zoom` or reduced up to MAX_REDUCTION times.

    Enlarged crops are as smooth as large photographs. Without them the network paints few strokes
    on smooth areas at 512 pixels and above.
    """
    sides = (crop_size / photo_size / zoom, min(MAX_REDUCTION * crop_size / photo_size, 1))
    scale = (sides[0] ** 2, sides[1] ** 2)
    return v2.RandomResizedCrop(crop_size, scale=scale, ratio=(1, 1), antialias=True)


def is_rotated(label: Sequence[int], photo: Sequence[int]) -> bool:
    """Return whether a label (H, W) fits its photograph (H, W) better rotated by 90 degrees."""
    (label_height, label_width), (height, width) = label, photo
    upright = abs(math.log(label_width * height / (label_height * width)))
    rotated = abs(math.log(label_width * width / (label_height * height)))
    return rotated < upright - ROTATED_MARGIN


class PositionSampler(Sampler[int]):
    """The positions from `start` to `stop` that belong to one process.

    Batch k of a run holds the positions `k * batch ... (k + 1) * batch - 1`; process `rank` of
    `world_size` takes its equal slice of each batch.
    """

    def __init__(
        self, start: int, stop: int, batch: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.start, self.stop, self.batch = start, stop, batch
        self.rank, self.slice = rank, batch // world_size

    def __iter__(self) -> Iterator[int]:
        for first in range(self.start, self.stop, self.batch):
            own = first + self.rank * self.slice
            yield from range(own, own + self.slice)

    def __len__(self) -> int:
        return (self.stop - self.start) // self.batch * self.slice
