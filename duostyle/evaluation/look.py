"""Lightness and color statistics that tell a painting from a filtered photograph."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from duostyle.evaluation.options import (
    Results,
    add_baseline,
    add_checkpoints,
    add_device,
    add_size,
    add_styles,
    opencv,
    positive_int,
)
from duostyle.evaluation.pair import STYLES, find_style
from duostyle.evaluation.single_style import composite_by_predicted_mask, load_single_style
from duostyle.io.images import PictureError, list_pictures, read_picture, read_style
from duostyle.io.pixels import long_side, resize
from duostyle.models import StyleNetwork, load_pair, pick_device, read_header
from duostyle.progress import progress

NAME = "look"
HELP = "lightness and color statistics: painting or photo filter"
WAVELENGTH = 16  # pixels; longer wavelengths are coarse
MIXED = (0.05, 0.95)  # foreground share of the photographs whose regions are compared
COLUMNS = {  # key in the results: heading in the table
    "span": "span",
    "darkest": "darkest",
    "correlation": "correl.",
    "coarse": "coarse",
    "alpha_0_to_half": "a 0-0.5",
    "alpha_half_to_1": "a 0.5-1",
    "between_regions": "regions",
}

Array = NDArray[np.floating]
Row = dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    parser.add_argument("photos", type=Path, metavar="FOLDER", help="photographs")
    add_checkpoints(parser)
    add_styles(parser)
    parser.add_argument(
        "--pictures",
        nargs="*",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="results of other programs, named like the photographs",
    )
    add_baseline(parser)
    add_size(parser, "long", 512)
    parser.add_argument(
        "--count",
        type=positive_int,
        help="number of photographs, evenly spaced in the folder (default: all)",
    )
    add_device(parser)


def run(args: argparse.Namespace) -> Results:
    """Measure networks and folders of pictures, print the table and return all figures."""
    device = pick_device(args.device)
    photos = read_photos(args.photos, args.size, args.count)
    medians: dict[str, Row] = {}
    every: dict[str, list[Row]] = {}
    for name in args.checkpoints:
        known = read_header(name).get("styles", [])
        files = args.styles or [find_style(style, STYLES) for style in known]
        if files:
            styles = [read_style(file, args.size) for file in files]
            medians[f"{name}: styles"] = style_row(styles)
        every[name] = measure_network(load_pair(name, device), photos.values(), name)
        medians[name] = summarize(every[name])
    for folder in args.pictures:
        every[str(folder)] = measure_pictures(folder, photos)
        medians[str(folder)] = summarize(every[str(folder)])
    if args.baseline:
        if not args.checkpoints:
            raise ValueError("--baseline needs the mask of a pair; name one with --checkpoints")
        network = load_pair(args.checkpoints[0], device)
        networks = [load_single_style(path, device) for path in args.baseline]
        name = " + ".join(path.stem for path in args.baseline)
        stylize = composite_by_predicted_mask(network, *networks)
        every[name] = measure_method(stylize, photos.values(), name)
        medians[name] = summarize(every[name])
    print(table(medians, len(photos)))
    return {"medians": medians, "photographs": every}


def lab(picture: Tensor) -> Array:
    """Convert sRGB `(1, 3, H, W)` in [0, 1] to CIE L*a*b* (D65), `(H, W, 3)`."""
    cv2 = opencv()
    rgb = picture[0].permute(1, 2, 0).clamp(0, 1).float().cpu().numpy()
    return cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB)


def span(lightness: Array) -> float:
    """99th minus 1st percentile of the lightness L*/100."""
    return float(np.percentile(lightness, 99) - np.percentile(lightness, 1))


def lightness_row(photo: Tensor, stylized: Tensor) -> Row:
    """Compare the lightness L*/100 of a stylized picture with the photograph's.

    `photo`, `stylized`: `(1, 3, H, W)` in [0, 1]. Returns `span`; `darkest`: the 1st percentile;
    `correlation` with the photograph; `coarse`: the share of variance at wavelengths over 16
    pixels in the residual of a linear fit to the photograph.
    """
    cv2 = opencv()
    a, b = lab(photo)[..., 0] / 100, lab(stylized)[..., 0] / 100
    slope, offset = np.polyfit(a.ravel(), b.ravel(), 1)
    residual = (b - (slope * a + offset)).astype(np.float32)
    smooth = cv2.GaussianBlur(residual, (0, 0), WAVELENGTH / (2 * np.pi))
    return {
        "span": span(b),
        "darkest": float(np.percentile(b, 1)),
        "correlation": float(np.corrcoef(a.ravel(), b.ravel())[0, 1]),
        "coarse": float(smooth.var() / max(residual.var(), 1e-9)),
    }


def color_difference(one: Tensor, other: Tensor) -> float:
    """Mean color difference (CIE76) of two pictures `(1, 3, H, W)`."""
    return float(np.linalg.norm(lab(one) - lab(other), axis=-1).mean())


def region_difference(stylized: Tensor, mask: Tensor) -> float | None:
    """Color difference of the mean foreground and background; None if a region is missing."""
    weight = mask[0, 0].float().cpu().numpy()[..., None]
    if not MIXED[0] < weight.mean() < MIXED[1]:
        return None
    colors = lab(stylized)
    means = [(colors * w).sum((0, 1)) / w.sum() for w in (weight, 1 - weight)]
    return float(np.linalg.norm(means[0] - means[1]))


@torch.inference_mode()
def measure_network(network: StyleNetwork, photos: Iterable[Tensor], name: str = NAME) -> list[Row]:
    """Measure a network on photographs `(1, 3, H, W)`: alpha 0, and the change up to alpha 1."""
    rows = []
    for photo in progress(photos, name=name, unit="photo"):
        photo = photo.to(network.device)
        encoded = network.encode(photo)
        stylized, half, whole = (network.decode(encoded, alpha) for alpha in (0.0, 0.5, 1.0))
        row = lightness_row(photo, stylized)
        row["alpha_0_to_half"] = color_difference(stylized, half)
        row["alpha_half_to_1"] = color_difference(half, whole)
        between = region_difference(stylized, encoded.mask)
        rows.append(row if between is None else row | {"between_regions": between})
    return rows


@torch.inference_mode()
def measure_method(
    stylize: Callable[[Tensor], Tensor], photos: Iterable[Tensor], name: str = NAME
) -> list[Row]:
    """Measure the lightness of another method, `(1, 3, H, W)` to the same."""
    return [
        lightness_row(photo, stylize(photo)) for photo in progress(photos, name=name, unit="photo")
    ]


def measure_pictures(folder: Path, photos: Mapping[str, Tensor]) -> list[Row]:
    """Measure the lightness of results in a folder, named `STEM.*` or `STEM-alpha*`.

    Raises PictureError if none is named like a photograph.
    """
    rows = []
    for stem, path in find_results(folder, photos).items():
        pixels, photo = read_picture(path).pixels[None], photos[stem]
        rows.append(lightness_row(photo, resize(pixels, (photo.shape[-2], photo.shape[-1]))))
    if not rows:
        raise PictureError(f"{folder}: no result is named like a photograph")
    return rows


def find_results(folder: Path, stems: Iterable[str]) -> dict[str, Path]:
    """Find the first result in a folder for the stem of each photograph."""
    found: dict[str, Path] = {}
    for path in list_pictures(folder):
        found.setdefault(path.stem.split("-alpha")[0], path)
    return {stem: found[stem] for stem in stems if stem in found}


def read_photos(folder: Path, size: int, count: int | None) -> dict[str, Tensor]:
    """Read photographs by stem, `(1, 3, H, W)`, their long side scaled to `size` pixels.

    `count`: number of photographs, evenly spaced in the folder; None for all. Raises PictureError
    if the folder contains none.
    """
    files = list_pictures(folder)
    if not files:
        raise PictureError(f"{folder}: no pictures in this folder")
    files = files[:: max(len(files) // count, 1)][:count] if count else files
    photos = {path.stem: read_picture(path).pixels[None] for path in files}
    return {
        stem: resize(p, long_side((p.shape[-2], p.shape[-1]), size)) for stem, p in photos.items()
    }


def summarize(rows: Sequence[Row]) -> Row:
    """Take the median of every figure over the photographs that have it."""
    return {
        name: median(values)
        for name in COLUMNS
        if (values := [row[name] for row in rows if name in row])
    }


def style_row(styles: Sequence[Tensor]) -> Row:
    """Average span and darkest of style images `(1, 3, H, W)`."""
    lights = [lab(style)[..., 0] / 100 for style in styles]
    return {
        "span": fmean(span(light) for light in lights),
        "darkest": fmean(float(np.percentile(light, 1)) for light in lights),
    }


def table(rows: Mapping[str, Row], count: int) -> str:
    """Format the medians of `count` photographs for a terminal."""
    width = max((len(name) for name in rows), default=0)
    headings = "".join(f"{heading:>9s}" for heading in COLUMNS.values())
    lines = [f"{count} photographs, medians", " " * width + headings]
    for name, row in rows.items():
        cells = [f"{row[key]:9.3f}" if key in row else f"{'-':>9s}" for key in COLUMNS]
        lines.append(f"{name:{width}s}" + "".join(cells))
    return "\n".join(lines)
