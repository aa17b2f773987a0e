"""The frame of the commands `python -m duostyle.training.NAME`: errors in one line, exit codes."""

import sys
from collections.abc import Callable

from duostyle.files import printable
from duostyle.io.images import PictureError
from duostyle.models import CheckpointError


def run_command(name: str, work: Callable[[], None]) -> int:
    """Run `work`; return the exit code: 2 after an error of a file or a value, named on stderr."""
    try:
        work()
    except (CheckpointError, PictureError, ValueError, OSError) as error:
        print(f"duostyle.training.{name}: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0
