"""Conversion of Pillow images of any mode and colour space to 8-bit sRGB."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
GREY_MODES, CMYK_MODES = ("1", "L", "LA", "La"), ("CMYK",)
SRGB_TOLERANCE = 2  # of 255; a profile within it counts as sRGB
GRID = 6  # samples of each channel for that test


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None]:
    """Convert to an 8-bit RGB image in sRGB; returns it with the profile if that still applies.

    `profile`: embedded ICC profile; a damaged one, or one of another colour model, is ignored.
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
    """The ICC colour space that a profile of this image must have."""
    return "CMYK" if image.mode in CMYK_MODES else "GRAY" if image.mode in GREY_MODES else "RGB"


@lru_cache(maxsize=8)
def _space(profile: bytes) -> str:
    """The colour space of a profile; empty for a damaged one."""
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return ""


@lru_cache(maxsize=8)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile maps every colour as sRGB does, within a tolerance."""
    steps = np.linspace(0, 255, GRID).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(GRID, -1, 3)
    try:
        shown = np.asarray(_convert(Image.fromarray(colours), profile), dtype=int)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return bool(np.abs(shown - colours).max() <= SRGB_TOLERANCE)


def _convert(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None  # it is None for conversions in place only
    return converted


def _deep_to_rgb(image: Image.Image) -> Image.Image:
    """Convert grey of 16 or 32 bits or floats.

    Integers are scaled from 0..65535 and floats from 0..1, or from 0 to their maximum if larger.
    """
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not finite; save it with 8 or 16 bits")
    largest = float(values.max(initial=0))
    white = 1.0 if image.mode == "F" else 65535.0
    scaled = values / max(largest, white) * 255
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8)).convert("RGB")
