"""The settings on the command line, in files, and beside a run."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from .settings import TrainConfig


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
        prog="train.py",
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
    config.check()
    return config, args


def load_run(run: Path) -> TrainConfig:
    """The settings of an earlier run. Raises ValueError where the folder holds none."""
    path = run / "config.json"
    if not path.exists():
        raise ValueError(f"{run}: no run to resume (config.json is missing)")
    return load_file(path)


def load_file(path: Path) -> TrainConfig:
    """Settings from a JSON file, all of them or some. Raises ValueError for an unusable one."""
    try:
        config = TrainConfig(**json.loads(path.read_text()))
        for f in fields(TrainConfig):
            value = getattr(config, f.name)
            if not isinstance(value, (int, float) if f.type is float else f.type):
                raise TypeError(f"{f.name} must be {f.type.__name__}, not {value!r}")
        return config
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path}: no settings, or of another version ({reason})") from error


def save(config: TrainConfig) -> None:
    """Write config.json into the run's folder."""
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".config.json.part"
    part.write_text(json.dumps(asdict(config), indent=2) + "\n")
    part.replace(folder / "config.json")
