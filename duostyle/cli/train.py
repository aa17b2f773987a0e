"""`duostyle train`: train a network for a pair of paintings."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field, asdict, dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from safetensors import SafetensorError
from torch import distributed

from duostyle import training
from duostyle.data.photos import Entry
from duostyle.files import printable
from duostyle.io.images import PictureError
from duostyle.models import CheckpointError, keep_memory, pick_device
from duostyle.signals import INTERRUPTED, StopSignal, restore_interrupt_handler
from duostyle.training import Diverged, Monitor, TrainConfig, Trainer, data
from duostyle.training.initialization import style_name
from duostyle.training.preview import Preview
from duostyle.training.settings import (
    CONFIG_FILE,
    flag,
    load_run_settings,
    load_settings,
    save_settings,
    sections,
    value_type,
)
from duostyle.training.state import MODEL_FILE, STATE_FILE

RECIPES = Path(training.__file__).with_name("recipes")
RECIPE_FILES = {  # of a pair, by network size
    "base": "pair.json",
    "small": "small.json",
}
# What most people need, beside the paintings and --resume; the rest follows by section.
FIRST = ("output", "size", "minutes", "steps", "photos", "preview", "init", "device")
EXAMPLES = """examples:
  duostyle train A.jpg B.jpg                    A for the foreground, B for the background
  duostyle train A.jpg B.jpg --minutes 10 --preview me.jpg
  duostyle train A.jpg B.jpg --photos bundled   no photographs to download
  duostyle train A.jpg,A2.jpg folder            several images for a style
  duostyle train A.jpg B.jpg --init none        from nothing: hours, for a GPU
  duostyle train --resume runs/A-B --minutes 20 ten minutes more
"""
Clock = Callable[[], float]


@dataclass(frozen=True)
class Process:
    """One of the processes that share the batches; the first one reports and saves."""

    device: str
    rank: int = 0
    world_size: int = 1


def main(argv: Sequence[str] | None = None, clock: Clock = time.monotonic) -> int:
    """Run the command line; return the exit code. `clock`: returns the time in seconds."""
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
            text = plan(config, process) if dry_run else summary(config, process)
            print("\n".join(map(printable, text.splitlines())), flush=True)
        return 0 if dry_run else run(config, resume, process, clock)
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


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit."""
        self.exit(2, f"{self.prog}: {printable(message)}; see {self.prog} --help\n")


def parse_arguments(argv: Sequence[str] | None) -> Arguments:
    """Parse a command line.

    Defaults come from the resumed run, the file with settings, or the recipe for two paintings.
    Raises ValueError if a setting, the run or the file is unusable.
    """
    args = vars(build_parser().parse_intermixed_args(argv))
    paintings: list[str] = args.pop("paintings", [])
    given = {f.name: args[f.name] for f in fields(TrainConfig) if f.name in args}
    resume, settings = args.get("resume"), args.get("settings")
    check_paintings(paintings, given, resume)
    if "minutes" in given and "steps" in given:
        raise ValueError("--minutes and --steps exclude each other")
    if "steps" in given:
        given["minutes"] = None
    base, source = TrainConfig(), None
    if resume:
        base, source = load_run_settings(Path(resume)), Path(resume) / CONFIG_FILE
    elif settings:
        base, source = load_settings(Path(settings)), Path(settings)
    elif paintings and given.get("init", "") is not None:
        base = load_settings(RECIPES / RECIPE_FILES.get(given.get("size", ""), "pair.json"))
    config = replace(base, **given)
    if paintings:
        first, second = paintings
        config = replace(config, styles=None, foreground_style=first, background_style=second)
        if "output" not in given:
            config = replace(config, output=default_output(config))
    if resume:
        config = replace(config, output=resume)
    with errors_name(source):
        config.check()
    return Arguments(config, bool(resume), "dry_run" in args, source)


def check_paintings(paintings: Sequence[str], given: dict[str, Any], resume: str | None) -> None:
    """Raise ValueError unless there are two paintings or none, and nothing contradicts them."""
    if not paintings:
        return
    if len(paintings) != 2:
        raise ValueError(
            f"{len(paintings)} {'painting' if len(paintings) == 1 else 'paintings'}: name two, the "
            "foreground's and the background's (several images of one: A.jpg,B.jpg or a folder)"
        )
    if resume:
        raise ValueError(f"--resume {resume}: the run knows its paintings; leave them out")
    for name in ("foreground_style", "background_style", "styles"):
        if name in given:
            raise ValueError(f"{flag(name)} and two paintings exclude each other")


def default_output(config: TrainConfig) -> str:
    """Return the folder of a run for two paintings: runs/NAME-NAME, or runs/NAME-NAME-small."""
    names = ["_".join(style_name(config, number).split()) for number in (0, 1)]
    return str(Path("runs") / "-".join([*names, "small"] if config.size == "small" else names))


