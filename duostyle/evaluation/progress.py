"""Progress of long measurements."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

LOG_SECONDS = 10.0  # between two lines of a log
LINE = "{desc}: {n_fmt}/{total_fmt} {unit}s, {rate_fmt}, {remaining} left{postfix}"
T = TypeVar("T")


class _LogStream:
    """Write what tqdm draws as plain lines to standard error."""

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip(), file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()


def progress(
    items: Iterable[T] | None = None, *, name: str, unit: str, total: int | None = None
) -> "tqdm[T]":
    """Show progress with speed and time left while iterating over `items`.

    A bar on a terminal; elsewhere a line at the start, then at most one every 10 seconds. Without
    `items`, call `update` on what is returned. `unit`: singular; `total`: taken from `items` if
    they have a length.
    """
    if sys.stderr.isatty():
        return tqdm(items, desc=name, unit=unit, total=total)
    return tqdm(
        items,
        desc=name,
        unit=unit,
        total=total,
        file=_LogStream(),
        mininterval=LOG_SECONDS,
        miniters=1,
        bar_format=LINE,
    )
