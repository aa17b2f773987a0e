"""Give a trained pair its paintings' lights and darks: scale and shift of the last norm.

Squared distances shrink contrast where a network cannot match a painting exactly. The last norm
sets each style's contrast: one factor for its scales and one offset for its shifts bring the
lightness of painted photographs as near to the paintings' as they can.

    python -m training.contrast PAIR.safetensors --photos DIR --styles A.jpg B.jpg
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor

from duostyle.files import printable
from duostyle.io.images import PictureError, list_pictures, long_side, read_picture, resize, sha256
from duostyle.models import CheckpointError, StyleNetwork, load_pair, read_header, save_checkpoint

SIDE = 384  # long side of the photographs, pixels
EVERY = 37  # pixel of a photograph that counts: some 3,000
FACTORS = [1 + 0.05 * step for step in range(17)]
OFFSETS = [0.1 * step for step in range(-12, 7)]
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear sRGB


def lightness(picture: Tensor) -> Tensor:
    """Return CIE L*/100 of sRGB `(..., 3, N)` in [0, 1], `(..., N)`."""
    linear = torch.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
    light = (linear * linear.new_tensor(LUMINANCE)[:, None]).sum(dim=-2)
    return torch.where(
        light > 216 / 24389, 1.16 * light.clamp_min(1e-9) ** (1 / 3) - 0.16, light * 9.033
    )


def ends(picture: Tensor) -> tuple[float, float]:
    """Return the 1st and the 99th percentile of a picture's lightness; `(3, N)`, sRGB in [0, 1]."""
    low, high = torch.quantile(lightness(picture), torch.tensor([0.01, 0.99])).tolist()
    return low, high


@torch.no_grad()
def logits(network: StyleNetwork, photo: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the last sigmoid takes at alpha 0, and the shift in it, `(3, n)` each, of
    every EVERYth pixel."""
    painted, mask = network.paint(photo, 0.0)
    shift = network.to_rgb.style.mixed(mask)[1]
    values = torch.logit(painted.clamp(1e-4, 1 - 1e-4))
    return values[0].flatten(1)[:, ::EVERY], shift[0].flatten(1)[:, ::EVERY]


def best_contrast(
    painted: Sequence[tuple[Tensor, Tensor]], target: tuple[float, float]
) -> tuple[float, float]:
    """Return the factor and the offset that bring the ends of lightness nearest to `target`.

    `painted`: from `logits`. The medians over the photographs count.
    """
    found = {}
    for factor in FACTORS:
        for offset in OFFSETS:
            pairs = [
                ends(torch.sigmoid(factor * (values - shift) + shift + offset))
                for values, shift in painted
            ]
            reached = [median(side) for side in zip(*pairs, strict=True)]
            miss = sum((a - b) ** 2 for a, b in zip(reached, target, strict=True))
            found[factor, offset] = miss
    return min(found, key=found.__getitem__)


@torch.no_grad()
def stretch(network: StyleNetwork, factor: float, offset: float) -> None:
    """Multiply the last norm's scales, and add to its shifts."""
    network.to_rgb.style.scale.mul_(factor)
    network.to_rgb.style.shift.add_(offset)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        match_contrast(args)
    except (CheckpointError, PictureError, ValueError, OSError) as error:
        print(f"duostyle.training.contrast: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="a pair, changed in place")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--count", type=int, default=12, help="photographs, evenly spread")
    parser.add_argument(
        "--styles", type=Path, nargs=2, required=True, metavar="FILE", help="its two paintings"
    )
    return parser


def match_contrast(args: argparse.Namespace) -> None:
    """Change a checkpoint in place. Raises CheckpointError, PictureError, OSError."""
    network, header = load_pair(args.checkpoint), read_header(args.checkpoint)
    known = [style["sha256"] for style in header["styles"]]
    if known != [sha256(style) for style in args.styles]:
        raise CheckpointError(f"{args.checkpoint}: is of other paintings; name its own")
    paintings = [ends(read_picture(style).pixels.flatten(1)) for style in args.styles]
    target = tuple(fmean(side) for side in zip(*paintings, strict=True))
    files = list_pictures(args.photos)
    if not files or args.count < 1:
        raise PictureError(f"{args.photos}: no photographs to measure by")
    if "contrast" in header:
        raise CheckpointError(f"{args.checkpoint}: has its contrast already")
    chosen = files[:: max(len(files) // args.count, 1)][: args.count]
    photos = [read_picture(file).pixels[None] for file in chosen]
    photos = [resize(p, long_side(tuple(p.shape[-2:]), SIDE)) for p in photos]
    factor, offset = best_contrast([logits(network, photo) for photo in photos], target)
    stretch(network, factor, offset)
    kept = {k: v for k, v in header.items() if k not in ("format_version", "network")}
    kept["contrast"] = {"factor": round(factor, 3), "offset": round(offset, 3)}
    save_checkpoint(args.checkpoint, network, kept)
    print(f"{args.checkpoint}: contrast times {factor:.2f}, offset {offset:+.1f}")


if __name__ == "__main__":
    sys.exit(main())
