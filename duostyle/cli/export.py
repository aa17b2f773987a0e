"""Export a checkpoint as an ONNX, Core ML or LiteRT model: `duostyle export --help`."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from duostyle.export.graph import GraphSignature, export_graph
from duostyle.export.half_precision import to_fp16
from duostyle.export.mobile import SUFFIXES, check_size, export_mobile, target_paths
from duostyle.export.parity import Parity, compare
from duostyle.files import ROOT, atomic_writer, printable
from duostyle.io.images import PictureError, list_pictures, read_picture
from duostyle.models import CheckpointError, load_pair, read_header, shipped_checkpoints
from duostyle.signals import INTERRUPTED, restore_interrupt_handler

MAX_PHOTOS = 32  # that are compared
ASSETS = ROOT / "assets"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    known = shipped_checkpoints()
    p = argparse.ArgumentParser(
        prog="duostyle export",
        description="Write a pair as an ONNX model: inputs content (B, 3, H, W) in [0, 1], "
        "alpha (B or 1,) and strength (B or 1, 2) of foreground and background, output stylized "
        "(B, 3, H, W). The model is compared with PyTorch, and kept "
        "only if both agree. For phones (--format coreml or litert): two models of a fixed size, "
        "NAME-mask and NAME-paint; the second also takes the mask.",
    )
    p.add_argument("checkpoint", help=f"a file, or a shipped pair: {', '.join(known)}")
    p.add_argument("-o", "--output", type=Path, help="file (default: outputs/NAME.onnx)")
    p.add_argument("--format", choices=("onnx", *SUFFIXES), default="onnx",
                   help="coreml needs .[coreml], litert .[litert] (default: onnx)")  # fmt: skip
    p.add_argument("--size", type=_size, metavar="WxH", default=None,
                   help="fixed picture size, or dynamic: any from 16x16 (default)")  # fmt: skip
    mask = p.add_mutually_exclusive_group()
    mask.add_argument("--mask-input", action="store_true",
                      help="add an input mask (B, 1, H, W), 1 = foreground")  # fmt: skip
    mask.add_argument("--mask-output", action="store_true", help="add an output mask")
    mask.add_argument("--mask-alone", action="store_true",
                      help="content to mask only, to use with a --mask-input graph")  # fmt: skip
    p.add_argument("--swap", action="store_true", help="exchange the styles")
    p.add_argument("--fp16", action="store_true", help="half precision: half the file size")
    p.add_argument(
        "--photos",
        type=Path,
        default=ASSETS / "photos",
        help="folder of photographs for the comparison",
    )
    p.add_argument("--force", action="store_true", help="overwrite an existing file")
    return p


def _size(text: str) -> tuple[int, int] | None:
    """Return height and width of "640x360", None for "dynamic"."""
    if text == "dynamic":
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(map(int, match.groups())) < 16:
        raise argparse.ArgumentTypeError(f"'{text}' is neither WxH from 16x16 nor dynamic")
    return int(match[2]), int(match[1])


def export(args: argparse.Namespace, path: Path) -> Parity | None:
    """Write the model to `path`; return its differences from PyTorch, None if it cannot run here.

    Raises ValueError, and keeps no file, if they exceed the tolerance of its precision.
    """
    network, header = load_pair(args.checkpoint), read_header(args.checkpoint)
    signature = GraphSignature(
        args.mask_input, args.mask_output, args.swap, args.mask_alone, strength=not args.mask_alone
    )
    kind = "fp16" if args.fp16 else "fp32"
    photos = [read_picture(file).pixels[None] for file in list_pictures(args.photos)[:MAX_PHOTOS]]
    if not photos:
        raise PictureError(f"{args.photos}: no pictures in this folder")
    if args.format != "onnx":
        return export_mobile(
            network, path, args.format, check_size(args.size), photos[0], args.fp16
        )
    with atomic_writer(path) as part:
        export_graph(network, part, signature, args.size, header)
        if args.fp16:
            to_fp16(part)
        found = compare(network, part, signature, photos, args.size)
        if not found.within(kind):
            raise ValueError(f"{path}: not kept, {kind} differs from PyTorch by {found}")
    return found


def check_mobile_options(args: argparse.Namespace) -> None:
    """Raise ValueError for options that only ONNX models have, or a size that does not fit."""
    for name in ("mask_input", "mask_output", "mask_alone", "swap"):
        if getattr(args, name):
            raise ValueError(f"--{name.replace('_', '-')} is for --format onnx")
    check_size(args.size)


def _bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        restore_interrupt_handler()
        return run(argv)
    except KeyboardInterrupt:
        print("duostyle export: stopped", file=sys.stderr)
        return INTERRUPTED


def run(argv: Sequence[str] | None) -> int:
    """Run the command line; Ctrl-C raises KeyboardInterrupt, with nothing written."""
    args = parser().parse_args(argv)
    suffix = SUFFIXES.get(args.format, ".onnx")
    path = args.output or Path("outputs") / f"{Path(args.checkpoint).stem}{suffix}"
    try:
        paths = [path]
        if args.format != "onnx":
            check_mobile_options(args)
            paths = target_paths(path, args.format)
        for file in paths:
            if file.exists() and not args.force:
                raise ValueError(
                    f"{file}: exists; overwrite it with --force, or name another with -o"
                )
        found = export(args, path)
    except (CheckpointError, PictureError, ValueError, OSError) as error:
        print(f"duostyle export: {printable(str(error))}", file=sys.stderr)
        return 2
    note = "not run: Core ML needs macOS"
    if found is not None:
        note = f"difference against PyTorch {found}"
    for file in paths:
        print(f"wrote {file} ({_bytes(file) / 1e6:.1f} MB; {note})")
    return 0
