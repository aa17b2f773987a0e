"""`duostyle train`: train a network for a pair of style images."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from torch import distributed

from duostyle.data.photos import Entry
from duostyle.files import printable
from duostyle.io.images import PictureError
from duostyle.models import CheckpointError, keep_memory, pick_device
from duostyle.signals import INTERRUPTED, StopSignal, restore_interrupt_handler
from duostyle.training import Diverged, Monitor, TrainConfig, Trainer, data
from duostyle.training.settings import (
    CONFIG_FILE,
    flag,
    load_run_settings,
    load_settings,
    save_settings,
    value_type,
)
from duostyle.training.state import MODEL_FILE, STATE_FILE


@dataclass(frozen=True)
class Process:
    """One of the processes that share the batches; the first one reports and saves."""

    device: str
    rank: int = 0
    world_size: int = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    restore_interrupt_handler()
    keep_memory()
    try:
        config, resume, dry_run, source = parse_arguments(argv)
        with errors_name(source):
            device = pick_device(config.device, int(os.environ.get("LOCAL_RANK", 0)))
            data.check_files(config)
        rank, world_size = (int(os.environ.get(k, v)) for k, v in (("RANK", 0), ("WORLD_SIZE", 1)))
        process = Process(device, rank, world_size)
        if config.batch % world_size:
            raise ValueError(f"--batch {config.batch} does not divide by {world_size} processes")
        if rank == 0:
            print("\n".join(map(printable, plan(config, process).splitlines())))
        return 0 if dry_run else run(config, resume, process)
    except (ValueError, OSError, SafetensorError, PictureError, CheckpointError) as error:
        print(f"duostyle train: {printable(last_line(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "stopped before the first step; downloaded photographs and labels are kept",
            file=sys.stderr,
        )
        return INTERRUPTED


# Arguments


class Arguments(NamedTuple):
    """A parsed command line."""

    config: TrainConfig
    resume: bool
    dry_run: bool
    source: Path | None  # file with settings that the defaults come from


def parse_arguments(argv: Sequence[str] | None) -> Arguments:
    """Parse a command line.

    Defaults come from the resumed run or the file with settings. Raises ValueError if a setting,
    the run or the file is unusable.
    """
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--resume")
    first.add_argument("--settings")
    known, _ = first.parse_known_args(argv)
    base, source = TrainConfig(), None
    if known.resume:
        base, source = load_run_settings(Path(known.resume)), Path(known.resume) / CONFIG_FILE
    elif known.settings:
        base, source = load_settings(Path(known.settings)), Path(known.settings)
    args = build_parser(base).parse_args(argv)
    config = replace(base, **{f.name: getattr(args, f.name) for f in fields(TrainConfig)})
    if known.resume:
        config = replace(config, output=known.resume)
    with errors_name(source):
        config.check()
    return Arguments(config, bool(known.resume), args.dry_run, source)


@contextmanager
def errors_name(source: Path | None) -> Iterator[None]:
    """Add the file that settings come from to the errors of the block, which become ValueError."""
    try:
        yield
    except (ValueError, PictureError) as error:
        raise ValueError(f"{error} (settings: {source})" if source else str(error)) from None


def build_parser(base: TrainConfig) -> argparse.ArgumentParser:
    """Return the parser with a flag for each setting; `base`: the defaults."""
    parser = argparse.ArgumentParser(
        prog="duostyle train", description="Train a network for a pair of style images."
    )
    parser.add_argument("--resume", metavar="RUN", help="continue the run in this folder, exactly")
    parser.add_argument(
        "--settings", metavar="FILE", help="JSON file with settings; flags override them"
    )
    parser.add_argument("--dry-run", action="store_true", help="print settings and plan, then stop")
    for f in fields(TrainConfig):
        default = getattr(base, f.name)
        help_text = f.metadata["help"].replace("%", "%%")
        if default is not None:
            help_text += " (default: %(default)s)"
        kind, optional = value_type(f)
        if kind is bool:
            parser.add_argument(
                flag(f.name),
                action=argparse.BooleanOptionalAction,
                default=default,
                help=help_text,
            )
            continue
        choices = f.metadata["choices"]
        parser.add_argument(
            flag(f.name),
            type=_or_none(kind) if optional else kind,
            default=default,
            metavar=f"{{{','.join(map(str, choices))}}}" if choices else None,
            help=help_text,
        )
    return parser


def _or_none(kind: Callable[[str], object]) -> Callable[[str], object]:
    """Return a converter for argparse that takes an empty text for None."""

    def convert(text: str) -> object:
        return kind(text) if text else None

    convert.__name__ = getattr(kind, "__name__", "value")  # argparse names it in errors
    return convert


# The run


def plan(config: TrainConfig, process: Process) -> str:
    """Return the settings and what will be done, for `--dry-run` and the log."""
    photos, labels = data.locate_data(config)
    lines = [f"{name} = {value!r}" for name, value in asdict(config).items()]
    lines += [
        "",
        f"photographs: {photos}, labels: {labels}",
        f"plan: {config.steps} steps of {config.pictures_per_step} pictures "
        f"({config.steps * config.pictures_per_step} in all) on {process.world_size} x "
        f"{process.device}, into {config.output}",
    ]
    return "\n".join(lines)


def run(config: TrainConfig, resume: bool, process: Process) -> int:
    """Run the training in this process; return the exit code."""
    folder, device, rank = Path(config.output), process.device, process.rank
    if not resume and (folder / STATE_FILE).exists():
        raise ValueError(f"{folder}: holds a run already; --resume {folder}, or another --output")
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    if process.world_size > 1:
        # The first process may download and label photographs for hours before the others go on.
        backend = "nccl" if device.startswith("cuda") else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(days=2))
    try:
        trainer = Trainer(config, device, process.world_size, resume)
        if rank == 0:
            weights = ", ".join(
                f"{w:.6g}" for w in trainer.objective.style_targets.weights.tolist()
            )
            print(f"style weights: {weights}")
            entries = data.prepare_data(config, device)
            save_settings(config)
        if process.world_size > 1:
            distributed.barrier()
        if rank:
            entries = data.prepare_data(config, device)
        with StopSignal() as stop:
            train(trainer, entries, stop, rank)
    except Diverged as error:
        print(
            f"duostyle train: diverged at {error}; the last checkpoint in {folder} is kept: "
            "--resume it with a lower --learning-rate",
            file=sys.stderr,
        )
        return 1
    finally:
        if process.world_size > 1:
            distributed.destroy_process_group()
    if rank == 0:
        report(trainer, stop)
    return 128 + stop.number if stop.number else 0


def train(trainer: Trainer, entries: list[Entry], stop: StopSignal, rank: int = 0) -> None:
    """Take the remaining steps, or until a signal; rank 0 reports and saves.

    Raises Diverged if a term is not finite; the last checkpoint is kept.
    """
    config, state = trainer.config, trainer.state
    rest, validation = data.hold_out(entries, config)
    loader, dataset = data.build_loader(
        config, rest, state.step, state.pictures, rank, trainer.world_size
    )
    trainer.skipped |= dict.fromkeys(dataset.skipped.values())
    monitor = Monitor(Path(config.output), config, state.step) if rank == 0 else None
    saved, batches = time.monotonic(), iter(loader)
    try:
        while state.step < config.steps and not stop.number:
            learning_rate = trainer.learning_rate
            terms = trainer.train_step(batches)
            share_signal(stop, trainer.device)
            if monitor is None:
                continue
            monitor.step(state.step, terms, learning_rate)
            if len(validation) and monitor.wants_picture(state.step):
                network = trainer.averaged_network()
                monitor.picture(state.step, network, validation.to(trainer.device))
            if time.monotonic() - saved > 60 * config.checkpoint_minutes:
                trainer.save()
                saved = time.monotonic()
        if monitor is not None:
            trainer.save()
    finally:
        if monitor is not None:
            monitor.close()


def share_signal(stop: StopSignal, device: str) -> None:
    """Let a signal that reached one process stop all of them after the same step."""
    if distributed.is_initialized():
        number = torch.tensor(stop.number, device=device)
        distributed.all_reduce(number, distributed.ReduceOp.MAX)
        stop.number = int(number)


def report(trainer: Trainer, stop: StopSignal) -> None:
    """Print what was skipped and written."""
    folder = trainer.config.output
    if trainer.skipped:
        print(f"{len(trainer.skipped)} photographs skipped:", file=sys.stderr)
        print("\n".join(f"  {printable(reason)}" for reason in trainer.skipped), file=sys.stderr)
    if stop.number:
        print(f"stopped at step {trainer.step}; continue with: duostyle train --resume {folder}")
    else:
        print(f"trained on {trainer.state.pictures} pictures; wrote {folder}/{MODEL_FILE}")


def last_line(error: Exception) -> str:
    """Return the message of an error, without the traceback of a loader's worker."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].removeprefix(f"{PictureError.__module__}.PictureError: ")
