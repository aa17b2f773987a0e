"""The pixel contract: files of any kind in, RGB float32 `(3, H, W)` in [0, 1], and out again."""

import hashlib
import io
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor
from torch.nn import functional as F

from .exif import describe

PICTURE_SUFFIXES = {
    suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN
} - {".pdf", ".ps", ".eps", ".mpg", ".mpeg"}
WRITABLE = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
OPAQUE_ONLY = {".jpg", ".jpeg"}


class PictureError(Exception):
    """A file that cannot be read or written, in one line that names it."""


@dataclass
class Picture:
    """A decoded file: its pixels and what has to be carried over to the painted one."""

    pixels: Tensor  # (3, H, W) RGB in [0, 1], upright
    transparency: Image.Image | None = None  # mode L, at the picture's size
    icc_profile: bytes | None = None
    exif: bytes | None = None


def read_picture(path: Path) -> Picture:
    """Read any Pillow format; EXIF orientation applied, 16-bit, CMYK, palette, grey accepted.

    Raises PictureError where the file is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return decode(image)
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except Image.DecompressionBombError:
        raise PictureError(f"{path}: too many pixels; make it smaller first") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise PictureError(f"{path}: not a readable picture ({error})") from error


def decode(image: Image.Image) -> Picture:
    """The pixels and the metadata of a Pillow image of any mode."""
    upright = ImageOps.exif_transpose(image)
    transparency = None
    if upright.has_transparency_data:
        transparency = upright.convert("RGBA").getchannel("A")
    rgb, profile = _to_rgb(upright, image.info.get("icc_profile"))
    return Picture(pil_to_tensor(rgb), transparency, profile, describe(image.getexif()))


def _to_rgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None]:
    """RGB, 8 bits, with the profile that still describes it."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        values = np.asarray(image, dtype=np.float32)
        # 16-bit files span 0..65535; 32-bit and float ones are stretched to what they hold.
        top = 65535.0 if image.mode != "F" and values.max(initial=0) <= 65535 else values.max()
        top = 1.0 if image.mode == "F" and top <= 1 else max(float(top), 1e-6)
        grey = Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))
        return grey.convert("RGB"), None
    if image.mode == "CMYK" and profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB"), None
        except (ImageCms.PyCMSError, OSError):
            return image.convert("RGB"), None  # a broken profile: Pillow's plain conversion
    keeps_profile = image.mode in ("RGB", "RGBA", "P", "PA")
    return image.convert("RGB"), profile if keeps_profile else None


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
    kind = Image.registered_extensions()[suffix]
    with whole_file(path) as part:
        image.save(part, format=kind, **options)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise PictureError(f"{path}: cannot be written ({error.strerror})") from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        part.replace(path)
    except OSError as error:
        raise PictureError(f"{path}: cannot be written ({error})") from error
    finally:
        part.unlink(missing_ok=True)


def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """A matte as `(1, 1, H, W)` in [0, 1], enlarged or reduced to `size` = (H, W).

    White is foreground; see `matte`. Raises PictureError where the file cannot be read.
    """
    return matte(read_picture(path), size)


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
    pixels = read_picture(path).pixels[None]
    return resize(pixels, short_side(tuple(pixels.shape[-2:]), short))


def list_pictures(folder: Path, suffixes: set[str] = PICTURE_SUFFIXES) -> list[Path]:
    """Every picture in a folder, flat or nested, sorted by name."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


def in_order(files: Iterable[Path]) -> list[Path]:
    """Files by their numbers: 2.png before 10.png."""

    def key(path: Path) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", str(path))
        return [(int(part), "") if part.isdigit() else (0, part) for part in parts]

    return sorted(files, key=key)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
