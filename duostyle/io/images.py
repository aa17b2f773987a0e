"""The pixel contract: files of any kind in, RGB float32 `(3, H, W)` in [0, 1], and out again."""

import hashlib
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from duostyle import files as atomic
from duostyle.io.exif import describe
from duostyle.io.opening import PICTURE_SUFFIXES, PictureError, open_picture
from duostyle.io.profiles import to_srgb

__all__ = [
    "PICTURE_SUFFIXES",
    "WRITABLE",
    "Picture",
    "PictureError",
    "decode",
    "in_order",
    "list_pictures",
    "long_side",
    "matte",
    "pil_to_tensor",
    "read_mask",
    "read_picture",
    "read_style",
    "resize",
    "save_image",
    "say_first_alone",
    "sha256",
    "short_side",
    "tensor_to_pil",
    "whole_file",
    "write_picture",
]

WRITABLE = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
OPAQUE_ONLY = {".jpg", ".jpeg"}


@dataclass
class Picture:
    """A decoded file: its pixels and what has to be carried over to the painted one."""

    pixels: Tensor  # (3, H, W) RGB in [0, 1], upright
    transparency: Image.Image | None = None  # mode L, at the picture's size
    icc_profile: bytes | None = None
    exif: bytes | None = None
    count: int = 1  # pictures in the file, of which this is the first


def read_picture(path: Path) -> Picture:
    """Read a picture; EXIF orientation applied, 16-bit, CMYK, palette, grey accepted, as sRGB.

    Raises PictureError where the file is missing, damaged, no picture or too large.
    """
    with open_picture(path) as image:
        return decode(image)


def say_first_alone(path: Path, picture: Picture) -> None:
    """Say on stderr that a file holds more pictures than the one that was read."""
    if picture.count > 1:
        note = f"{path}: holds {picture.count} pictures; the first one alone is taken"
        tqdm.write(atomic.printable(note), file=sys.stderr)


def decode(image: Image.Image) -> Picture:
    """The pixels and the metadata of a Pillow image of any mode.

    Raises ValueError where a float image holds values that are no numbers.
    """
    upright = ImageOps.exif_transpose(image)
    transparency = None
    if upright.has_transparency_data:
        transparency = upright.convert("RGBA").getchannel("A")
    rgb, profile = to_srgb(upright, image.info.get("icc_profile"))
    count = image.info.get("pictures", 1)
    return Picture(pil_to_tensor(rgb), transparency, profile, describe(image.getexif()), count)


def pil_to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as `(3, H, W)` float32 in [0, 1], or an L image as `(1, H, W)`."""
    array = np.array(image)
    array = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(array).permute(2, 0, 1).float().div(255)


def tensor_to_pil(pixels: Tensor) -> Image.Image:
    """`(3, H, W)` or `(1, H, W)` in [0, 1] as an 8-bit RGB or L image."""
    array = (pixels.detach().float().clamp(0, 1) * 255).round().to("cpu", torch.uint8)
    array = array.permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def write_picture(path: Path, picture: Picture) -> None:
    """Write JPEG, PNG, WebP or TIFF by the name's suffix, whole or not at all.

    Raises PictureError where the suffix or the place does not allow it.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise PictureError(f"{path}: write .jpg, .png, .webp or .tif")
    image = tensor_to_pil(picture.pixels)
    if picture.transparency is not None:
        if suffix in OPAQUE_ONLY:
            image = Image.composite(
                image, Image.new("RGB", image.size, "white"), picture.transparency
            )
        else:
            image.putalpha(picture.transparency)
    options = {"quality": 95} if suffix in (".jpg", ".jpeg", ".webp") else {}
    if suffix in OPAQUE_ONLY:
        options["subsampling"] = 0  # painted edges are coloured edges
    if picture.icc_profile:
        options["icc_profile"] = picture.icc_profile
    if picture.exif:
        options["exif"] = picture.exif
    save_image(path, image, **options)


def save_image(path: Path, image: Image.Image, **options: object) -> None:
    """Write a Pillow image in the format of the name's suffix, whole or not at all.

    It is encoded in memory: Pillow's encoders do not notice a full disk. `options`: of that
    format. Raises PictureError where the place does not allow it.
    """
    encoded = io.BytesIO()
    try:
        image.save(encoded, format=Image.registered_extensions()[path.suffix.lower()], **options)
    except (OSError, ValueError) as error:  # sides beyond what the format can say
        raise PictureError(f"{path}: cannot be encoded ({error}); try another format") from error
    try:
        atomic.write_whole(path, encoded.getbuffer())
    except atomic.WriteError as error:
        raise PictureError(str(error)) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """As `files.whole_file`; raises PictureError where the file cannot be written."""
    try:
        with atomic.whole_file(path) as part:
            yield part
    except atomic.WriteError as error:
        raise PictureError(str(error)) from error


def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """A matte as `(1, 1, H, W)` in [0, 1], enlarged or reduced to `size` = (H, W).

    White is foreground; see `matte`. Raises PictureError where the file cannot be read.
    """
    picture = read_picture(path)
    say_first_alone(path, picture)
    return matte(picture, size)


def matte(picture: Picture, size: tuple[int, int]) -> Tensor:
    """`(1, 1, H, W)` in [0, 1] from a cut-out's transparency, else from how white it is."""
    cut_out = picture.transparency is not None and picture.transparency.getextrema()[0] < 255
    if cut_out:
        return resize(pil_to_tensor(picture.transparency)[None], size)
    return resize(picture.pixels.mean(dim=0)[None, None], size)


def resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bilinear resize of `(B, C, H, W)` to `size` = (H, W), or no-op."""
    if tuple(pictures.shape[-2:]) == tuple(size):
        return pictures
    return F.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True)


def short_side(size: tuple[int, int], short: int) -> tuple[int, int]:
    """`size` scaled so that its short side is `short` pixels."""
    return _scaled(size, short / min(size))


def long_side(size: tuple[int, int], long: int) -> tuple[int, int]:
    """`size` scaled so that its long side is `long` pixels."""
    return _scaled(size, long / max(size))


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def read_style(path: Path, short: int) -> Tensor:
    """A style image as `(1, 3, H, W)`, its short side at `short` pixels."""
    picture = read_picture(path)
    say_first_alone(path, picture)
    pixels = picture.pixels[None]
    return resize(pixels, short_side(tuple(pixels.shape[-2:]), short))


def list_pictures(folder: Path, suffixes: set[str] = PICTURE_SUFFIXES) -> list[Path]:
    """Every picture in a folder, flat or nested, linked folders too, sorted by name."""
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()  # folders, so that links in a circle end
    for name, folders, files in os.walk(folder, followlinks=True):
        status = Path(name).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        paths = (Path(name, file) for file in files if not file.startswith("."))
        found += (path for path in paths if path.suffix.lower() in suffixes and path.is_file())
    return sorted(found)


def in_order(files: Iterable[Path]) -> list[Path]:
    """Files by their numbers: 2.png before 10.png."""

    def key(path: Path) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", str(path))
        return [(int(part), "") if part.isdigit() else (0, part) for part in parts]

    return sorted(files, key=key)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
