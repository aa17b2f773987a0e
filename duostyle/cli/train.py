"""Train a network for a pair of paintings: `duostyle train --help`."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import distributed

from duostyle.cli import train_options as menu
from duostyle.data.photos import Entry
from duostyle.files import printable
from duostyle.io.images import PictureError
from duostyle.models import CheckpointError, keep_memory, pick_device
from duostyle.signals import INTERRUPTED, StopSignal, hear_interrupts
from duostyle.training import Diverged, Learner, Monitor, TrainConfig, build


def agree(stop: StopSignal, device: str) -> None:
    """Let a signal that reached one process stop all of them at the same step."""
    if distributed.is_initialized():
        number = torch.tensor(stop.number, device=device)
        distributed.all_reduce(number, distributed.ReduceOp.MAX)
        stop.number = int(number)


def train(
    config: TrainConfig,
    entries: list[Entry],
    learner: Learner,
    stop: StopSignal,
    rank: int = 0,
) -> None:
    """Go through the rest of the steps, or until a signal.

    `rank`: of this process among those that share the batches; the first one reports and saves.
    Raises Diverged where a term is not finite; the last checkpoint stays.
    """
    rest, validation = build.hold_out(entries, config)
    done = (learner.step, learner.pictures)
    loader, dataset = build.build_loader(config, rest, done, rank, learner.world)
    learner.skipped |= dict.fromkeys(dataset.skipped.values())
    monitor = Monitor(Path(config.output), config, learner.step) if rank == 0 else None
    saved, batches = time.monotonic(), iter(loader)
    try:
        while learner.step < config.steps and not stop.number:
            terms = learner.one_step(batches)
            agree(stop, learner.device)
            if not monitor:
                continue
            monitor.step(learner.step, terms, learner.rate(learner.step))
            if len(validation) and monitor.wants_picture(learner.step):
                monitor.picture(learner.step, learner.averaged(), validation.to(learner.device))
            if time.monotonic() - saved > 60 * config.checkpoint_minutes:
                learner.save()
                saved = time.monotonic()
        if monitor:
            learner.save()
    finally:
        if monitor:
            monitor.close()


def plan(config: TrainConfig, device: str, world: int) -> str:
    """The settings and what would be done with them, for `--dry-run` and the log."""
    photos, labels = build.locate_data(config)
    lines = [f"{name} = {value!r}" for name, value in asdict(config).items()]
    lines += [
        "",
        f"photographs: {photos}, labels: {labels}",
        f"plan: {config.steps} steps of {config.pictures_per_step} pictures "
        f"({config.steps * config.pictures_per_step} in all) on {world} x {device}, "
        f"into {config.output}",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    hear_interrupts()
    keep_memory()
    try:
        config, args = menu.parse(argv)
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        device = pick_device(config.device, int(os.environ.get("LOCAL_RANK", 0)))
        if config.batch % world:
            raise ValueError(f"--batch {config.batch} does not divide over {world} processes")
        if rank == 0:
            print("\n".join(map(printable, plan(config, device, world).splitlines())))
        return 0 if args.dry_run else run(config, bool(args.resume), device, rank, world)
    except (ValueError, OSError, SafetensorError, PictureError, CheckpointError) as error:
        print(f"duostyle train: {printable(last_line(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped before the first step; what is fetched and labelled stays", file=sys.stderr)
        return INTERRUPTED


def last_line(error: Exception) -> str:
    """What an error says; of one out of a loader's worker, without the worker's traceback."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].removeprefix(f"{PictureError.__module__}.PictureError: ")


def run(config: TrainConfig, resume: bool, device: str, rank: int, world: int) -> int:
    """One process's whole run; returns the exit code."""
    folder = Path(config.output)
    if not resume and (folder / "state.safetensors").exists():
        raise ValueError(f"{folder}: holds a run already; --resume {folder}, or another --output")
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    if world > 1:
        # The first process may fetch and label photographs for hours before the others go on.
        backend = "nccl" if device.startswith("cuda") else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(days=2))
    learner = Learner(config, device, world, resume)
    if rank == 0:
        weights = ", ".join(f"{w:.6g}" for w in learner.objective.styles.weights.tolist())
        print(f"style weights: {weights}")
        entries = build.prepare_data(config, device)
        menu.save(config)
    if world > 1:
        distributed.barrier()
    if rank:
        entries = build.prepare_data(config, device)
    try:
        with StopSignal() as stop:
            train(config, entries, learner, stop, rank)
    except Diverged as error:
        print(
            f"duostyle train: diverged at {error}; the last checkpoint in {folder} is kept: "
            "--resume it with a lower --learning-rate",
            file=sys.stderr,
        )
        return 1
    finally:
        if world > 1:
            distributed.destroy_process_group()
    if rank == 0:
        report(learner, stop)
    return 128 + stop.number if stop.number else 0


def report(learner: Learner, stop: StopSignal) -> None:
    """The last words of a run."""
    folder = learner.config.output
    if learner.skipped:
        print(f"{len(learner.skipped)} photographs skipped:", file=sys.stderr)
        print("\n".join(f"  {printable(why)}" for why in learner.skipped), file=sys.stderr)
    if stop.number:
        print(f"stopped at step {learner.step}; go on with: duostyle train --resume {folder}")
    else:
        print(f"{learner.pictures} pictures seen; checkpoint: {folder}/model.safetensors")
