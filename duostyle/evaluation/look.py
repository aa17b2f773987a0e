"""Painting or photo filter: figures of lightness and colour, beside the paintings' own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from duostyle.io.images import (
    PictureError,
    list_pictures,
    long_side,
    read_picture,
    resize,
)
from duostyle.models import StyleNetwork

WAVELENGTH = 16  # pixels; what is longer is coarse
MIXED = (0.05, 0.95)  # share of foreground where its colour is compared with the background's
COLUMNS = ("span", "darkest", "follows", "coarse", "dial", "dial2", "figure")

Array = NDArray[np.float32]
Row = dict[str, float]


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError:
        raise ValueError("look needs OpenCV: pip install -e '.[evaluate]'") from None
    return cv2


def lab(picture: Tensor) -> Array:
    """CIE L*a*b* (D65) of `(1, 3, H, W)` sRGB in [0, 1], as `(H, W, 3)`."""
    cv2 = _opencv()
    rgb = picture[0].permute(1, 2, 0).clamp(0, 1).float().cpu().numpy()
    return cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB)


def span(light: Array) -> float:
    """Lightness L*/100: 99th less 1st percentile."""
    return float(np.percentile(light, 99) - np.percentile(light, 1))


def lightness(photo: Tensor, painted: Tensor) -> Row:
    """Return span, darkest, correlation with the photograph and coarse share of one picture.

    `photo`, `painted`: `(1, 3, H, W)` in [0, 1]. `darkest`: the 1st percentile of L*/100.
    `coarse`: share of what is painted in (the lightness that is left after the photograph's own
    is fitted away) at wavelengths over 16 pixels.
    """
    cv2 = _opencv()
    a, b = lab(photo)[..., 0] / 100, lab(painted)[..., 0] / 100
    slope, offset = np.polyfit(a.ravel(), b.ravel(), 1)
    rest = (b - (slope * a + offset)).astype(np.float32)
    smooth = cv2.GaussianBlur(rest, (0, 0), WAVELENGTH / (2 * np.pi))
    return {
        "span": span(b),
        "darkest": float(np.percentile(b, 1)),
        "follows": float(np.corrcoef(a.ravel(), b.ravel())[0, 1]),
        "coarse": float(smooth.var() / max(rest.var(), 1e-9)),
    }


def difference(one: Tensor, other: Tensor) -> float:
    """Mean colour difference (CIE76) of two pictures `(1, 3, H, W)`."""
    return float(np.linalg.norm(lab(one) - lab(other), axis=-1).mean())


def apart(painted: Tensor, mask: Tensor) -> float | None:
    """Colour difference of the means of foreground and background; None where one is missing."""
    weight = mask[0, 0].float().cpu().numpy()[..., None]
    if not MIXED[0] < weight.mean() < MIXED[1]:
        return None
    colours = lab(painted)
    means = [(colours * w).sum((0, 1)) / w.sum() for w in (weight, 1 - weight)]
    return float(np.linalg.norm(means[0] - means[1]))


@torch.inference_mode()
def measure_network(network: StyleNetwork, photos: Iterable[Tensor]) -> list[Row]:
    """Figures of a network for photographs `(1, 3, H, W)`, at alpha 0 and along the dial."""
    rows = []
    for photo in tqdm(photos, desc="look", unit="photo", disable=None):
        photo = photo.to(network.device)
        view = network.inspect(photo, 0.0)
        half, whole = network(photo, 0.5), network(photo, 1.0)
        row = lightness(photo, view.stylized)
        row |= {"dial": difference(view.stylized, half), "dial2": difference(half, whole)}
        figure = apart(view.stylized, view.mask)
        rows.append(row if figure is None else row | {"figure": figure})
    return rows


def measure_pictures(folder: Path, photos: Mapping[str, Tensor]) -> list[Row]:
    """Figures of other programs' results in a folder, `STEM.*` or `STEM-alpha*`.

    Raises PictureError where there is none for any of the photographs.
    """
    rows = []
    for stem, painted in results(folder, photos).items():
        pixels = read_picture(painted).pixels[None]
        rows.append(lightness(photos[stem], resize(pixels, tuple(photos[stem].shape[-2:]))))
    if not rows:
        raise PictureError(f"{folder}: no results named as the photographs are")
    return rows


def measure_by(paint: Callable[[Tensor], Tensor], photos: Iterable[Tensor]) -> list[Row]:
    """Figures of another way to paint, `(1, 3, H, W)` to the same."""
    with torch.inference_mode():
        return [lightness(photo, paint(photo)) for photo in photos]


def results(folder: Path, stems: Iterable[str]) -> dict[str, Path]:
    """Return the first result in a folder for each photograph's stem."""
    found = {}
    for path in list_pictures(folder):
        found.setdefault(path.stem.split("-alpha")[0], path)
    return {stem: found[stem] for stem in stems if stem in found}


def read_photos(folder: Path, size: int, count: int | None) -> dict[str, Tensor]:
    """Return photographs by stem, `(1, 3, H, W)`, their long side at `size`.

    `count`: so many, evenly spread over the folder; None for all. Raises PictureError where the
    folder holds none.
    """
    files = list_pictures(folder)
    if not files:
        raise PictureError(f"{folder}: no pictures in this folder")
    files = files[:: max(len(files) // count, 1)][:count] if count else files
    photos = {path.stem: read_picture(path).pixels[None] for path in files}
    return {stem: resize(p, long_side(tuple(p.shape[-2:]), size)) for stem, p in photos.items()}


def summary(rows: Sequence[Row]) -> Row:
    """Medians over the photographs of every figure that there is."""
    return {
        name: median(values)
        for name in COLUMNS
        if (values := [row[name] for row in rows if name in row])
    }


def painting_row(styles: Sequence[Tensor]) -> Row:
    """Span and darkest of paintings `(1, 3, H, W)`, averaged."""
    lights = [lab(style)[..., 0] / 100 for style in styles]
    return {
        "span": fmean(span(light) for light in lights),
        "darkest": fmean(float(np.percentile(light, 1)) for light in lights),
    }


def table(found: Mapping[str, Row], count: int) -> str:
    """The figures for a terminal."""
    width = max(len(name) for name in found)
    lines = [f"{count} photographs, medians", " " * width + "".join(f"{c:>9s}" for c in COLUMNS)]
    for name, row in found.items():
        cells = [f"{row[c]:9.3f}" if c in row else f"{'-':>9s}" for c in COLUMNS]
        lines.append(f"{name:{width}s}" + "".join(cells))
    return "\n".join(lines)
