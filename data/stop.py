"""Ctrl-C and SIGTERM as a wish that a loop reads, so that nothing is lost half done."""

import signal
import threading
from types import FrameType
from typing import Self


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
