"""The command `duostyle` and its subcommands."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from duostyle.signals import BROKEN_PIPE, exit_process, exit_quietly_on_interrupt

COMMANDS = {
    "paint": "stylize pictures, videos or a camera",
    "train": "train a network for a pair of paintings",
    "export": "write a pair as an ONNX model",
    "evaluate": "measure a pair",
    "list": "list the shipped pairs",
    "demo": "paint the demonstration pictures",
    "doctor": "check devices, speed and what is missing",
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the subcommand that the first argument names, and exit with its code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        from duostyle import __version__

        print(f"duostyle {__version__}")
        sys.exit(0)
    if words[0] not in COMMANDS:
        print(
            f"duostyle: unknown command '{words[0]}'; choose from {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        sys.exit(2)
    run(words[0], words[1:])


def run(command: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Run one subcommand, and exit with its code.

    Ctrl-C ends it in one line, also while its modules are imported, which takes seconds.
    """
    exit_quietly_on_interrupt(f"duostyle {command}")
    # Read when PyTorch is imported: its idle threads would spin on cores that OpenVINO uses.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if command == "list":
        argparse.ArgumentParser(
            prog="duostyle list", description="List the shipped pairs, one per line."
        ).parse_args(argv)
        command, argv = "paint", ["--list"]
    try:
        try:
            exit_process(import_module(f"duostyle.cli.{command}").main(argv))
        finally:
            sys.stdout.flush()  # a closed pipe raises here and not at exit
    except BrokenPipeError:  # the reader has ended, `head` for example
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        exit_process(BROKEN_PIPE)


def _usage() -> str:
    lines = [f"  {name:10}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: duostyle COMMAND [OPTION ...]",
            "",
            "Stylize the foreground of a picture in one style and the background in another.",
            "",
            *lines,
            "",
            "duostyle COMMAND --help lists the options.",
        ]
    )
