"""The command line of duostyle evaluate: one subcommand a question."""

import argparse
from pathlib import Path
from typing import Any

from duostyle.files import ROOT
from duostyle.models import shipped_checkpoints

PHOTO = ROOT / "assets" / "photos" / "astronaut.jpg"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="duostyle evaluate", description="Measure a trained pair.")
    questions = p.add_subparsers(dest="question", required=True)

    r = _question(questions, "regions", "who wears what by region and alpha; mask and seam")
    _add_photos(r)

    o = _question(questions, "objective", "what one forward pass is worth in solver closures")
    _add_photos(o, count=20)
    o.add_argument("--size", type=_positive, default=256, help="short side, pixels (default: 256)")
    o.add_argument("--closures", type=_positive, default=300, help="the solver's (default: 300)")
    o.add_argument("--cache", type=Path, default=Path("outputs/solver"),
                   help="keeps what the solver reached (default: outputs/solver)")  # fmt: skip
    o.add_argument("--precision", choices=("fp32", "bf16"), default="fp32",
                   help="of everything (bf16: faster where the CPU has it)")  # fmt: skip
    o.add_argument("--start", choices=("photo", "noise"), default="photo",
                   help="of the solver (noise: as Johnson et al. count)")  # fmt: skip

    a = _question(questions, "alpha", "what one network for every alpha costs")
    _add_photos(a, count=40)
    a.add_argument("--fixed", nargs="+", required=True, metavar="CHECKPOINT",
                   help="networks trained for one alpha each (low = high)")  # fmt: skip
    a.add_argument("--size", type=_positive, default=256, help="short side, pixels (default: 256)")

    n = _question(questions, "peers", "ours against the naive pipeline of today")
    _add_photos(n, count=40)
    n.add_argument("--peers", type=Path, nargs=2, required=True,
                   metavar=("FOREGROUND", "BACKGROUND"),
                   help="fast_neural_style networks of the same styles, safetensors")  # fmt: skip
    n.add_argument("--segmenter", default="deeplabv3_resnet101", help="as of duostyle train")

    t = _question(questions, "temporal", "how steady clips are painted")
    t.add_argument("clips", nargs="+", type=Path, metavar="CLIP",
                   help="video, folder of frames, or folder with frames/ and masks/")  # fmt: skip
    t.add_argument("--frames", type=_positive, default=40, help="of each (default: 40)")
    t.add_argument("--size", type=_positive, default=640, help="long side, pixels (default: 640)")
    t.add_argument("--still", type=Path, default=PHOTO, help="what the still camera looks at")
    t.add_argument("--steady", type=float, default=0.9, help="as of duostyle paint (default: 0.9)")
    t.add_argument("--others", nargs="*", default=[], metavar="CHECKPOINT", help="to compare")
    t.add_argument("--peers", type=Path, nargs=2, metavar=("FOREGROUND", "BACKGROUND"),
                   help="fast_neural_style networks, for the naive pipeline")  # fmt: skip
    t.add_argument("--segmenter", default="deeplabv3_resnet101", help="as of duostyle train")

    _add_speed(questions)

    f = _question(questions, "figures", "the pictures that explain a pair")
    _add_photos(f, count=6)
    f.add_argument("--force", action="store_true", help="overwrite what exists")
    f.add_argument("-o", "--output", type=Path, default=Path("outputs/figures"), help="folder")
    f.add_argument("--without-tv", metavar="CHECKPOINT", help="the pair trained without that term")
    f.add_argument("--height", type=_positive, default=384, help="of a picture (default: 384)")

    s = _question(questions, "solve", "paint photographs by the reference solver")
    s.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    s.add_argument("-o", "--output", type=Path, default=Path("outputs/solve"), help="folder")
    s.add_argument("--force", action="store_true", help="overwrite what exists")
    s.add_argument("--alpha", type=float, default=0.0, help="0 to 1 (default: 0)")
    s.add_argument("--size", type=_positive, default=512, help="long side, pixels (default: 512)")
    s.add_argument("--closures", type=_positive, default=300, help="(default: 300)")
    s.add_argument("--mask", type=Path, help="matte, white = foreground (default: by --segmenter)")
    s.add_argument("--segmenter", default="deeplabv3_resnet101", help="as of duostyle train")
    s.add_argument("--setting", choices=("network", "reference"), default="network",
                   help="the pair's objective on VGG16, or the reference one on VGG19")  # fmt: skip

    k = questions.add_parser("look", help="painting or photo filter: lightness, darks, colours")
    k.add_argument("photos", type=Path, metavar="FOLDER", help="photographs")
    k.add_argument("--checkpoints", nargs="*", default=shipped_checkpoints(), metavar="CHECKPOINT",
                   help="files or shipped names (default: all that ship)")  # fmt: skip
    k.add_argument("--styles", type=Path, nargs=2, metavar=("FOREGROUND", "BACKGROUND"),
                   help="the paintings (default: those of shipped pairs)")  # fmt: skip
    k.add_argument("--pictures", nargs="*", type=Path, default=[], metavar="FOLDER",
                   help="results of other programs, named as the photographs")  # fmt: skip
    k.add_argument("--peers", type=Path, nargs=2, metavar=("FOREGROUND", "BACKGROUND"),
                   help="fast_neural_style networks, pasted by our mask")  # fmt: skip
    k.add_argument("--size", type=_positive, default=512, help="long side, pixels (default: 512)")
    k.add_argument("--count", type=_positive, help="photographs, evenly spread (default: all)")
    k.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    k.add_argument("--json", type=Path, help="write every figure to this file")

    b = questions.add_parser("blind", help="sheets for a blind comparison of two sets of results")
    b.add_argument("folders", nargs="*", type=Path, metavar="FOLDER",
                   help="the photographs, the first results, the second results")  # fmt: skip
    b.add_argument("--paintings", nargs="*", type=Path, default=[], metavar="FILE",
                   help="shown on every sheet: style 1, style 2")  # fmt: skip
    b.add_argument("-o", "--output", type=Path, default=Path("outputs/blind"),
                   help="of the sheets and key.json (default: outputs/blind)")  # fmt: skip
    b.add_argument("--score", action="store_true",
                   help="count answers.json in --output: {\"00\": \"left\", ...}")  # fmt: skip
    b.add_argument("--json", type=Path, help="write the counts to this file")
    return p


