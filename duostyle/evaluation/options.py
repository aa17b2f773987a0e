"""Command-line arguments that several evaluations share, and their optional dependency."""

import argparse
from pathlib import Path
from types import ModuleType

from duostyle.files import ROOT
from duostyle.models import shipped_checkpoints

Results = dict[str, object]  # every figure of an evaluation, as written by --json
PHOTO = ROOT / "assets" / "photos" / "astronaut.jpg"


def add_pair(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `EvaluatedPair.from_arguments` reads."""
    shipped = shipped_checkpoints()
    parser.add_argument(
        "--checkpoint",
        default=shipped[0] if shipped else None,
        help="checkpoint file or name of a shipped pair (default: the first shipped pair)",
    )
    add_styles(parser)
    parser.add_argument(
        "--vgg-weights", type=Path, help="VGG weights, a safetensors file (default: downloaded)"
    )
    add_device(parser)


def add_styles(parser: argparse.ArgumentParser) -> None:
    """Add `--styles`, the two style images."""
    parser.add_argument(
        "--styles",
        type=Path,
        nargs=2,
        metavar=("FOREGROUND", "BACKGROUND"),
        help="the style images (default: those of a shipped pair)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))


def add_checkpoints(parser: argparse.ArgumentParser) -> None:
    """Add `--checkpoints`, by default every shipped pair."""
    parser.add_argument(
        "--checkpoints",
        nargs="*",
        default=shipped_checkpoints(),
        metavar="CHECKPOINT",
        help="checkpoint files or names of shipped pairs (default: all shipped pairs)",
    )


def add_labeled_photos(parser: argparse.ArgumentParser, count: int | None = None) -> None:
    """Add `--photos` and `--labels`, and `--count` if it has a default."""
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument(
        "--labels", type=Path, required=True, help="folder of their PASCAL VOC index PNGs"
    )
    if count:
        parser.add_argument(
            "--count",
            type=positive_int,
            default=count,
            help=f"number of photographs (default: {count})",
        )


def add_baseline(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add `--baseline`, the two single-style networks."""
    parser.add_argument(
        "--baseline",
        type=Path,
        nargs=2,
        required=required,
        metavar=("FOREGROUND", "BACKGROUND"),
        help="single-style networks of fast_neural_style to compare with, safetensors files",
    )


def add_segmenter(parser: argparse.ArgumentParser) -> None:
    """Add `--segmenter`."""
    parser.add_argument(
        "--segmenter",
        default="deeplabv3_resnet101",
        help="segmentation network, or an ONNX file, as for duostyle train "
        "(default: deeplabv3_resnet101)",
    )


def add_size(parser: argparse.ArgumentParser, side: str, default: int) -> None:
    """Add `--size`; `side`: "short" or "long"."""
    parser.add_argument(
        "--size",
        type=positive_int,
        default=default,
        help=f"{side} side in pixels (default: {default})",
    )


def add_iterations(parser: argparse.ArgumentParser) -> None:
    """Add `--iterations` of the solver."""
    parser.add_argument(
        "--iterations",
        "--closures",
        type=positive_int,
        default=300,
        help="L-BFGS iterations of the solver (default: 300)",
    )


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def picture_size(text: str) -> tuple[int, int]:
    """Parse WxH, at least 16x16, as (width, height)."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 16):
        raise argparse.ArgumentTypeError(f"'{text}' is not WxH of at least 16x16 pixels")
    return int(width), int(height)


def opencv() -> ModuleType:
    """Import OpenCV. Raises ValueError if it is not installed."""
    try:
        import cv2
    except ImportError:
        raise ValueError("this evaluation needs OpenCV: pip install 'duostyle[evaluate]'") from None
    return cv2
