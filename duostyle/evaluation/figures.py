"""Contact sheets that explain a pair: composite and total variation, blending, samples."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.data.photos import Entry, find_labels
from duostyle.evaluation.metrics import composite
from duostyle.evaluation.options import Results, add_labeled_photos, add_pair, positive_int
from duostyle.evaluation.pair import EvaluatedPair, read_labeled
from duostyle.io.images import PictureError, read_picture, save_image
from duostyle.io.pixels import tensor_to_pil
from duostyle.io.sheet import Cell, contact_sheet
from duostyle.models import StyleNetwork, load_pair
from duostyle.progress import progress

NAME = "figures"
HELP = "contact sheets that explain a pair"
SHEETS = ("composite", "blend", "samples")
BLEND_ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SAMPLE_ALPHAS = (0.0, 0.5, 1.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add_pair(parser)
    add_labeled_photos(parser, count=6)
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("outputs/figures"),
        help="output folder (default: outputs/figures)",
    )
    parser.add_argument(
        "--without-tv",
        metavar="CHECKPOINT",
        help="the pair trained without total variation, to compare with",
    )
    parser.add_argument(
        "--height",
        type=positive_int,
        default=384,
        help="height of each picture in pixels (default: 384)",
    )


def run(args: argparse.Namespace) -> Results:
    """Write the contact sheets, print and return their paths."""
    paths = {name: args.output / f"{name}.jpg" for name in SHEETS}
    for path in paths.values():
        if path.exists() and not args.force:
            raise PictureError(f"{path}: exists; --force overwrites it, -o names another folder")
    entries = find_labels(args.photos, args.labels)[: args.count]
    pair = EvaluatedPair.from_arguments(args)
    without_tv = load_pair(args.without_tv, pair.device) if args.without_tv else None
    for name, rows in sheets(pair, without_tv, entries):
        save_image(paths[name], contact_sheet(rows, args.height), quality=90, subsampling=0)
        print(paths[name])
    return {"files": list(paths.values())}


def sheets(
    pair: EvaluatedPair, without_tv: StyleNetwork | None, entries: Sequence[Entry]
) -> Iterator[tuple[str, list[list[Cell]]]]:
    """Yield the name and the rows of each sheet; the first two show the first photograph.

    Raises PictureError if a file cannot be read.
    """
    network, device = pair.network, pair.device
    photo, mask, _ = (x.to(device) for x in read_labeled(entries[0], pair.classes))
    yield "composite", comparison(network, without_tv, photo, mask)
    yield "blend", blend(network, photo)
    photos = (
        read_picture(entry.photo).pixels[None].to(device)
        for entry in progress(entries, name=NAME, unit="photo")
    )
    yield "samples", list(samples(network, pair.style_files, photos))


@torch.inference_mode()
def comparison(
    network: StyleNetwork, without_tv: StyleNetwork | None, photo: Tensor, mask: Tensor
) -> list[list[Cell]]:
    """Show the composite of the branch images, a network trained without TV if given, and ours.

    `photo`: `(1, 3, H, W)` in [0, 1]; `mask`: `(1, 1, H, W)`, binary, used by all; alpha 0. The
    second row shows a detail of each.
    """
    view = network.inspect(photo, 0.0, mask)
    pictures = {"composite of the branches": composite(view.foreground, view.background, mask)}
    if without_tv:
        pictures["ours without total variation"] = without_tv(photo, 0.0, mask)
    pictures["ours"] = view.stylized
    top, left, height, width = densest_window(mask)
    window = (..., slice(top, top + height), slice(left, left + width))
    return [
        [(name, tensor_to_pil(p[0])) for name, p in pictures.items()],
        [(f"{name}, detail", tensor_to_pil(p[0][window])) for name, p in pictures.items()],
    ]


def densest_window(mask: Tensor) -> tuple[int, int, int, int]:
    """Find the window of half the size that contains the most of the mask's boundary.

    `mask`: `(1, 1, H, W)`. Returns top, left, height, width in pixels.
    """
    height, width = mask.shape[-2] // 2, mask.shape[-1] // 2
    down = F.pad(mask.diff(dim=-2).abs(), (0, 0, 0, 1))
    across = F.pad(mask.diff(dim=-1).abs(), (0, 1))
    step = max(min(height, width) // 8, 1)
    density = F.avg_pool2d(down + across, (height, width), step)[0, 0]
    row, column = divmod(int(density.argmax()), density.shape[1])
    return row * step, column * step, height, width


@torch.inference_mode()
def blend(network: StyleNetwork, photo: Tensor) -> list[list[Cell]]:
    """Show both branch images and the mask, then alpha from 0 to 1.

    `photo`: `(1, 3, H, W)` in [0, 1].
    """
    encoded = network.encode(photo)
    view = network.decode_all(encoded, 0.0)
    above = [
        ("photograph", tensor_to_pil(photo[0])),
        ("branch 1, alpha 0", tensor_to_pil(view.foreground[0])),
        ("branch 2, alpha 0", tensor_to_pil(view.background[0])),
        ("predicted mask", tensor_to_pil(view.mask[0])),
    ]
    strip = [(f"alpha {a:g}", tensor_to_pil(network.decode(encoded, a)[0])) for a in BLEND_ALPHAS]
    half = len(BLEND_ALPHAS) // 2
    return [above, strip[:half], strip[half:]]


@torch.inference_mode()
def samples(
    network: StyleNetwork, styles: Sequence[Path], photos: Iterable[Tensor]
) -> Iterator[list[Cell]]:
    """Show the style images, then each photograph with its mask and alpha 0, 0.5 and 1.

    `photos`: `(1, 3, H, W)` in [0, 1].
    """
    names = ("style 1, foreground", "style 2, background")
    yield [
        (name, tensor_to_pil(read_picture(path).pixels))
        for name, path in zip(names, styles, strict=True)
    ]
    for photo in photos:
        encoded = network.encode(photo)
        mask = tensor_to_pil(encoded.mask[0])
        cells = [("photograph", tensor_to_pil(photo[0])), ("predicted mask", mask)]
        for alpha in SAMPLE_ALPHAS:
            stylized = network.decode(encoded, alpha)
            cells.append((f"alpha {alpha:g}", tensor_to_pil(stylized[0])))
        yield cells