def _add_speed(questions: Any) -> None:
    v = questions.add_parser("speed", help="how fast, beside the naive pipeline")
    v.add_argument("--checkpoints", nargs="*", default=shipped_checkpoints(), metavar="CHECKPOINT",
                   help="files or shipped names (default: all that ship)")  # fmt: skip
    v.add_argument("--sizes", nargs="*", type=_wide, default=[(640, 360)], metavar="WxH",
                   help="of pictures and clips (default: 640x360)")  # fmt: skip
    v.add_argument("--seconds", type=float, default=5.0, help="for each row (default: 5)")
    v.add_argument("--frames", type=_positive, default=90, help="of the clip (default: 90)")
    v.add_argument("--compile", action="store_true", help="rows for torch.compile too")
    v.add_argument("--train", nargs=argparse.REMAINDER, default=[], metavar="OPTION",
                   help="at the end: duostyle train's options, for its speed")  # fmt: skip
    v.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    v.add_argument("--json", type=Path, help="write every figure to this file")


def _question(questions: Any, name: str, help: str) -> argparse.ArgumentParser:
    """A subcommand with what all of them take."""
    p = questions.add_parser(name, help=help)
    known = shipped_checkpoints()
    p.add_argument("--checkpoint", default=known[0] if known else None, help="file or shipped name")
    p.add_argument("--styles", type=Path, nargs=2, metavar=("FOREGROUND", "BACKGROUND"),
                   help="the style images (default: those of a shipped pair)")  # fmt: skip
    p.add_argument("--vgg-weights", type=Path, help="VGG safetensors file (default: fetched)")
    p.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    p.add_argument("--json", type=Path, help="write every figure to this file")
    return p


def _add_photos(p: argparse.ArgumentParser, count: int | None = None) -> None:
    """Labelled photographs; `count`: how many of them by default, None for all."""
    p.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    p.add_argument("--labels", type=Path, required=True, help="folder of their VOC index PNGs")
    if count:
        p.add_argument("--count", type=_positive, default=count, help=f"(default: {count})")


def _wide(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 16):
        raise argparse.ArgumentTypeError(f"'{text}' is no WxH from 16x16")
    return int(width), int(height)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of 1 or more")
    return int(text)
