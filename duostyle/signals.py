"""Ctrl-C and SIGTERM as a wish that a loop reads, so that nothing is lost half done."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn, Self

INTERRUPTED = 130  # exit code, as of a shell's command that Ctrl-C ended


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM before there was anything to keep."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class StopSignal:
    """Within its block, Ctrl-C and SIGTERM are noted in `number`; asked twice, they act at once.

    Until `begun` is set there is nothing to keep, and they raise Stopped at once.
    Only the main thread hears signals: in another one, nothing is noted.
    """

    def __init__(self, begun: bool = True) -> None:
        self.number, self.begun = 0, begun

    def __enter__(self) -> Self:
        heard = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if heard else ()
        self.before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number:  # asked twice: now
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.number = number
        if not self.begun:
            raise Stopped(number)


def quiet_start(name: str) -> None:
    """Let Ctrl-C end a command in one line while its modules are imported.

    Called first of all; `hear_interrupts` ends it. `name`: of the command.
    """

    def end(*_: object) -> None:
        print(f"{name}: stopped", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # an import that is cut off could not be cleaned up

    signal.signal(signal.SIGINT, end)


def leave(code: int) -> NoReturn:
    """End the process; after a signal without tearing down what was half imported or made."""
    if code > 128:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def hear_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, as usual."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
