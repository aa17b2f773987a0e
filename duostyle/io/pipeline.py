"""Work that overlaps: reading ahead and writing behind, each in a thread with a bounded queue."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
PATIENCE = 0.1  # seconds between looks at whether the other side has given up


class _End:
    """The last thing in a queue, with the error that made it so."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Ahead(Generic[T]):
    """Items made in a thread of their own, a few ahead of whoever takes them."""

    def __init__(self, items: Iterable[T], depth: int = 8) -> None:
        self.busy = 0.0  # seconds spent on making them
        self._items, self._queue = iter(items), queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """Every item in order; raises what making one raised."""
        while not isinstance(item := self._queue.get(), _End):
            yield item
        if item.error:
            raise item.error

    def close(self) -> None:
        """Make no more; items that nobody took are lost."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                began = time.perf_counter()
                item = next(self._items, _End)
                self.busy += time.perf_counter() - began
                if item is _End:
                    break
                self._put(item)
            self._put(_End())
        except BaseException as error:  # raised again where the items are taken
            self._put(_End(error))

    def _put(self, item: T | _End) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=PATIENCE)
            except queue.Full:
                continue


class Behind(Generic[T]):
    """A function called on items in a thread of its own, a few behind whoever puts them."""

    def __init__(self, take: Callable[[T], None], depth: int = 8) -> None:
        self.busy = 0.0  # seconds spent in `take`
        self._take, self._queue = take, queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, item: T | _End) -> None:
        """Hand one over; raises what taking an earlier one raised."""
        while True:
            if self._error:
                raise self._error
            try:
                return self._queue.put(item, timeout=PATIENCE)
            except queue.Full:
                continue

    def close(self) -> None:
        """Wait until everything is taken; raises what taking it raised."""
        self.put(_End())
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        while not isinstance(item := self._queue.get(), _End):
            began = time.perf_counter()
            try:
                self._take(item)
            except BaseException as error:  # raised again where the items are put
                self._error = error
                return
            self.busy += time.perf_counter() - began
