"""The settings on the command line, in files, and beside a run."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from duostyle.files import write_whole
from duostyle.training.settings import TrainConfig

CONFIG_FILE = "config.json"
MOST_BYTES = 1_000_000  # of a file with settings


def parse(argv: Sequence[str] | None) -> tuple[TrainConfig, argparse.Namespace]:
    """The settings from a command line; a resumed run's own are the defaults.

    Raises ValueError where a setting or the resumed run is unusable.
    """
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--resume", metavar="RUN")
    first.add_argument("--settings", metavar="FILE")
    known = first.parse_known_args(argv)[0]
    run, file = known.resume, known.settings
    base = load_run(Path(run)) if run else load_file(Path(file)) if file else TrainConfig()
    parser = argparse.ArgumentParser(
        prog="duostyle train",
        description="Train a network for a pair of paintings.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with the run in this folder, exactly"
    )
    parser.add_argument(
        "--settings", metavar="FILE", help="JSON with settings; what is named here counts more"
    )
    parser.add_argument("--dry-run", action="store_true", help="print settings and plan, and stop")
    for f in fields(TrainConfig):
        flag, help = f"--{f.name.replace('_', '-')}", f.metadata["help"]
        if f.type is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=help)
        else:
            parser.add_argument(flag, type=f.type, help=help, **f.metadata["options"])
    parser.set_defaults(**asdict(base))
    args = parser.parse_args(argv)
    config = replace(base, **{f.name: getattr(args, f.name) for f in fields(TrainConfig)})
    if run:
        config = replace(config, output=run)
    try:
        config.check()
    except ValueError as error:
        source = Path(run) / CONFIG_FILE if run else file
        raise ValueError(f"{error} (settings: {source})" if source else str(error)) from None
    return config, args


def load_run(run: Path) -> TrainConfig:
    """The settings of an earlier run. Raises ValueError where the folder holds none."""
    path = run / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{run}: no run to resume ({CONFIG_FILE} is missing)")
    return load_file(path)


def load_file(path: Path) -> TrainConfig:
    """Settings from a JSON file, all of them or some. Raises ValueError for an unusable one."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        return TrainConfig.read(json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, RecursionError) as error:
        nested = isinstance(error, RecursionError)
        reason = error.strerror if isinstance(error, OSError) else error
        reason = "it is nested too deeply" if nested else reason
        raise ValueError(f"{path}: no settings, or of another version ({reason})") from error


def save(config: TrainConfig) -> None:
    """Write config.json into the run's folder. Raises OSError where it cannot be written."""
    text = json.dumps(asdict(config), indent=2) + "\n"
    write_whole(Path(config.output) / CONFIG_FILE, text.encode())
