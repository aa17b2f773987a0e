"""Open picture files with Pillow: an allow-list of formats, with limits on the size."""

import ctypes
import importlib.util
import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError, _imaging

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
