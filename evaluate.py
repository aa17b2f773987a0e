"""Measure a trained pair: `python evaluate.py --help` lists the questions."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from data.images import PictureError, whole_file
from data.masks import load_segmenter
from data.photos import label_jobs
from metrics import conditioning, objective, peers, regions, solving
from metrics.peer_network import load_peer
from metrics.subject import Subject
from models import CheckpointError, git_revision, pick_device, shipped_checkpoints

Figures = dict[str, Any]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="evaluate.py", description="Measure a trained pair.")
    questions = p.add_subparsers(dest="question", required=True)

    r = _question(questions, "regions", "who wears what by region and alpha; mask and seam")
    _add_photos(r)

    o = _question(questions, "objective", "what one forward pass is worth in solver closures")
    _add_photos(o, count=20)
    o.add_argument("--size", type=_positive, default=256, help="short side, pixels (default: 256)")
    o.add_argument("--closures", type=_positive, default=300, help="the solver's (default: 300)")
    o.add_argument("--cache", type=Path, default=Path("outputs/solver"),
                   help="keeps what the solver reached (default: outputs/solver)")  # fmt: skip

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
    n.add_argument("--segmenter", default="deeplabv3_resnet101", help="as of train.py")

    s = _question(questions, "solve", "paint photographs by the reference solver")
    s.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    s.add_argument("-o", "--output", type=Path, default=Path("outputs/solve"), help="folder")
    s.add_argument("--force", action="store_true", help="overwrite what exists")
    s.add_argument("--alpha", type=float, default=0.0, help="0 to 1 (default: 0)")
    s.add_argument("--size", type=_positive, default=512, help="long side, pixels (default: 512)")
    s.add_argument("--closures", type=_positive, default=300, help="(default: 300)")
    s.add_argument("--mask", type=Path, help="matte, white = foreground (default: by --segmenter)")
    s.add_argument("--segmenter", default="deeplabv3_resnet101", help="as of train.py")
    s.add_argument("--setting", choices=("network", "reference"), default="network",
                   help="the pair's objective on VGG16, or the reference one on VGG19")  # fmt: skip
    return p


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


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of 1 or more")
    return int(text)


def load_subject(args: argparse.Namespace, depth: int = 16) -> Subject:
    """The pair that the command line names. Raises as `Subject.load` does."""
    if not args.checkpoint:
        raise CheckpointError("no checkpoint ships here; name one with --checkpoint")
    device = pick_device(args.device)
    return Subject.load(args.checkpoint, args.styles, args.vgg_weights, device, depth)


def run_regions(args: argparse.Namespace) -> Figures:
    """Who wears what: prints the table, returns every figure."""
    found = regions.measure(load_subject(args), label_jobs(args.photos, args.labels))
    print(regions.table(found))
    return regions.figures(found)


def run_objective(args: argparse.Namespace) -> Figures:
    """The network against the solver: prints the table, returns every figure."""
    entries, subject = label_jobs(args.photos, args.labels), load_subject(args)
    found = objective.measure(subject, entries, args.count, args.size, args.closures, args.cache)
    summaries = [
        objective.summarize([c for c in found if c.alpha == alpha]) for alpha in objective.ALPHAS
    ]
    print(objective.table(summaries))
    return {
        "summaries": [asdict(summary) for summary in summaries],
        "comparisons": [asdict(comparison) for comparison in found],
    }


def run_alpha(args: argparse.Namespace) -> Figures:
    """What conditioning costs: prints the table, returns every figure."""
    entries, subject = label_jobs(args.photos, args.labels), load_subject(args)
    fixed = {}
    for checkpoint in args.fixed:
        other = Subject.load(checkpoint, args.styles, args.vgg_weights, subject.device)
        training = other.header["training"]
        low, high = training.get("alpha_low", 0.0), training.get("alpha_high", 1.0)
        if low != high:
            raise CheckpointError(f"{checkpoint}: trained for alpha {low:g} to {high:g}, not one")
        if low in fixed:
            raise CheckpointError(f"{checkpoint}: a second network for alpha {low:g}")
        if (other.weights(), other.prints()) != (subject.weights(), subject.prints()):
            raise CheckpointError(f"{checkpoint}: another pair or objective than --checkpoint's")
        fixed[low] = other
    found = conditioning.measure(subject, fixed, entries, args.count, args.size)
    print(conditioning.table(found))
    return conditioning.figures(found)


def run_peers(args: argparse.Namespace) -> Figures:
    """The naive pipeline on the same photographs: prints the table, returns every score."""
    entries, subject = label_jobs(args.photos, args.labels), load_subject(args)
    networks = [load_peer(path, subject.device) for path in args.peers]
    rivals = peers.Rivals(load_segmenter(args.segmenter, subject.device), *networks)
    distance = peers.lpips_distance(args.vgg_weights, subject.device)
    found = peers.measure(subject, rivals, distance, entries, args.count)
    print(peers.table(found))
    return peers.figures(found)


def run_solve(args: argparse.Namespace) -> Figures:
    """Paint by the solver: writes the pictures, returns the terms reached."""
    files = solving.files(args.photos, args.output, args.force)
    subject = load_subject(args, depth=19 if args.setting == "reference" else 16)
    chosen = solving.setting(subject, args.setting)
    source = solving.MaskSource(args.mask, args.segmenter, chosen.classes)
    reached = {}
    for photo, paths in files.items():
        solution = solving.paint(
            subject, chosen, source, photo, args.alpha, args.size, args.closures
        )
        solving.write(solution, paths)
        print(*paths, sep="\n")
        reached[str(photo)] = solution.terms
        print("  ".join(f"{name} {value:.3f}" for name, value in solution.terms.items()))
    return {"terms": reached}


def write_json(args: argparse.Namespace, found: Figures) -> None:
    """Every figure with the settings and the revision that made it."""
    settings = {name: value for name, value in vars(args).items() if name != "json"}
    full = {
        "settings": settings,
        "git_revision": git_revision(),
        "torch": torch.__version__,
        **found,
    }
    with whole_file(args.json) as part:
        part.write_text(json.dumps(full, indent=1, default=str) + "\n")


RUN = {
    "regions": run_regions,
    "objective": run_objective,
    "alpha": run_alpha,
    "peers": run_peers,
    "solve": run_solve,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parser().parse_args(argv)
    try:
        if args.json:  # hours of measuring shall not end where nothing can be written
            args.json.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=args.json.parent).close()
        found = RUN[args.question](args)
        if args.json:
            write_json(args, found)
    except (ValueError, OSError, PictureError, CheckpointError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
