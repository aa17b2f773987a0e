"""Files of any kind as Pillow images: known formats alone, of a size that can be painted."""

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

# Plain pictures. PostScript, PDF and WMF are programs that others would run; the rest is no
# format of photographs.
FORMATS = (
    "AVIF", "BMP", "DDS", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG",
    "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP",
)  # fmt: skip
HEIF_SUFFIXES = {".heic", ".heif", ".hif"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
PICTURE_SUFFIXES = HEIF_SUFFIXES | {
    suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS
}
MOST_PIXELS = 178_000_000  # Pillow refuses 179 million; the largest cameras of phones have 108
MOST_ASPECT = 200  # of the long side to the short one; panoramas reach 30
# Larger pictures than a usual camera's that claim more pixels for a byte of their file hold none.
SPARSE_PIXELS, MOST_PIXELS_PER_BYTE = 25_000_000, 20_000
SEQUENCES = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # whose further pictures are pictures too


class PictureError(Exception):
    """A file that cannot be read or written, in one line that names it."""


def check_regular(path: Path) -> None:
    """Raise PictureError for what is no regular file: a pipe or a device can wait for ever."""
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
    """A decoded Pillow image of a file, or of its content `data`, for a block that converts it.

    Nothing but `FORMATS` is opened. Raises PictureError, which names `path`, where the file is
    missing, damaged, of another format or too large, and for whatever goes wrong in the block.
    """
    if data is None:
        check_regular(path)
    try:
        with _quiet(), io.BytesIO(data) if data is not None else path.open("rb") as file:
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
        raise PictureError(f"{path}: too many pixels; make it smaller first") from None
    except UnidentifiedImageError:
        raise PictureError(
            f"{path}: not a readable picture (damaged, or of an unknown format); "
            "save it as JPEG or PNG"
        ) from None
    except Exception as error:  # decoders raise whatever goes wrong in them
        raise PictureError(f"{path}: not a readable picture ({_reason(error)})") from error


def count_pictures(image: Image.Image) -> int:
    """How many pictures a file holds: frames of an animation or pages, 1 for other formats."""
    return getattr(image, "n_frames", 1) if image.format in SEQUENCES else 1


def _formats(file: io.BufferedIOBase) -> list[str]:
    """The formats to try. Raises ValueError for HEIC where its decoder is not installed."""
    head = file.read(12)
    file.seek(0)
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and "HEIF" not in Image.OPEN:
        if not importlib.util.find_spec("pillow_heif"):
            raise ValueError("HEIC needs pip install -e '.[heic]'")
        import pillow_heif

        pillow_heif.register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_size(path: Path, image: Image.Image, size: int) -> None:
    """Refuse what a header of `size` bytes claims, before anything is decoded."""
    width, height = image.size
    if min(width, height) < 1:
        raise PictureError(f"{path}: not a readable picture (it has no pixels)")
    sparse = width * height > SPARSE_PIXELS and width * height > size * MOST_PIXELS_PER_BYTE
    if width * height > MOST_PIXELS or sparse:
        raise PictureError(
            f"{path}: {width}x{height} are too many pixels for {_what(size, sparse)}; "
            "make it smaller first"
        )
    if max(width, height) > MOST_ASPECT * min(width, height):
        raise PictureError(
            f"{path}: {width}x{height} pixels are too narrow (most: 1 to {MOST_ASPECT}); cut it"
        )


def _what(size: int, sparse: bool) -> str:
    return f"a file of {size} bytes" if sparse else f"us (most: {MOST_PIXELS:,})"


def _reason(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow's warnings are nothing to a user: what matters is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _silence_libtiff() -> None:
    """Let libtiff, which Pillow calls, print nothing; what matters Pillow raises."""
    library = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        setter = getattr(library, name, None)  # not everywhere is it a library of its own
        if setter is not None:
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


_silence_libtiff()
