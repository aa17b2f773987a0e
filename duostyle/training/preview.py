"""Pictures of a run: a preview that is updated during training, and a sheet at its end."""

import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from duostyle.files import ROOT, atomic_writer, printable
from duostyle.io.images import PictureError, read_picture
from duostyle.io.pixels import long_side, resize, tensor_to_pil
from duostyle.io.sheet import Cell, contact_sheet
from duostyle.models import StyleNetwork, load_pair
from duostyle.training.initialization import style_groups
from duostyle.training.settings import TrainConfig

PREVIEW_FILE, SHEET_FILE = "preview.jpg", "sheet.jpg"
PHOTOS = ROOT / "assets" / "photos"
DEFAULT_PHOTO = PHOTOS / "astronaut.jpg"
MORE_PHOTOS = (PHOTOS / "cyclist.jpg", PHOTOS / "chelsea.jpg")  # in the sheet
LONG_SIDE = 512  # of the photographs, pixels
ALPHAS = (0.0, 0.5, 1.0)
MAX_IMAGES = 3  # of a style, in the sheet
HEIGHT = 300  # of a picture in the sheets, pixels


class Preview:
    """Paints a photograph during the run, and more of them at its end."""

    def __init__(self, config: TrainConfig) -> None:
        """Read the photographs and paintings. Raises PictureError if one cannot be read."""
        self.folder, self.seconds = Path(config.output), 60 * config.preview_minutes
        self.path, self.sheet_path = self.folder / PREVIEW_FILE, self.folder / SHEET_FILE
        self.next = 0.0  # seconds of training at which the preview is due
        own = DEFAULT_PHOTO if config.preview is None else Path(config.preview)
        self.photos = [_read(own)] + [_read(photo) for photo in MORE_PHOTOS if photo != own]
        self.paintings: list[Cell] = []
        if config.styles is None:
            for title, files in zip(
                ("style 1, foreground", "style 2, background"), style_groups(config), strict=True
            ):
                self.paintings += [
                    (title, tensor_to_pil(_read(file)[0])) for file in files[:MAX_IMAGES]
                ]

    def due(self, seconds: float) -> bool:
        """Return whether the preview is due after so many seconds of training."""
        return bool(self.seconds) and seconds >= self.next

    def paint(self, network: StyleNetwork, seconds: float) -> None:
        """Write preview.jpg, atomically; a failure is reported and ends the previews only."""
        self.next = seconds + self.seconds
        try:
            _write([_row(network, self.photos[0])], self.path)
        except OSError as error:
            print(f"{printable(str(error))}; no more previews", file=sys.stderr)
            self.seconds = 0.0

    def write_sheet(self, checkpoint: Path, device: str) -> Path:
        """Write the paintings and the photographs painted by a pair; return the file.

        Raises CheckpointError or OSError.
        """
        network = load_pair(checkpoint, device)
        rows = [_row(network, photo, mask=True) for photo in self.photos]
        _write([self.paintings, *rows], self.sheet_path)
        return self.sheet_path


@torch.inference_mode()
def _row(network: StyleNetwork, photo: Tensor, mask: bool = False) -> list[Cell]:
    """Return a photograph, its mask if wanted, and its results."""
    encoded = network.encode(photo.to(network.device))
    row: list[Cell] = [("photograph", tensor_to_pil(photo[0]))]
    if mask:
        row.append(("learned mask", tensor_to_pil(encoded.mask[0].cpu())))
    for alpha in ALPHAS:
        painted = network.decode(encoded, alpha)[0].float().cpu()
        row.append((f"alpha {alpha:g}", tensor_to_pil(painted)))
    return row


def _read(file: Path) -> Tensor:
    """Return a picture `(1, 3, H, W)`, reduced if it is larger than LONG_SIDE."""
    pixels = read_picture(file).pixels[None]
    if min(pixels.shape[-2:]) < 16:
        raise PictureError(f"{file}: smaller than 16 pixels")
    if max(pixels.shape[-2:]) <= LONG_SIDE:
        return pixels
    return resize(pixels, long_side((pixels.shape[-2], pixels.shape[-1]), LONG_SIDE)).clamp(0, 1)


def _write(rows: list[list[Cell]], path: Path) -> None:
    sheet: Image.Image = contact_sheet(rows, height=HEIGHT)
    with atomic_writer(path) as part:
        sheet.save(part, format="JPEG", quality=92)
