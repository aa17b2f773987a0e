"""Picture files: opened safely, read as RGB float32 `(3, H, W)` in [0, 1], and written again.

Opening accepts an allow-list of formats and limits the size. Pixels are converted to upright sRGB;
a stylized copy keeps the metadata.
"""

import ctypes
import importlib.util
import io
import os
import re
import stat
import struct
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError, _imaging
from torch import Tensor
from tqdm import tqdm

from duostyle import files
from duostyle.io.pixels import (
    pil_to_tensor,
    resize,
    short_side,
    tensor_to_pil,
)

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
GRAY_MODES, CMYK_MODES = ("1", "L", "LA", "La"), ("CMYK",)
SRGB_TOLERANCE = 2  # of 255; a profile within it counts as sRGB
GRID = 6  # samples of each channel for that test
# Raster formats. PostScript, PDF and WMF are programs that other software would have to run; the
# formats that are left out do not hold photographs.
FORMATS = (
    "AVIF", "BMP", "DDS", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG",
    "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP",
)  # fmt: skip
HEIF_SUFFIXES = {".heic", ".heif", ".hif"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
PICTURE_SUFFIXES = HEIF_SUFFIXES | {
    suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS
}
MAX_PIXELS = 178_000_000  # Pillow refuses 179 million; cameras of phones reach 108 million
MAX_ASPECT = 200  # long side divided by short side; panoramas reach 30
# A decompression bomb: more pixels than a usual camera's, and more of them per byte of the file.
SPARSE_PIXELS, MAX_PIXELS_PER_BYTE = 25_000_000, 20_000
SEQUENCES = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # formats with pages or animations
WRITABLE = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
OPAQUE_ONLY = {".jpg", ".jpeg"}
# EXIF that describes the photograph and not its file: description, make, model, resolution,
# software, date, artist, copyright; and the blocks of the exposure and of the location.
EXIF_TAGS = (0x10E, 0x10F, 0x110, 0x11A, 0x11B, 0x128, 0x131, 0x132, 0x13B, 0x8298)
EXIF_BLOCKS = (0x8769, 0x8825)
MAX_EXIF = 65_000  # bytes; JPEG holds no more


class PictureError(Exception):
    """A file cannot be read or written; one line that names it."""


def check_regular(path: Path) -> None:
    """Raise PictureError for other than regular files: reading a pipe or a device may never end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise PictureError(f"{path}: cannot be read ({_reason(error)})") from None
    if stat.S_ISDIR(mode):
        raise PictureError(f"{path}: is a folder, not a picture")
    if not stat.S_ISREG(mode):
        raise PictureError(f"{path}: is a pipe or a device; name a regular file")


@contextmanager
def open_picture(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """Decode a file, or its content `data`, as a Pillow image, for a block that converts it.

    Only `FORMATS` are opened. Raises PictureError, which names `path`, if the file is missing,
    damaged, of another format or too large, and for any exception in the block.
    """
    if data is None:
        check_regular(path)
    try:
        with _no_warnings(), io.BytesIO(data) if data is not None else path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            with Image.open(file, formats=_formats(file)) as image:
                _check_size(path, image, size)
                image.info["pictures"] = count_pictures(image)
                image.load()
                yield image
    except PictureError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise PictureError(f"{path}: too many pixels; reduce its size first") from None
    except UnidentifiedImageError:
        raise PictureError(
            f"{path}: not a readable picture (damaged, or of an unknown format); "
            "save it as JPEG or PNG"
        ) from None
    except Exception as error:  # decoders raise exceptions of any kind
        raise PictureError(f"{path}: not a readable picture ({_reason(error)})") from error


def count_pictures(image: Image.Image) -> int:
    """Count the frames of an animation or the pages of a file; 1 for other formats."""
    return getattr(image, "n_frames", 1) if image.format in SEQUENCES else 1


def _formats(file: io.BufferedIOBase) -> list[str]:
    """Return the formats to try. Raises ValueError for HEIC if its decoder is not installed."""
    head = file.read(12)
    file.seek(0)
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and "HEIF" not in Image.OPEN:
        if not importlib.util.find_spec("pillow_heif"):
            raise ValueError("HEIC needs pip install 'duostyle[heic]'")
        import pillow_heif

        pillow_heif.register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_size(path: Path, image: Image.Image, size: int) -> None:
    """Check the width and height in the header of a file of `size` bytes, before it is decoded."""
    width, height = image.size
    if min(width, height) < 1:
        raise PictureError(f"{path}: not a readable picture (it has no pixels)")
    sparse = width * height > SPARSE_PIXELS and width * height > size * MAX_PIXELS_PER_BYTE
    if width * height > MAX_PIXELS or sparse:
        raise PictureError(
            f"{path}: {width}x{height} are too many pixels {_limit(size, sparse)}; "
            "reduce its size first"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PictureError(
            f"{path}: {width}x{height} pixels are too narrow (limit: 1 to {MAX_ASPECT}); crop it"
        )


def _limit(size: int, sparse: bool) -> str:
    return f"for a file of {size} bytes" if sparse else f"(limit: {MAX_PIXELS:,})"


def _reason(error: Exception) -> str:
    """Return the message of an error in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings: what matters to a user is raised as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _silence_libtiff() -> None:
    """Stop libtiff, which Pillow calls, from printing: Pillow raises its errors."""
    library = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        setter = getattr(library, name, None)  # absent where libtiff is a library of its own
        if setter is not None:
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


_silence_libtiff()


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None]:
    """Convert to an 8-bit RGB image in sRGB; returns it with the profile if that still applies.

    `profile`: embedded ICC profile; a damaged one, or one of another color model, is ignored.
    Raises ValueError for a float image with values that are not finite.
    """
    if image.mode in DEEP_MODES:
        return _deep_to_rgb(image), None
    kind = _kind(image)
    if not profile or _space(profile) != kind:
        return image.convert("RGB"), None
    if kind == "RGB" and is_srgb(profile):
        return image.convert("RGB"), profile
    plain = image.convert({"GRAY": "L"}.get(kind, kind))
    try:
        return _convert(plain, profile), None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return plain.convert("RGB"), None


def _kind(image: Image.Image) -> str:
    """The ICC color space that a profile of this image must have."""
    return "CMYK" if image.mode in CMYK_MODES else "GRAY" if image.mode in GRAY_MODES else "RGB"


@lru_cache(maxsize=8)
def _space(profile: bytes) -> str:
    """The color space of a profile; empty for a damaged one."""
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return ""


@lru_cache(maxsize=8)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile maps every color as sRGB does, within a tolerance."""
    steps = np.linspace(0, 255, GRID).round().astype(np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(GRID, -1, 3)
    try:
        shown = np.asarray(_convert(Image.fromarray(colors), profile), dtype=int)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return bool(np.abs(shown - colors).max() <= SRGB_TOLERANCE)


def _convert(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None  # it is None for conversions in place only
    return converted


def _deep_to_rgb(image: Image.Image) -> Image.Image:
    """Convert gray of 16 or 32 bits or floats.

    Integers are scaled from 0..65535 and floats from 0..1, or from 0 to their maximum if larger.
    """
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not finite; save it with 8 or 16 bits")
    largest = float(values.max(initial=0))
    white = 1.0 if image.mode == "F" else 65535.0
    scaled = values / max(largest, white) * 255
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8)).convert("RGB")


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

    EXIF orientation is applied; 16 bits, CMYK, palettes and gray are converted.
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
        options["subsampling"] = 0  # edges between saturated colors stay sharp
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
        files.write_atomically(path, encoded.getbuffer())
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
