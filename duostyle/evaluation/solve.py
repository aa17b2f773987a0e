"""Stylize photographs by optimization (Gatys et al. 2016), the slow reference method."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from duostyle.data.masks import VOC_CLASSES, foreground_mask, load_segmenter, segment
from duostyle.evaluation.options import (
    Results,
    add_iterations,
    add_pair,
    add_segmenter,
    add_size,
)
from duostyle.evaluation.pair import EvaluatedPair
from duostyle.files import atomic_writer
from duostyle.io.images import PictureError, read_mask, read_picture
from duostyle.io.pixels import long_side, resize, tensor_to_pil
from duostyle.losses import Objective, ObjectiveWeights
from duostyle.losses.solver import Solution, reference_weights, solve
from duostyle.models import check_alpha
from duostyle.progress import progress

NAME = "solve"
HELP = "stylize photographs by the optimization method"
REFERENCE_SIZE = 512  # short side of the style images in the reference setting, pixels
SMALLEST = 32  # pixels; deeper layers of VGG cannot pad smaller pictures

MaskFunction = Callable[[Tensor], Tensor]  # (1, 3, H, W) in [0, 1] to the mask (1, 1, H, W)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add_pair(parser)
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("outputs/solve"),
        help="output folder (default: outputs/solve)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument("--alpha", type=float, default=0.0, help="0 to 1 (default: 0)")
    add_size(parser, "long", 512)
    add_iterations(parser)
    parser.add_argument(
        "--mask", type=Path, help="mask image, white = foreground (default: from --segmenter)"
    )
    add_segmenter(parser)
    parser.add_argument(
        "--setting",
        choices=("network", "reference"),
        default="network",
        help="the pair's own objective on VGG16, or the reference method's on VGG19 "
        "(default: network)",
    )


def run(args: argparse.Namespace) -> Results:
    """Write the pictures and return the terms of the objective that were reached."""
    check_alpha(args.alpha)
    files = plan_files(args.photos, args.output, args.force)
    pair = EvaluatedPair.from_arguments(args, vgg_depth=19 if args.setting == "reference" else 16)
    setting = choose_setting(pair, args.setting)
    mask_of = mask_source(args.mask, args.segmenter, setting.classes)
    reached = {}
    for photo, paths in files.items():
        solution = stylize(pair, setting, mask_of, photo, args.alpha, args.size, args.iterations)
        write(solution, paths)
        print(*paths, sep="\n")
        reached[str(photo)] = solution.terms
        print("  ".join(f"{name} {value:.3f}" for name, value in solution.terms.items()))
    return {"terms": reached}


class Setting(NamedTuple):
    """What is minimized."""

    styles: tuple[Tensor, Tensor]
    classes: Sequence[int]  # VOC classes that are foreground
    weights: Callable[[int, int], ObjectiveWeights]  # by height and width, pixels


def choose_setting(pair: EvaluatedPair, name: str) -> Setting:
    """Return the pair's setting ("network"), or the reference method's ("reference").

    The reference setting has people as foreground, and style images of 512 pixels.
    """
    if name == "network":
        return Setting(pair.styles(), pair.classes, lambda *_: pair.weights())
    person = VOC_CLASSES.index("person")
    return Setting(pair.styles(REFERENCE_SIZE), (person,), reference_weights)


def mask_source(file: Path | None, segmenter: str, classes: Sequence[int]) -> MaskFunction:
    """Take masks from an image file, or else from a segmentation network.

    `segmenter`: as for `load_segmenter`; `classes`: VOC classes that are foreground. Raises
    OSError or ValueError if the segmentation network is needed and cannot be loaded.
    """
    if file:
        return lambda photo: read_mask(file, (photo.shape[-2], photo.shape[-1]))
    network = load_segmenter(segmenter)
    return lambda photo: foreground_mask(segment(photo, network), classes)


def stylize(
    pair: EvaluatedPair,
    setting: Setting,
    mask_of: MaskFunction,
    photo: Path,
    alpha: float,
    size: int,
    iterations: int,
) -> Solution:
    """Stylize one photograph, its long side at most `size` pixels.

    Raises PictureError if a file cannot be read or the photograph is too small.
    """
    pixels = read_picture(photo).pixels[None]
    height, width = pixels.shape[-2:]
    if size < max(height, width):
        pixels = resize(pixels, long_side((height, width), size))
    if min(pixels.shape[-2:]) < SMALLEST:
        raise PictureError(
            f"{photo}: a side under {SMALLEST} pixels; use a larger --size or photograph"
        )
    mask = mask_of(pixels).to(pair.device)
    weights = setting.weights(pixels.shape[-2], pixels.shape[-1])
    objective = Objective(pair.vgg, setting.styles, weights)
    with progress(name=photo.name, unit="iteration", total=iterations) as bar:

        def report(value: float) -> None:
            bar.set_postfix_str(f"objective {value:.3f}", refresh=False)
            bar.update()

        return solve(objective, pixels.to(pair.device), mask, alpha, (iterations,), report)[0]


def plan_files(photos: Sequence[Path], folder: Path, force: bool) -> dict[Path, list[Path]]:
    """Name the three output files of each photograph: blended, foreground, background.

    Raises PictureError if two photographs have the same output file, or one exists and `force` is
    not set.
    """
    planned = {
        photo: [folder / f"{photo.stem}{name}.png" for name in ("", "-foreground", "-background")]
        for photo in photos
    }
    taken: set[Path] = set()
    for photo, paths in planned.items():
        for path in paths:
            if path in taken:
                raise PictureError(f"{photo}: another photograph is written to {path}; rename one")
            if path.exists() and not force:
                raise PictureError(
                    f"{path}: exists; --force overwrites it, -o names another folder"
                )
        taken |= set(paths)
    return planned


def write(solution: Solution, paths: Sequence[Path]) -> None:
    """Write the blended picture and both branch images.

    With the pair's own objective a branch image keeps the photograph outside of its region.
    """
    pictures = (solution.stylized, solution.foreground, solution.background)
    for path, pixels in zip(paths, pictures, strict=True):
        with atomic_writer(path) as part:
            tensor_to_pil(pixels[0]).save(part, format="PNG")
