"""A pair whose figures are known by hand: its network paints flat colors, its VGG sees pixels."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from duostyle.evaluation.pair import EvaluatedPair
from duostyle.losses import ObjectiveWeights
from duostyle.models import Inspection

RED, BLUE = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])  # styles 1 and 2
PERSON = (..., slice(20, 60), slice(24, 72))  # where `photo_folder` has a person, 80 x 96 pixels
TOP = (..., slice(20, 40), slice(24, 72))  # the person's upper half, all that the network finds


def fill(like: Tensor, color: Tensor) -> Tensor:
    return color.view(1, 3, 1, 1).expand(like.shape[0], 3, *like.shape[-2:]).contiguous()


def mix(alpha: float) -> tuple[Tensor, Tensor]:
    """The colors of foreground and background at an alpha."""
    return (1 - alpha) * RED + alpha * BLUE, (1 - alpha) * BLUE + alpha * RED


class FlatEncoded(NamedTuple):
    photo: Tensor
    mask: Tensor  # predicted or given
    given: bool


class FlatNetwork:
    """Colors the person and the rest; predicts the upper half of the person as its mask.

    With a given mask the branches keep their colors, and the stylized picture is purple, without
    a seam.
    """

    device = torch.device("cpu")

    def encode(self, photo: Tensor, mask: Tensor | None = None) -> FlatEncoded:
        predicted = torch.zeros_like(photo[:, :1])
        predicted[TOP] = 1
        return FlatEncoded(photo, predicted if mask is None else mask, mask is not None)

    def decode_all(self, encoded: FlatEncoded, alpha: float) -> Inspection:
        photo = encoded.photo
        foreground, background = (fill(photo, color) for color in mix(alpha))
        stylized = background.clone()
        stylized[PERSON] = foreground[PERSON]
        if encoded.given:
            stylized = fill(photo, (RED + BLUE) / 2)
        return Inspection(stylized, foreground, background, encoded.mask)

    def decode(self, encoded: FlatEncoded, alpha: float) -> Tensor:
        return self.decode_all(encoded, alpha).stylized

    def inspect(self, photo: Tensor, alpha: float, mask: Tensor | None = None) -> Inspection:
        return self.decode_all(self.encode(photo, mask), alpha)

    def __call__(self, photo: Tensor, alpha: float, mask: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(photo, mask), alpha)


class PixelFeatures:
    """Stands in for VGG: every layer is the picture itself."""

    def __call__(self, picture: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        return dict.fromkeys(layers, picture)

    def fingerprint(self) -> str:
        return "pixels"


def flat_pair(folder: Path) -> EvaluatedPair:
    """The pair of a red and a blue painting, whose files are written to `folder`."""
    files = (folder / "red.png", folder / "blue.png")
    for file, color in zip(files, ((255, 0, 0), (0, 0, 255)), strict=True):
        Image.new("RGB", (64, 64), color).save(file)
    header = {
        "styles": [{"name": file.stem, "sha256": file.stem} for file in files],
        "training": {"style_size": 64, "foreground": "person"},
        "objective": asdict(ObjectiveWeights()),
    }
    pair = EvaluatedPair("flat", header, FlatNetwork(), files, "cpu")
    pair.__dict__["vgg"] = PixelFeatures()  # where cached_property keeps it
    return pair
