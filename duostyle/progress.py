"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TypeVar

from tqdm import tqdm

LOG_SECONDS = 10.0  # between two lines of a log
LINE = "{desc}: {n_fmt}/{total_fmt} {unit}s, {rate_fmt}, {remaining} left{postfix}"
T = TypeVar("T")


class _LogStream:
    """Writes what tqdm draws as plain lines to standard error.

    A log that cannot be written, on a full disk for example, does not end the work.
    """

    def write(self, text: str) -> None:
        if text.strip():
            with suppress(OSError):
                print(text.strip(), file=sys.stderr, flush=True)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def progress(
    items: Iterable[T] | None = None,
    *,
    name: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    announce: bool = True,
) -> "tqdm[T]":
    """Show progress with speed and time left while iterating over `items`.

    Without `items`, call `update` on what is returned. `unit`: singular; `total`: taken from
    `items` if they have a length; `initial`: units that are done already and do not count for the
    speed; `announce`: start a log with a line, else with the first one after 10 seconds.
    """
    if sys.stderr.isatty():
        return tqdm(items, desc=name, unit=unit, total=total, initial=initial, smoothing=0)
    return tqdm(
        items,
        desc=name,
        unit=unit,
        total=total,
        initial=initial,
        smoothing=0,  # the mean speed
        file=_LogStream(),
        mininterval=LOG_SECONDS,
        miniters=1,
        delay=0 if announce else LOG_SECONDS,
        bar_format=LINE,
    )
