"""Evaluate trained pairs: `duostyle evaluate --help` lists the evaluations."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from duostyle.evaluation import (
    alpha,
    baseline,
    blind,
    figures,
    look,
    objective,
    regions,
    solve,
    speed,
    temporal,
)
from duostyle.evaluation.options import Results
from duostyle.files import atomic_writer, printable
from duostyle.io.images import PictureError
from duostyle.models import CheckpointError, git_revision, keep_memory
from duostyle.signals import INTERRUPTED, restore_interrupt_handler


class Evaluation(Protocol):
    """A subcommand: a module of `duostyle.evaluation`."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the arguments of `run`."""

    def run(self, args: argparse.Namespace, /) -> Results:
        """Evaluate, print a table and return all figures."""


EVALUATIONS: tuple[Evaluation, ...] = (
    look,
    blind,
    regions,
    objective,
    alpha,
    baseline,
    temporal,
    figures,
    solve,
    speed,
)


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    p = argparse.ArgumentParser(prog="duostyle evaluate", description="Evaluate trained pairs.")
    subparsers = p.add_subparsers(dest="evaluation", required=True, metavar="EVALUATION")
    for evaluation in EVALUATIONS:
        subparser = subparsers.add_parser(
            evaluation.NAME, help=evaluation.HELP, description=evaluation.HELP
        )
        evaluation.add_arguments(subparser)
        subparser.add_argument("--json", type=Path, help="write all figures to this file")
    return p


def check_writable(path: Path) -> None:
    """Raise ValueError or OSError if a file cannot be written, before hours of measuring."""
    if path.is_dir():
        raise ValueError(f"--json {path}: is a folder; name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=path.parent).close()


def write_json(args: argparse.Namespace, results: Results) -> None:
    """Write all figures with the settings and the revision that produced them."""
    settings = {name: value for name, value in vars(args).items() if name != "json"}
    full = {
        "settings": settings,
        "git_revision": git_revision(),
        "torch": torch.__version__,
        **results,
    }
    with atomic_writer(args.json) as part:
        part.write_text(json.dumps(full, indent=1, default=str) + "\n")
    print(args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    restore_interrupt_handler()
    keep_memory()
    args = parser().parse_args(argv)
    evaluation = next(e for e in EVALUATIONS if args.evaluation == e.NAME)
    try:
        if args.json:
            check_writable(args.json)
        results = evaluation.run(args)
        if args.json:
            write_json(args, results)
    except (ValueError, OSError, PictureError, CheckpointError) as error:
        print(f"duostyle evaluate: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; no figures were written", file=sys.stderr)
        return INTERRUPTED
    return 0
