"""Ctrl-C and SIGTERM: long loops finish what they have begun, and commands end in one line."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn, Self

# Exit codes, as in a shell: 128 + the number of the signal.
INTERRUPTED = 130  # Ctrl-C
BROKEN_PIPE = 141  # the reader of the output has ended


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM before there was a result to keep."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class StopSignal:
    """Record Ctrl-C and SIGTERM in `number` within a `with` block; a second one acts at once.

    While `begun` is false there is no result to keep, and they raise Stopped at once.
    Python delivers signals to the main thread only; in other threads nothing is recorded.
    """

    def __init__(self, begun: bool = True) -> None:
        self.number, self.begun = 0, begun

    def __enter__(self) -> Self:
        in_main_thread = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if in_main_thread else ()
        self.before = {number: signal.signal(number, self._record) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.number:  # the second one
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.number = number
        if not self.begun:
            raise Stopped(number)


def exit_quietly_on_interrupt(name: str) -> None:
    """Let Ctrl-C end the command `name` in one line while its modules are imported.

    Call it first; `restore_interrupt_handler` ends it.
    """

    def end(*_: object) -> None:
        print(f"{name}: stopped", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # an interrupted import cannot be cleaned up

    signal.signal(signal.SIGINT, end)


def exit_code(stop: KeyboardInterrupt) -> int:
    """The exit code of a command that Ctrl-C or SIGTERM has ended."""
    return 128 + stop.number if isinstance(stop, Stopped) else INTERRUPTED


def exit_process(code: int) -> NoReturn:
    """End the process with an exit code; after a signal without running exit handlers."""
    if code > 128:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def restore_interrupt_handler() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, as usual."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
