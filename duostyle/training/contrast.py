"""Match the contrast of a trained pair to its style images: the last norm's scale and shift.

A squared loss shrinks contrast where a network cannot match a style exactly. One factor for the
last norm's scales and one offset for its shifts are searched that bring the lightness of painted
photographs closest to that of the style images.

    python -m duostyle.training.contrast PAIR.safetensors --photos DIR --styles A.jpg B.jpg
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor

from duostyle.files import sha256
from duostyle.io.images import PictureError, list_pictures, read_picture
from duostyle.io.pixels import long_side, resize
from duostyle.models import CheckpointError, StyleNetwork, load_pair, read_header, save_checkpoint
from duostyle.progress import progress
from duostyle.training.command import run_command

LONG_SIDE = 384  # of the photographs, pixels
COUNT = 12  # photographs
STEP = 37  # every 37th pixel of a photograph is used, about 3,000
FACTORS = [1 + 0.05 * step for step in range(17)]
OFFSETS = [0.1 * step for step in range(-12, 7)]
LUMINANCE = (0.2126, 0.7152, 0.0722)  # weights of linear sRGB


def lightness(picture: Tensor) -> Tensor:
    """Return CIE L*/100 of sRGB `(..., 3, N)` in [0, 1], `(..., N)`."""
    linear = torch.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
    light = (linear * linear.new_tensor(LUMINANCE)[:, None]).sum(dim=-2)
    return torch.where(
        light > 216 / 24389, 1.16 * light.clamp_min(1e-9) ** (1 / 3) - 0.16, light * 9.033
    )


def lightness_range(picture: Tensor) -> tuple[float, float]:
    """Return the 1st and 99th percentile of the lightness of `(3, N)`, sRGB in [0, 1]."""
    low, high = torch.quantile(lightness(picture), torch.tensor([0.01, 0.99])).tolist()
    return low, high


@torch.no_grad()
def last_logits(network: StyleNetwork, photo: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last sigmoid's input at alpha 0 and the norm's shift in it, `(3, N)` each.

    `photo`: `(1, 3, H, W)` in [0, 1]. Every STEPth pixel is returned.
    """
    encoded = network.encode(photo)
    shift = torch.lerp(
        network.branch2.to_rgb.style.shift[1], network.branch1.to_rgb.style.shift[0], encoded.mask
    )
    values = torch.logit(network.decode(encoded, 0.0).clamp(1e-4, 1 - 1e-4))
    return values[0].flatten(1)[:, ::STEP], shift[0].flatten(1)[:, ::STEP]


def best_contrast(
    painted: Sequence[tuple[Tensor, Tensor]], target: tuple[float, float]
) -> tuple[float, float]:
    """Return the factor and offset that bring the lightness range closest to `target`.

    `painted`: from `last_logits`, one for each photograph; the median over them is compared.
    """
    errors: dict[tuple[float, float], float] = {}
    for factor in FACTORS:
        for offset in OFFSETS:
            ranges = [
                lightness_range(torch.sigmoid(factor * (values - shift) + shift + offset))
                for values, shift in painted
            ]
            reached = [median(bound) for bound in zip(*ranges, strict=True)]
            errors[factor, offset] = sum((a - b) ** 2 for a, b in zip(reached, target, strict=True))
    return min(errors, key=errors.__getitem__)


@torch.no_grad()
def adjust_contrast(network: StyleNetwork, factor: float, offset: float) -> None:
    """Multiply the last norm's scales by `factor` and add `offset` to its shifts."""
    for branch in (network.branch1, network.branch2):
        branch.to_rgb.style.scale.mul_(factor)
        branch.to_rgb.style.shift.add_(offset)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = _parser().parse_args(argv)
    return run_command(
        "contrast", lambda: match_contrast(args.checkpoint, args.styles, args.photos, args.count)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m duostyle.training.contrast", description=__doc__.splitlines()[0]
    )
    parser.add_argument("checkpoint", type=Path, help="pair, changed in place")
    parser.add_argument(
        "--photos", type=Path, required=True, metavar="DIR", help="folder of photographs"
    )
    parser.add_argument(
        "--count",
        type=int,
        default=COUNT,
        metavar="N",
        help="photographs to use, evenly spread over the folder (default: %(default)s)",
    )
    parser.add_argument(
        "--styles", type=Path, nargs=2, required=True, metavar="FILE", help="its two style images"
    )
    return parser


def match_contrast(checkpoint: Path, styles: Sequence[Path], photos: Path, count: int) -> None:
    """Change a checkpoint in place; arguments as on the command line.

    Raises CheckpointError, PictureError or OSError for unusable files.
    """
    load_pair(checkpoint)
    header = read_header(checkpoint)
    known = [style.get("sha256") for style in header.get("styles", [])]
    if known != [sha256(style) for style in styles]:
        raise CheckpointError(f"{checkpoint}: has other styles; name its own style images")
    if "contrast" in header:
        raise CheckpointError(f"{checkpoint}: its contrast is matched already")
    files = list_pictures(photos)
    if not files or count < 1:
        raise PictureError(f"{photos}: no photographs to measure by")
    target = target_range([[style] for style in styles])
    photographs = [read_picture(file).pixels[None] for file in spread(files, count)]
    factor, offset = adjust_checkpoint(checkpoint, target, photographs)
    print(f"wrote {checkpoint}: contrast times {factor:.2f}, offset {offset:+.1f}")


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """Return up to `count` files, evenly spread."""
    return list(files[:: max(len(files) // count, 1)][:count])


def target_range(styles: Sequence[Sequence[Path]]) -> tuple[float, float]:
    """Return the lightness range to reach: the mean over the styles, each the mean of its images.

    Raises PictureError if an image cannot be read.
    """
    means = []
    for images in styles:
        ranges = [lightness_range(read_picture(image).pixels.flatten(1)) for image in images]
        means.append([fmean(bound) for bound in zip(*ranges, strict=True)])
    low, high = (fmean(bound) for bound in zip(*means, strict=True))
    return low, high


def adjust_checkpoint(
    checkpoint: Path, target: tuple[float, float], photos: Sequence[Tensor]
) -> tuple[float, float]:
    """Change a checkpoint in place; return the factor and the offset, which its header names.

    `target`: from `target_range`; `photos`: to measure by, `(1, 3, H, W)` in [0, 1]. Raises
    CheckpointError or OSError if the checkpoint cannot be read or written.
    """
    network, header = load_pair(checkpoint), read_header(checkpoint)
    painted = []
    for photo in progress(photos, name="contrast", unit="photo", announce=False):
        size = long_side((photo.shape[-2], photo.shape[-1]), LONG_SIDE)
        painted.append(last_logits(network, resize(photo, size)))
    factor, offset = best_contrast(painted, target)
    adjust_contrast(network, factor, offset)
    kept = {k: v for k, v in header.items() if k not in ("format_version", "network")}
    kept["contrast"] = {"factor": round(factor, 3), "offset": round(offset, 3)}
    save_checkpoint(checkpoint, network, kept)
    return factor, offset


if __name__ == "__main__":
    sys.exit(main())