@contextmanager
def errors_name(source: Path | None) -> Iterator[None]:
    """Add the file that settings come from to the errors of the block, which become ValueError."""
    try:
        yield
    except (ValueError, PictureError) as error:
        raise ValueError(f"{error} (settings: {source})" if source else str(error)) from None


def build_parser() -> Parser:
    """Return the parser with a flag for each setting; options not given are not in its result."""
    parser = Parser(
        prog="duostyle train",
        description="Train a network for a pair of paintings. Two paintings and nothing else "
        "fine-tune the foundation:\ntheir defaults are given as 'pair' where they differ.",
        usage="duostyle train PAINTING PAINTING [OPTION ...]\n"
        "       duostyle train --resume RUN [OPTION ...]",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    first = parser.add_argument_group("what most people need")
    first.add_argument(
        "paintings",
        nargs="*",
        metavar="PAINTING",
        help="the foreground's and the background's: a file, files separated by commas, or a "
        "folder",
    )
    by_name = {f.name: f for f in fields(TrainConfig)}
    recipe = load_settings(RECIPES / RECIPE_FILES["base"])
    for name in FIRST:
        add_setting(first, by_name[name], recipe)
    first.add_argument("--resume", metavar="RUN", help="continue the run in this folder, exactly")
    more = parser.add_argument_group("settings in files")
    more.add_argument(
        "--settings", metavar="FILE", help="JSON file with settings; options override them"
    )
    more.add_argument("--dry-run", action="store_true", help="print settings and plan, then stop")
    for heading, settings in sections().items():
        group = parser.add_argument_group(heading)
        for f in settings:
            if f.name not in FIRST:
                add_setting(group, f, recipe)
    return parser


def add_setting(group: argparse._ArgumentGroup, f: Field[Any], recipe: TrainConfig) -> None:
    """Add the flag of a setting; `recipe`: settings for two paintings."""
    help_text, defaults = f.metadata["help"], []
    of_pair = getattr(recipe, f.name)
    if f.default is not None:
        defaults.append(f"default: {f.default}")
    if of_pair != f.default and f.name != "output":
        defaults.append(f"pair: {of_pair}")
    if f.name == "init":
        help_text += "; none: start from nothing"
    if defaults:
        help_text += f" ({'; '.join(defaults)})"
    help_text = help_text.replace("%", "%%")
    kind, optional = value_type(f)
    if kind is bool:
        group.add_argument(flag(f.name), action=argparse.BooleanOptionalAction, help=help_text)
        return
    choices = f.metadata["choices"]
    group.add_argument(
        flag(f.name),
        type=_or_none(kind, f.name == "init") if optional else kind,
        metavar=f"{{{','.join(map(str, choices))}}}" if choices else _metavar(f.name, kind),
        help=help_text,
    )


def _metavar(name: str, kind: type) -> str:
    """Return what stands for a value in the help."""
    if kind is str:
        return "NAME" if name in ("init", "device", "teacher") else "PATH"
    return "N" if kind is int else "X"


def _or_none(kind: Callable[[str], object], none: bool) -> Callable[[str], object]:
    """Return a converter for argparse that takes an empty text, or `none` too, for None."""

    def convert(text: str) -> object:
        return None if not text or (none and text == "none") else kind(text)

    convert.__name__ = getattr(kind, "__name__", "value")  # argparse names it in errors
    return convert


# The run


def plan(config: TrainConfig, process: Process) -> str:
    """Return the settings and what will be done, for `--dry-run`."""
    photos, labels = data.locate_data(config)
    length = (
        f"{config.steps} steps of {config.pictures_per_step} pictures "
        f"({config.steps * config.pictures_per_step} in all)"
    )
    if config.minutes is not None:
        length = f"{config.minutes:g} min in steps of {config.pictures_per_step} pictures"
    lines = [f"{name} = {value!r}" for name, value in asdict(config).items()]
    lines += [
        "",
        f"photographs: {photos}, labels: {labels}",
        f"plan: {length} on {process.world_size} x {process.device}, into {config.output}",
    ]
    return "\n".join(lines)


def summary(config: TrainConfig, process: Process) -> str:
    """Return what a run will do, in one line, and where to see it."""
    styles = config.styles or f"{config.foreground_style} and {config.background_style}"
    length = f"{config.steps} steps" if config.minutes is None else f"{config.minutes:g} min"
    start = f"from {config.init}" if config.init else "from nothing"
    folder = Path(config.output)
    return (
        f"{styles}: {length} {start} on {process.world_size} x {process.device}; photographs: "
        f"{config.photos}; settings: {folder / CONFIG_FILE}\n"
        f"curves: tensorboard --logdir {shlex.quote(str(folder))}"
    )


def run(config: TrainConfig, resume: bool, process: Process, clock: Clock = time.monotonic) -> int:
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
        preview = Preview(config) if rank == 0 and config.preview_minutes else None
        trainer = Trainer(config, device, process.world_size, resume, clock)
        first_step = trainer.step
        if rank == 0:
            entries = data.prepare_data(config, device)
            save_settings(config)
        if process.world_size > 1:
            distributed.barrier()
        if rank:
            entries = data.prepare_data(config, device)
        with StopSignal() as stop:
            train(trainer, entries, stop, rank, preview)
            if rank == 0:
                finish(trainer, entries, stop, preview, first_step)
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
    return 128 + stop.number if stop.number else 0


def train(
    trainer: Trainer,
    entries: list[Entry],
    stop: StopSignal,
    rank: int = 0,
    preview: Preview | None = None,
) -> None:
    """Take the remaining steps, or until a signal; rank 0 reports and saves.

    Raises Diverged if a term is not finite; the last checkpoint is kept.
    """
    config, state = trainer.config, trainer.state
    rest, validation = data.hold_out(entries, config)
    late = is_late(trainer)
    batches = load_batches(trainer, rest, rank, late)
    monitor = None
    if rank == 0:
        monitor = Monitor(Path(config.output), config, state.step, state.seconds)
    if preview is not None:
        print(f"preview: {preview.path}, every {config.preview_minutes:g} min", flush=True)
    trainer.start_clock()
    saved = state.seconds
    try:
        while not trainer.finished and not stop.number:
            if is_late(trainer) and not late:
                late, batches = True, load_batches(trainer, rest, rank, late=True)
            learning_rate = trainer.learning_rate
            terms = trainer.train_step(batches)
            share_signal(stop, trainer.device)
            if monitor is None:
                continue
            last = trainer.finished
            monitor.step(state.step, terms, learning_rate, state.seconds, last)
            if len(validation) and monitor.wants_picture(state.step, last):
                network = trainer.averaged_network()
                monitor.picture(state.step, network, validation.to(trainer.device))
            if preview is not None and preview.due(state.seconds) and not last:
                preview.paint(trainer.averaged_network(), state.seconds)
            if state.seconds - saved >= 60 * config.checkpoint_minutes:
                trainer.save()
                saved = state.seconds
        if monitor is not None:
            trainer.save()
    finally:
        if monitor is not None:
            monitor.close()


def is_late(trainer: Trainer) -> bool:
    """Return whether a run of --minutes has reached its last --late-share."""
    share = trainer.config.late_share
    return trainer.config.minutes is not None and share > 0 and trainer.share >= 1 - share


def load_batches(trainer: Trainer, entries: list[Entry], rank: int, late: bool) -> Iterator[Any]:
    """Return the batches of this process from the present step on; note what is skipped."""
    state = trainer.state
    loader, dataset = data.build_loader(
        trainer.config, entries, state.step, state.pictures, rank, trainer.world_size, late
    )
    trainer.skipped |= dict.fromkeys(dataset.skipped.values())
    return iter(loader)


def share_signal(stop: StopSignal, device: str) -> None:
    """Let a signal that reached one process stop all of them after the same step."""
    if distributed.is_initialized():
        number = torch.tensor(stop.number, device=device)
        distributed.all_reduce(number, distributed.ReduceOp.MAX)
        stop.number = int(number)


def finish(
    trainer: Trainer,
    entries: list[Entry],
    stop: StopSignal,
    preview: Preview | None,
    first_step: int,
) -> None:
    """Match the contrast, paint the sheet, and print what was skipped, written and comes next.

    `first_step`: steps done before this session.
    """
    config = trainer.config
    model = Path(config.output) / MODEL_FILE
    if config.contrast:
        trainer.match_contrast([entry.photo for entry in entries])
    if trainer.skipped:
        print(f"{len(trainer.skipped)} photographs skipped:", file=sys.stderr)
        print("\n".join(f"  {printable(reason)}" for reason in trainer.skipped), file=sys.stderr)
    if stop.number:
        resume = f"duostyle train --resume {shlex.quote(config.output)}"
        print(f"stopped at step {trainer.step}; continue with: {resume}")
    else:
        minutes = trainer.state.seconds / 60
        print(f"trained on {trainer.state.pictures} pictures in {minutes:.1f} min; wrote {model}")
        if trainer.step == first_step:
            more = f"--steps {2 * config.steps}"
            if config.minutes is not None:
                more = f"--minutes {2 * config.minutes:g}"
            print(f"nothing was left to train; go on with {more}")
    if config.styles is not None:
        return
    photo = "PHOTO" if config.preview is None else shlex.quote(config.preview)
    if preview is not None and not stop.number:
        print(f"sheet: {preview.write_sheet(model, trainer.device)}")
    print(f"next: duostyle paint {photo} --checkpoint {shlex.quote(str(model))}", flush=True)


def last_line(error: Exception) -> str:
    """Return the message of an error, without the traceback of a loader's worker."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].removeprefix(f"{PictureError.__module__}.PictureError: ")
