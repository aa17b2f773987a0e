"""Training photographs with their labels: folders, and the endless stream of crops from them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import v2
from tqdm import tqdm

from duostyle.data.masks import IGNORE, foreground_mask, read_labels
from duostyle.io.images import PictureError, list_pictures, read_picture

TURNED = 0.05  # by which the logarithms of the aspects have to differ: 5 %
MOST_TRIES = 100  # photographs that may be unusable in a row
SMALLEST_PHOTO = 64  # pixels; smaller ones are skipped


class Sample(NamedTuple):
    """One training example, or a batch of them with a leading `B`."""

    photo: Tensor  # (3, P, P) in [0, 1], what the mask branch learns from
    photo_mask: Tensor  # (1, P, P), 1 = foreground
    photo_known: Tensor  # (1, P, P), 0 where the label says "ignore"
    crop: Tensor  # (3, S, S), what the painter learns from, with its surroundings
    crop_mask: Tensor  # (1, S, S), 1 = where style 1 goes
    alpha: Tensor  # () in [0, 1]
    seed: Tensor  # () int64, for what is random later on
    skipped: str  # why photographs drawn before this one were passed over, a line each


@dataclass(frozen=True)
class Entry:
    """A photograph and its label file."""

    photo: Path
    label: Path


def label_jobs(photos: Path, labels: Path) -> list[Entry]:
    """Every photograph of a folder with the label that belongs to it: same path, `.png`.

    Raises PictureError where the folder holds no picture, or two that would share a label.
    """
    inside = labels.resolve()
    found: dict[Path, Entry] = {}
    for path in list_pictures(photos):
        if photos.resolve() != inside and inside in path.resolve().parents:
            continue  # the labels lie within the photographs' folder
        label = labels / path.relative_to(photos).with_suffix(".png")
        if label in found:
            raise PictureError(f"{path}: {found[label].photo.name} has the same label; rename one")
        found[label] = Entry(path, label)
    if not found:
        raise PictureError(f"{photos}: no pictures in this folder")
    return list(found.values())


class PhotoDataset(Dataset[Sample]):
    """Random crops of photographs, the same for the same position of a run.

    Position n of the endless stream decides everything random about its sample (photograph,
    crop, flip, alpha), so that a resumed or a distributed run sees the very same pictures.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        classes: Sequence[int],
        photo_size: int,
        photo_share: float,
        crop_sizes: tuple[int, int],
        crop_zoom: float,
        late_from: int,
        empty_share: float,
        exchange_share: float,
        alpha_ends: float,
        alpha_range: tuple[float, float],
        seed: int,
    ) -> None:
        """`photo_size`: pixels; `photo_share`: least share of a photograph that is shown at once;
        `crop_sizes`: pixels, before position `late_from` and from there;
        `crop_zoom`: most that one is enlarged, times;
        `empty_share`: share of the samples drawn from photographs without foreground;
        `exchange_share`: share whose crop mask is turned round, so that either style is learned on
        things and on what is behind them; `alpha_range`: least and greatest alpha; `alpha_ends`:
        share of the samples at the one, and the same at the other, the rest uniform between them.

        Raises PictureError where no photograph has a readable label.
        """
        self.classes, self.seed = tuple(classes), seed
        self.empty_share, self.exchange_share = empty_share, exchange_share
        self.alpha_ends, self.alpha_range = alpha_ends, alpha_range
        self.skipped: dict[str, str] = {}
        self.full, self.empty = self._sort(entries)
        if not self.full and not self.empty:
            raise PictureError(f"{entries[0].photo.parent}: no photograph could be read")
        self.to_photo = v2.Compose(
            [
                v2.RandomResizedCrop(
                    photo_size, scale=(photo_share, 1), ratio=(0.8, 1.25), antialias=True
                ),
                v2.RandomHorizontalFlip(),
            ]
        )
        self.late_from = late_from
        self.to_crop = [self._cropper(size, photo_size, crop_zoom) for size in crop_sizes]

    @staticmethod
    def _cropper(crop_size: int, photo_size: int, zoom: float) -> v2.RandomResizedCrop:
        """A window enlarged up to `zoom` times or reduced up to 1.5x.

        Enlarged ones are as smooth as large photographs are: without them the network never
        learns to lay strokes on plain places and grows timid at 512 pixels and above.
        """
        sides = (crop_size / photo_size / zoom, min(1.5 * crop_size / photo_size, 1))
        scale = (sides[0] ** 2, sides[1] ** 2)
        return v2.RandomResizedCrop(crop_size, scale=scale, ratio=(1, 1), antialias=True)

    def _sort(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
        """Photographs with foreground, and those without."""
        full: list[Entry] = []
        empty: list[Entry] = []
        for entry in tqdm(entries, desc="labels read", unit="photo", disable=None, leave=False):
            try:
                labels = read_labels(entry.label)
                (full if foreground_mask(labels, self.classes).any() else empty).append(entry)
            except PictureError as error:
                # No label was made where the photograph itself could not be read.
                why = str(error) if entry.label.exists() else f"{entry.photo}: not readable"
                self.skipped[str(entry.photo)] = why
        return full, empty

    def __getitem__(self, position: int) -> Sample:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(hash((self.seed, position)) & 0x7FFF_FFFF)
            alpha, skipped = self._draw_alpha(), []
            seed = torch.tensor(hash((self.seed, position, 1)) & 0x7FFF_FFFF)
            to_crop = self.to_crop[position >= self.late_from]
            for _ in range(MOST_TRIES):
                entry = self._draw_entry()
                try:
                    return Sample(*self._crops(entry, to_crop), alpha, seed, "\n".join(skipped))
                except PictureError as error:
                    skipped.append(str(error))
        raise PictureError(f"{MOST_TRIES} photographs in a row cannot be used; {skipped[-1]}")

    def _crops(self, entry: Entry, to_crop: v2.Transform) -> list[Tensor]:
        pixels, labels = read_picture(entry.photo).pixels, read_labels(entry.label)
        if min(pixels.shape[-2:]) < SMALLEST_PHOTO:
            raise PictureError(f"{entry.photo}: smaller than {SMALLEST_PHOTO} pixels")
        if turned(labels.shape[-2:], pixels.shape[-2:]):
            raise PictureError(
                f"{entry.label}: lies across its photograph, which EXIF turns; remove it, "
                "and it is made again"
            )
        if labels.shape[-2:] != pixels.shape[-2:]:
            labels = v2.functional.resize(
                labels, list(pixels.shape[-2:]), v2.InterpolationMode.NEAREST
            )
        known = (labels != IGNORE).float()
        both = torch.cat([foreground_mask(labels, self.classes), known])
        photo, masks = self.to_photo(tv_tensors.Image(pixels), tv_tensors.Mask(both))
        crop, crop_masks = to_crop(photo, masks)
        crop_mask = crop_masks[:1]
        if torch.rand(()).item() < self.exchange_share:
            crop_mask = 1 - crop_mask
        tensors = (photo, masks[:1], masks[1:], crop, crop_mask)
        return [t.as_subclass(Tensor) for t in tensors]

    def _draw_alpha(self) -> Tensor:
        end, (low, high) = torch.rand(()).item(), self.alpha_range
        if end < self.alpha_ends:
            return torch.tensor(low)
        if end < 2 * self.alpha_ends:
            return torch.tensor(high)
        return torch.empty(()).uniform_(low, high)

    def _draw_entry(self) -> Entry:
        wants_empty = torch.rand(()).item() < self.empty_share
        pool = (self.empty if wants_empty else self.full) or self.full or self.empty
        return pool[torch.randint(len(pool), ()).item()]


def turned(label: Sequence[int], photo: Sequence[int]) -> bool:
    """Whether a label of (H, W) fits its photograph of (H, W) better a quarter turned."""
    (label_height, label_width), (height, width) = label, photo
    upright = abs(math.log(label_width * height / (label_height * width)))
    across = abs(math.log(label_width * width / (label_height * height)))
    return across < upright - TURNED


class PositionSampler(Sampler[int]):
    """The positions of an endless stream that belong to one process.

    Batch k of the whole run holds positions `k * batch ... (k + 1) * batch - 1`; process `rank`
    of `world` takes its equal slice of each. `start` is the position to go on from.
    """

    def __init__(self, start: int, stop: int, batch: int, rank: int = 0, world: int = 1) -> None:
        self.start, self.stop, self.batch = start, stop, batch
        self.rank, self.share = rank, batch // world

    def __iter__(self) -> Iterator[int]:
        for first in range(self.start, self.stop, self.batch):
            own = first + self.rank * self.share
            yield from range(own, own + self.share)

    def __len__(self) -> int:
        return (self.stop - self.start) // self.batch * self.share
