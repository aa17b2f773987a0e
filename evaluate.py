"""Measure a trained pair: `python evaluate.py regions --photos DIR --labels DIR`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from data.images import PictureError, read_style, whole_file
from data.masks import foreground_classes
from data.photos import label_jobs
from losses import PerceptualNetwork
from metrics import regions
from models import CheckpointError, load_checkpoint, read_header, shipped_checkpoints

STYLES = Path(__file__).resolve().parent / "assets" / "styles"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="evaluate.py", description="Measure a trained pair.")
    questions = p.add_subparsers(dest="question", required=True)
    r = questions.add_parser(
        "regions", help="who wears what by region and alpha; mask IoU against labels"
    )
    known = shipped_checkpoints()
    r.add_argument("--checkpoint", default=known[0] if known else None, help="file or shipped name")
    r.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    r.add_argument("--labels", type=Path, required=True, help="folder of their VOC index PNGs")
    r.add_argument("--styles", type=Path, nargs=2, metavar=("FOREGROUND", "BACKGROUND"),
                   help="the style images (default: those of a shipped pair)")  # fmt: skip
    r.add_argument("--vgg-weights", type=Path, help="VGG16 safetensors file (default: fetched)")
    r.add_argument("--json", type=Path, help="write every figure to this file")
    return p


def run_regions(args: argparse.Namespace) -> None:
    """The question `regions`: a table, and a JSON file where one is named."""
    if not args.checkpoint:
        raise CheckpointError("no checkpoint ships here; name one with --checkpoint")
    network, header = load_checkpoint(args.checkpoint), read_header(args.checkpoint)
    if not {"training", "styles"} <= header.keys():
        raise CheckpointError(f"{args.checkpoint}: does not name its styles; use one of train.py's")
    training = header["training"]
    paths = args.styles or [regions.find_style(style, STYLES) for style in header["styles"]]
    styles = tuple(read_style(path, training["style_size"]) for path in paths)
    vgg = PerceptualNetwork(args.vgg_weights)
    classes = foreground_classes(training["foreground"])
    entries = label_jobs(args.photos, args.labels)
    figures = regions.measure(network, vgg, styles, entries, classes)
    if not figures.distances[0.0]:
        raise ValueError(f"{args.photos}: no photograph has 10 to 70 % foreground")
    low, high = (round(100 * share) for share in regions.REGION_SHARE)
    print(f"{len(figures.distances[0.0])} photographs with {low} to {high} % foreground;")
    print("Gram distance of each region to the two styles (1 = the styles' own mean squared norm),")
    print("averaged:")
    print("alpha   foreground to 1, to 2     background to 1, to 2")
    for alpha in regions.ALPHAS:
        f1, f2, b1, b2 = figures.mean(alpha)
        print(f"{alpha:5.2f}   {f1:15.4f}  {f2:6.4f}     {b1:15.4f}  {b2:6.4f}")
    print(f"each region nearer to its own style at alpha 0: {100 * figures.right():.1f} %")
    falls = "yes" if figures.falls() else "NO"
    print(f"distance to the other style falls at every step: {falls}")
    print(f"mask IoU: {figures.mean_iou():.3f} ({len(figures.ious)} photographs)")
    if args.json:
        found = {
            "checkpoint": args.checkpoint,
            "git_revision": header.get("git_revision", ""),
            "photographs": str(args.photos),
            "regions_right": figures.right(),
            "other_style_falls": figures.falls(),
            "mask_iou": figures.mean_iou(),
            "mean_distances": {str(a): figures.mean(a) for a in regions.ALPHAS},
            "distances": {str(a): rows for a, rows in figures.distances.items()},
            "ious": figures.ious,
        }
        with whole_file(args.json) as part:
            part.write_text(json.dumps(found, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parser().parse_args(argv)
    try:
        run_regions(args)
    except (ValueError, OSError, PictureError, CheckpointError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
