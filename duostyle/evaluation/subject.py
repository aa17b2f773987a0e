"""What is measured: a checkpoint with its paintings and the objective that it was trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.data.masks import IGNORE, foreground_classes, foreground_mask, read_labels
from duostyle.data.photos import Entry
from duostyle.files import ROOT
from duostyle.io.images import list_pictures, read_picture, read_style, sha256
from duostyle.losses import Objective, ObjectiveWeights, PerceptualNetwork
from duostyle.models import CheckpointError, StyleNetwork, load_pair, read_header

REGION_SHARE = (0.10, 0.70)  # foreground of the photographs whose regions are compared
STYLES = ROOT / "assets" / "styles"


@dataclass(frozen=True)
class Subject:
    """A trained pair, on one device."""

    checkpoint: str
    header: dict[str, Any]
    network: StyleNetwork
    style_files: tuple[Path, Path]  # the foreground's and the background's
    device: str
    vgg_weights: Path | None = None  # as of PerceptualNetwork
    depth: int = 16  # of VGG

    @classmethod
    def load(
        cls,
        checkpoint: str,
        styles: Sequence[Path] | None = None,
        vgg_weights: Path | None = None,
        device: str = "cpu",
        depth: int = 16,
    ) -> Self:
        """`styles`: the two images, None for those that come with the project; `depth`: of VGG.

        Raises CheckpointError or OSError where the checkpoint or a painting cannot be had.
        """
        network, header = load_pair(checkpoint, device), read_header(checkpoint)
        if not {"training", "styles", "objective"} <= header.keys():
            raise CheckpointError(f"{checkpoint}: names no styles; use one of duostyle train's")
        first, second = styles or [find_style(style, STYLES) for style in header["styles"]]
        files = (Path(first), Path(second))
        return cls(str(checkpoint), header, network, files, device, vgg_weights, depth)

    @cached_property
    def vgg(self) -> PerceptualNetwork:
        """What judges, fetched when it is first asked for.

        Raises OSError or ValueError where its weights cannot be had.
        """
        with torch.inference_mode(False):  # whoever asks first: the solver needs gradients
            return PerceptualNetwork(self.vgg_weights, self.depth).to(self.device)

    @property
    def classes(self) -> tuple[int, ...]:
        """VOC classes that the pair takes for foreground."""
        return foreground_classes(self.header["training"]["foreground"])

    @property
    def kind(self) -> str:
        """The device's type, as autocast wants it."""
        return self.device.partition(":")[0]

    @property
    def style_size(self) -> int:
        """Short side of the paintings as they were trained on, pixels."""
        return self.header["training"]["style_size"]

    def styles(self, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Both paintings, `(1, 3, H, W)` in [0, 1]; `size`: short side, by default as trained."""
        first, second = (
            read_style(path, size or self.style_size).to(self.device) for path in self.style_files
        )
        return first, second

    def prints(self) -> list[str]:
        """SHA-256 of both paintings as the checkpoint names them."""
        return [style["sha256"] for style in self.header["styles"]]

    def weights(self) -> ObjectiveWeights:
        """The objective's weights that the pair was trained with.

        Raises CheckpointError where they are another version's.
        """
        try:
            return ObjectiveWeights.read(self.header["objective"])
        except ValueError as error:
            raise CheckpointError(
                f"{self.checkpoint}: of another version's objective ({error}); train it again"
            ) from error

    def objective(self) -> Objective:
        """The objective that the pair was trained with."""
        return Objective(self.vgg, self.styles(), self.weights())


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


def read_labelled(entry: Entry, classes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """A photograph `(1, 3, H, W)`, its foreground and where that is known, `(1, 1, H, W)` each.

    Raises PictureError where one of the files cannot be read.
    """
    photo, labels = read_picture(entry.photo).pixels[None], read_labels(entry.label)[None]
    labels = F.interpolate(labels, photo.shape[-2:], mode="nearest")
    return photo, foreground_mask(labels, classes), (labels != IGNORE).to(torch.float32)


def compared(mask: Tensor) -> bool:
    """Whether a photograph's label has both regions: 10 to 70 % foreground."""
    return REGION_SHARE[0] <= mask.mean().item() <= REGION_SHARE[1]


def choose(entries: Sequence[Entry], classes: Sequence[int], count: int) -> list[Entry]:
    """The first `count` photographs whose regions are compared.

    Raises PictureError where a file cannot be read, ValueError where no photograph serves.
    """
    fits = (entry for entry in entries if compared(read_labelled(entry, classes)[1]))
    chosen = list(islice(fits, count))
    if not chosen:
        raise ValueError("no photograph has 10 to 70 % foreground")
    return chosen
