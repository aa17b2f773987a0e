"""Match the colors of every style of a network to its painting, without training.

Mean and standard deviation of each color channel, before the sigmoid, become the painting's:

    python -m duostyle.training.match_colors runs/foundation/model.safetensors --styles FOLDER \\
        --output foundation.safetensors
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from duostyle.files import sha256
from duostyle.io.images import list_pictures, read_style
from duostyle.models import load_checkpoint, save_checkpoint
from duostyle.progress import progress
from duostyle.training.command import run_command
from duostyle.training.new_styles import (
    EPS,
    change_colors,
    color_change,
    mean_colors,
    painted_logits,
    photographs,
)

STYLE_SIDE = 288  # short side of the paintings, pixels


@torch.no_grad()
def match_colors(checkpoint: str, styles: Path, output: Path) -> None:
    """Write `checkpoint` (name or file) with matched colors; `styles`: folder of its paintings.

    Raises CheckpointError, PictureError or OSError for unusable files, ValueError if the folder
    lacks a painting.
    """
    network = load_checkpoint(checkpoint)
    files = {sha256(file): file for file in list_pictures(styles)}
    described = network.header.get("styles", [])
    missing = [style.get("name", "?") for style in described if style.get("sha256") not in files]
    if missing:
        raise ValueError(f"{styles}: lacks the painting {missing[0]} of {checkpoint}")
    photos = photographs()
    numbered = list(enumerate(described))
    for row, style in progress(numbered, name="styles", unit="style", announce=False):
        image = torch.logit(read_style(files[style["sha256"]], STYLE_SIDE), eps=EPS)
        painted = mean_colors(painted_logits(network, photos, row, background=False).split(1))
        change_colors(network, row, *color_change(painted, mean_colors([image])))
    save_checkpoint(output, network, network.header | {"colors": "matched"})
    print(f"wrote {output}: {len(described)} styles")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m duostyle.training.match_colors", description=__doc__.splitlines()[0]
    )
    parser.add_argument("checkpoint", help="network, name or file")
    parser.add_argument(
        "--styles", type=Path, required=True, metavar="FOLDER", help="its paintings"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write")
    args = parser.parse_args(argv)
    return run_command(
        "match_colors", lambda: match_colors(args.checkpoint, args.styles, args.output)
    )


if __name__ == "__main__":
    sys.exit(main())
