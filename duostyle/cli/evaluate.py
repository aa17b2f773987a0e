"""Measure a trained pair: `duostyle evaluate --help` lists the questions."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from duostyle.cli.evaluate_options import parser
from duostyle.data.masks import load_segmenter
from duostyle.data.photos import find_labels
from duostyle.evaluation import baseline as peers
from duostyle.evaluation import (
    blind,
    conditioning,
    figures,
    look,
    objective,
    regions,
    speed,
    temporal,
)
from duostyle.evaluation import solve as solving
from duostyle.evaluation.peer_network import load_peer
from duostyle.evaluation.subject import STYLES, Subject, find_style
from duostyle.files import printable
from duostyle.io.images import PictureError, read_picture, read_style, save_image, whole_file
from duostyle.io.sheet import contact_sheet
from duostyle.models import (
    CheckpointError,
    git_revision,
    keep_memory,
    load_pair,
    pick_device,
    read_header,
)
from duostyle.signals import INTERRUPTED, hear_interrupts

Figures = dict[str, Any]
TRAINING_STEPS = 30  # for its speed


def load_subject(args: argparse.Namespace, depth: int = 16) -> Subject:
    """The pair that the command line names. Raises as `Subject.load` does."""
    if not args.checkpoint:
        raise CheckpointError("no checkpoint ships here; name one with --checkpoint")
    device = pick_device(args.device)
    return Subject.load(args.checkpoint, args.styles, args.vgg_weights, device, depth)


def run_regions(args: argparse.Namespace) -> Figures:
    """Who wears what: prints the table, returns every figure."""
    found = regions.measure(load_subject(args), find_labels(args.photos, args.labels))
    print(regions.table(found))
    return regions.figures(found)


def run_objective(args: argparse.Namespace) -> Figures:
    """The network against the solver: prints the table, returns every figure."""
    entries, subject = find_labels(args.photos, args.labels), load_subject(args)
    limits = (args.count, args.size, args.closures)
    found = objective.measure(subject, entries, *limits, args.cache, args.precision, args.start)
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
    entries, subject = find_labels(args.photos, args.labels), load_subject(args)
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
    entries, subject = find_labels(args.photos, args.labels), load_subject(args)
    networks = [load_peer(path, subject.device) for path in args.peers]
    rivals = peers.Rivals(load_segmenter(args.segmenter, subject.device), *networks)
    distance = peers.lpips_distance(args.vgg_weights, subject.device)
    found = peers.measure(subject, rivals, distance, entries, args.count)
    print(peers.table(found))
    return peers.figures(found)


def run_temporal(args: argparse.Namespace) -> Figures:
    """How steady clips are painted: prints the table, returns every figure."""
    subject = load_subject(args)
    ways = {
        "ours": temporal.by_network(subject.network),
        "ours, steadied": temporal.by_network(subject.network, args.steady),
    }
    for checkpoint in args.others:
        ways[checkpoint] = temporal.by_network(load_pair(checkpoint, subject.device))
    if args.peers:
        networks = [load_peer(path, subject.device) for path in args.peers]
        rivals = peers.Rivals(load_segmenter(args.segmenter, subject.device), *networks)
        ways["naive"] = temporal.by_rivals(rivals, subject.classes)
    limits = (args.frames, args.size, subject.device)
    found = [one for clip in args.clips for one in temporal.measure_clip(clip, ways, *limits)]
    still = temporal.flicker(read_picture(args.still).pixels[None], ways, subject.device)
    print(temporal.table(found, still))
    return temporal.figures(found, still)


def run_figures(args: argparse.Namespace) -> Figures:
    """Write the three contact sheets; returns their files."""
    paths = {name: args.output / f"{name}.jpg" for name in figures.NAMES}
    for path in paths.values():
        if path.exists() and not args.force:
            raise PictureError(f"{path}: exists; --force overwrites, -o names another place")
    entries, subject = find_labels(args.photos, args.labels)[: args.count], load_subject(args)
    without_tv = load_pair(args.without_tv, subject.device) if args.without_tv else None
    for name, rows in figures.sheets(subject, without_tv, entries):
        save_image(paths[name], contact_sheet(rows, args.height), quality=90, subsampling=0)
        print(paths[name])
    return {"files": list(paths.values())}


def run_speed(args: argparse.Namespace) -> Figures:
    """How fast: prints the tables, returns every figure."""
    device = pick_device(args.device)
    found = speed.measure(
        args.checkpoints,
        args.sizes,
        device,
        args.seconds,
        args.frames,
        args.compile,
    )
    if args.train:
        found.training = speed.training_speed(args.train, TRAINING_STEPS)
    print(speed.table(found))
    return speed.figures(found)


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


def run_look(args: argparse.Namespace) -> Figures:
    """Painting or photo filter: prints the table, returns every figure."""
    device = pick_device(args.device)
    photos = look.read_photos(args.photos, args.size, args.count)
    rows: dict[str, look.Row] = {}
    every: dict[str, list[look.Row]] = {}
    for name in args.checkpoints:
        known = read_header(name).get("styles", [])
        files = args.styles or [find_style(style, STYLES) for style in known]
        if files:
            paintings = [read_style(file, args.size) for file in files]
            rows[f"{name}: paintings"] = look.painting_row(paintings)
        every[name] = look.measure_network(load_pair(name, device), photos.values())
        rows[name] = look.summary(every[name])
    for folder in args.pictures:
        every[str(folder)] = look.measure_pictures(folder, photos)
        rows[str(folder)] = look.summary(every[str(folder)])
    if args.peers:
        if not args.checkpoints:
            raise ValueError("--peers are pasted by a checkpoint's mask: name one")
        network = load_pair(args.checkpoints[0], device)
        name = " + ".join(path.stem for path in args.peers)
        paint = peers.by_mask(network, *(load_peer(path, device) for path in args.peers))
        every[name] = look.measure_by(paint, photos.values())
        rows[name] = look.summary(every[name])
    print(look.table(rows, len(photos)))
    return {"medians": rows, "photographs": every}


def run_blind(args: argparse.Namespace) -> Figures:
    """Make the sheets, or count the answers; returns the counts."""
    if args.score:
        counts = blind.count(args.output)
        print(", ".join(f"{name} {number}" for name, number in counts.items()))
        return {"counts": counts}
    if len(args.folders) != 3:
        raise ValueError("name three folders: photographs, first results, second results")
    photos, *folders = args.folders
    made = blind.make(photos, tuple(folders), args.paintings, args.output)
    print(f"{made} sheets in {args.output}; the judge writes {args.output / blind.ANSWERS}")
    return {"sheets": made}


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
    "temporal": run_temporal,
    "figures": run_figures,
    "solve": run_solve,
    "speed": run_speed,
    "look": run_look,
    "blind": run_blind,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    hear_interrupts()
    keep_memory()
    args = parser().parse_args(argv)
    try:
        if args.json and args.json.is_dir():
            raise ValueError(f"--json {args.json}: is a folder; name a file")
        if args.json:  # hours of measuring shall not end where nothing can be written
            args.json.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=args.json.parent).close()
        found = RUN[args.question](args)
        if args.json:
            write_json(args, found)
    except (ValueError, OSError, PictureError, CheckpointError) as error:
        print(f"duostyle evaluate: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; no figures are written", file=sys.stderr)
        return INTERRUPTED
    return 0
