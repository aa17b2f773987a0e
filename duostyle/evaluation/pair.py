"""A trained pair with its style images and its training objective, and the photographs."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.data.masks import IGNORE, foreground_classes, foreground_mask, read_labels
from duostyle.data.photos import Entry
from duostyle.files import ROOT, sha256
from duostyle.io.images import list_pictures, read_picture, read_style
from duostyle.io.pixels import resize, short_side
from duostyle.losses import Objective, ObjectiveInput, ObjectiveWeights, PerceptualNetwork
from duostyle.models import CheckpointError, StyleNetwork, load_pair, pick_device, read_header

FOREGROUND_SHARE = (0.10, 0.70)  # of the photographs on which both regions are evaluated
STYLES = ROOT / "assets" / "styles"

Terms = dict[str, float]  # weighted terms of the objective, by name


@dataclass(frozen=True)
class EvaluatedPair:
    """A trained pair on one device."""

    checkpoint: str
    header: dict[str, Any]
    network: StyleNetwork
    style_files: tuple[Path, Path]  # foreground, background
    device: str
    vgg_weights: Path | None = None  # as for PerceptualNetwork
    vgg_depth: int = 16

    @classmethod
    def load(
        cls,
        checkpoint: str,
        styles: Sequence[Path] | None = None,
        vgg_weights: Path | None = None,
        device: str = "cpu",
        vgg_depth: int = 16,
    ) -> Self:
        """Load a checkpoint.

        `styles`: the two style images, None to find them among the shipped ones; `vgg_depth`: 16
        or 19. Raises CheckpointError or OSError if the checkpoint or a style image cannot be read.
        """
        network, header = load_pair(checkpoint, device), read_header(checkpoint)
        if not {"training", "styles", "objective"} <= header.keys():
            raise CheckpointError(
                f"{checkpoint}: does not name its styles; use a checkpoint of duostyle train"
            )
        first, second = styles or [find_style(style, STYLES) for style in header["styles"]]
        files = (Path(first), Path(second))
        return cls(str(checkpoint), header, network, files, device, vgg_weights, vgg_depth)

    @classmethod
    def from_arguments(cls, args: argparse.Namespace, vgg_depth: int = 16) -> Self:
        """Load the pair that the command line names. Raises as `load` does."""
        if not args.checkpoint:
            raise CheckpointError("no pair is shipped here; name a checkpoint with --checkpoint")
        device = pick_device(args.device)
        return cls.load(args.checkpoint, args.styles, args.vgg_weights, device, vgg_depth)

    @cached_property
    def vgg(self) -> PerceptualNetwork:
        """The VGG of the objective, loaded on first use.

        Raises OSError or ValueError if its weights cannot be read or downloaded.
        """
        with torch.inference_mode(False):  # the solver needs gradients
            return PerceptualNetwork(self.vgg_weights, self.vgg_depth).to(self.device)

    @property
    def classes(self) -> tuple[int, ...]:
        """The VOC classes that are foreground."""
        return foreground_classes(self.header["training"]["foreground"])

    @property
    def device_type(self) -> str:
        """The device without its number, as autocast expects it."""
        return self.device.partition(":")[0]

    @property
    def style_size(self) -> int:
        """Short side of the style images in training, pixels."""
        return self.header["training"]["style_size"]

    def styles(self, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Read both style images, `(1, 3, H, W)` in [0, 1]; `size`: short side, None as trained."""
        first, second = (
            read_style(path, size or self.style_size).to(self.device) for path in self.style_files
        )
        return first, second

    def style_hashes(self) -> list[str]:
        """SHA-256 of both style images, from the checkpoint."""
        return [style["sha256"] for style in self.header["styles"]]

    def weights(self) -> ObjectiveWeights:
        """The weights of the training objective.

        Raises CheckpointError if another version of the objective wrote them.
        """
        try:
            return ObjectiveWeights.read(self.header["objective"])
        except ValueError as error:
            raise CheckpointError(
                f"{self.checkpoint}: trained with another version of the objective ({error}); "
                "train it again"
            ) from error

    def objective(self) -> Objective:
        """The training objective."""
        return Objective(self.vgg, self.styles(), self.weights())


def find_style(style: dict[str, str], folder: Path) -> Path:
    """Find the image of a checkpoint's style in a folder by its SHA-256.

    Raises FileNotFoundError if the folder does not contain it.
    """
    for path in list_pictures(folder):
        if sha256(path) == style["sha256"]:
            return path
    raise FileNotFoundError(
        f"{style['name']}: its image is not in {folder.name}/; name both images with --styles"
    )


def read_labeled(entry: Entry, classes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Read a photograph with its label.

    Returns the photograph `(1, 3, H, W)` in [0, 1], its binary foreground mask, and 1 where the
    label is known, `(1, 1, H, W)` each. Raises PictureError if a file cannot be read.
    """
    photo, labels = read_picture(entry.photo).pixels[None], read_labels(entry.label)[None]
    labels = F.interpolate(labels, photo.shape[-2:], mode="nearest")
    return photo, foreground_mask(labels, classes), (labels != IGNORE).to(torch.float32)


def read_scaled(pair: EvaluatedPair, entry: Entry, size: int) -> tuple[Tensor, Tensor]:
    """Read a photograph, its short side scaled to `size` pixels, and its binary mask."""
    photo, mask, _ = read_labeled(entry, pair.classes)
    shape = short_side((photo.shape[-2], photo.shape[-1]), size)
    mask = (resize(mask, shape) > 0.5).float()
    return resize(photo, shape).to(pair.device), mask.to(pair.device)


def has_both_regions(mask: Tensor) -> bool:
    """Whether a binary mask has 10 to 70 % foreground."""
    return FOREGROUND_SHARE[0] <= mask.mean().item() <= FOREGROUND_SHARE[1]


def select_photos(entries: Sequence[Entry], classes: Sequence[int], count: int) -> list[Entry]:
    """Select the first `count` photographs with 10 to 70 % foreground.

    Raises PictureError if a file cannot be read, ValueError if there is no such photograph.
    """

    def suitable() -> Iterator[Entry]:
        for entry in entries:
            if has_both_regions(read_labeled(entry, classes)[1]):
                yield entry

    chosen = list(islice(suitable(), count))
    if not chosen:
        raise ValueError("no photograph has 10 to 70 % foreground")
    return chosen


@torch.no_grad()
def objective_terms(
    pair: EvaluatedPair, objective: Objective, photo: Tensor, mask: Tensor, alpha: float
) -> Terms:
    """Evaluate the weighted terms of the network's output for a given mask."""
    view = pair.network.inspect(photo, alpha, mask)
    alphas = torch.full((1,), alpha, device=photo.device)
    painting = ObjectiveInput(view.stylized, alphas, mask, view.foreground, view.background)
    return {name: value.item() for name, value in objective(photo, painting).items()}


def mean_terms(rows: Sequence[Terms]) -> Terms:
    """Average every term over the rows."""
    return {name: fmean(row[name] for row in rows) for name in rows[0]}
