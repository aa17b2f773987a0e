"""Ctrl-C and SIGTERM as a wish that a loop reads, so that nothing is lost half done."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Self

INTERRUPTED = 130  # exit code, as of a shell's command that Ctrl-C ended


def leave_at_once() -> None:
    """Let Ctrl-C end the process in one line. For the seconds in which a program is imported."""
    signal.signal(signal.SIGINT, _leave)


def interrupt_as_usual() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again after `leave_at_once`."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    print("stopped; nothing was begun", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


class StopSignal:
    """Within its block, Ctrl-C and SIGTERM are noted in `number`; asked twice, they act at once.

    Only the main thread hears signals: in another one, nothing is noted.
    """

    def __init__(self) -> None:
        self.number = 0

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
