"""Picture files: read as RGB float32 `(3, H, W)` in [0, 1], and written again with their metadata.

The conversions of `duostyle.io.pixels` and `sha256` can be imported from here too.
"""

import io
import os
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from duostyle import files
from duostyle.files import sha256
from duostyle.io.opening import PICTURE_SUFFIXES, PictureError, open_picture
from duostyle.io.pixels import (
    long_side,
    pil_to_tensor,
    resize,
    short_side,
    tensor_to_pil,
)
from duostyle.io.profiles import to_srgb

__all__ = [
    "PICTURE_SUFFIXES",
    "WRITABLE",
    "Picture",
    "PictureError",
    "decode",
    "list_pictures",
    "long_side",
    "natural_order",
    "note_further_pictures",
    "picture_to_mask",
    "pil_to_tensor",
    "read_mask",
    "read_picture",
    "read_style",
    "resize",
    "save_image",
    "sha256",
    "short_side",
    "tensor_to_pil",
    "whole_file",
    "write_picture",
]

WRITABLE = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
OPAQUE_ONLY = {".jpg", ".jpeg"}
# EXIF that describes the photograph and not its file: description, make, model, resolution,
# software, date, artist, copyright; and the blocks of the exposure and of the location.
EXIF_TAGS = (0x10E, 0x10F, 0x110, 0x11A, 0x11B, 0x128, 0x131, 0x132, 0x13B, 0x8298)
EXIF_BLOCKS = (0x8769, 0x8825)
MAX_EXIF = 65_000  # bytes; JPEG holds no more


@dataclass
class Picture:
    """The pixels of a picture file, and what a stylized copy keeps of it."""

    pixels: Tensor  # (3, H, W) RGB in [0, 1], upright
    transparency: Image.Image | None = None  # mode L, at the picture's size
    icc_profile: bytes | None = None
    exif: bytes | None = None
    count: int = 1  # pictures in the file; this is the first one


def read_picture(path: Path) -> Picture:
    """Read a picture file of any kind as sRGB, upright.

    EXIF orientation is applied; 16 bits, CMYK, palettes and grey are converted.
    Raises PictureError if the file is missing, damaged, not a picture, or too large.
    """
    with open_picture(path) as image:
        return decode(image)


def note_further_pictures(path: Path, picture: Picture) -> None:
    """Print a note on stderr if a file holds more pictures than the first one, which is read."""
    if picture.count > 1:
        note = f"{path}: holds {picture.count} pictures; only the first one is used"
        tqdm.write(files.printable(note), file=sys.stderr)


def decode(image: Image.Image) -> Picture:
    """Convert a Pillow image of any mode.

    Raises ValueError for a float image with values that are not finite.
    """
    upright = ImageOps.exif_transpose(image)
    transparency = None
    if upright.has_transparency_data:
        transparency = upright.convert("RGBA").getchannel("A")
    rgb, profile = to_srgb(upright, image.info.get("icc_profile"))
    count = image.info.get("pictures", 1)
    return Picture(pil_to_tensor(rgb), transparency, profile, _kept_exif(image.getexif()), count)


def _kept_exif(exif: Image.Exif) -> bytes | None:
    """The tags that describe the photograph; None if they are damaged or too long."""
    kept = Image.Exif()
    for tag in EXIF_TAGS:
        if tag in exif:
            kept[tag] = exif[tag]
    for block in EXIF_BLOCKS:
        if values := exif.get_ifd(block):
            kept.get_ifd(block).update(values)
    try:
        raw = kept.tobytes() if len(kept) or any(map(kept.get_ifd, EXIF_BLOCKS)) else None
    except (TypeError, ValueError, OverflowError, struct.error):
        return None
    return raw if raw and len(raw) <= MAX_EXIF else None


def write_picture(path: Path, picture: Picture) -> None:
    """Write JPEG, PNG, WebP or TIFF by the suffix, atomically.

    Raises PictureError for another suffix, or if the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise PictureError(f"{path}: unknown suffix; write .jpg, .png, .webp or .tif")
    image = tensor_to_pil(picture.pixels)
    if picture.transparency is not None:
        if suffix in OPAQUE_ONLY:
            image = Image.composite(
                image, Image.new("RGB", image.size, "white"), picture.transparency
            )
        else:
            image.putalpha(picture.transparency)
    options: dict[str, Any] = {}
    if suffix in (".jpg", ".jpeg", ".webp"):
        options["quality"] = 95
    if suffix in OPAQUE_ONLY:
        options["subsampling"] = 0  # edges between saturated colours stay sharp
    if picture.icc_profile:
        options["icc_profile"] = picture.icc_profile
    if picture.exif:
        options["exif"] = picture.exif
    save_image(path, image, **options)


def save_image(path: Path, image: Image.Image, **options: Any) -> None:
    """Write a Pillow image in the format of the suffix, atomically.

    It is encoded in memory, because Pillow's encoders do not notice a full disk. `options`: of
    Pillow's encoder. Raises PictureError if it cannot be encoded or written.
    """
    encoded = io.BytesIO()
    try:
        image.save(encoded, format=Image.registered_extensions()[path.suffix.lower()], **options)
    except (OSError, ValueError) as error:  # sides longer than the format allows
        raise PictureError(f"{path}: cannot be encoded ({error}); try another format") from error
    try:
        files.write_whole(path, encoded.getbuffer())
    except files.WriteError as error:
        raise PictureError(str(error)) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """As `duostyle.files.whole_file`, but raises PictureError if the file cannot be written."""
    try:
        with files.whole_file(path) as part:
            yield part
    except files.WriteError as error:
        raise PictureError(str(error)) from error


def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """Read a mask as `(1, 1, H, W)` in [0, 1], resized to `size` = (H, W).

    White is foreground; see `picture_to_mask`. Raises PictureError if the file cannot be read.
    """
    picture = read_picture(path)
    note_further_pictures(path, picture)
    return picture_to_mask(picture, size)


def picture_to_mask(picture: Picture, size: tuple[int, int]) -> Tensor:
    """Convert a picture to a mask `(1, 1, H, W)` in [0, 1] of `size` = (H, W).

    The mask is the transparency of a picture with transparent pixels, else the mean of RGB.
    """
    transparency = picture.transparency
    if transparency is not None and pil_to_tensor(transparency).min() < 1:
        return resize(pil_to_tensor(transparency)[None], size)
    return resize(picture.pixels.mean(dim=0)[None, None], size)


def read_style(path: Path, short: int) -> Tensor:
    """Read a style image as `(1, 3, H, W)`, its short side resized to `short` pixels."""
    picture = read_picture(path)
    note_further_pictures(path, picture)
    pixels = picture.pixels[None]
    return resize(pixels, short_side((pixels.shape[-2], pixels.shape[-1]), short))


def list_pictures(folder: Path, suffixes: set[str] = PICTURE_SUFFIXES) -> list[Path]:
    """List the pictures in a folder and its subfolders, symbolic links included, by name."""
    found: list[Path] = []
    visited: set[tuple[int, int]] = set()  # folders, so that circular links end
    for name, folders, names in os.walk(folder, followlinks=True):
        status = Path(name).stat()
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders.sort()
        paths = (Path(name, file) for file in names if not file.startswith("."))
        found += (path for path in paths if path.suffix.lower() in suffixes and path.is_file())
    return sorted(found)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort by the numbers in the names: 2.png before 10.png."""

    def key(path: Path) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", str(path))
        return [(int(part), "") if part.isdigit() else (0, part) for part in parts]

    return sorted(paths, key=key)
