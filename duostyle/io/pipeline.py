"""Overlapping work: threads that read ahead or write in the background, with bounded queues."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.1  # between checks of whether the other thread has stopped


class _End:
    """The last item of a queue, with the error that ended the work, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Prefetcher(Generic[T]):
    """Iterates over items in a background thread, up to `depth` items ahead of the consumer."""

    def __init__(self, items: Iterable[T], depth: int = 8) -> None:
        self.busy = 0.0  # seconds spent in the iterator
        self._items = iter(items)
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """Yield every item in order; raises what the iterator raised."""
        while not isinstance(item := self._queue.get(), _End):
            yield item
        if item.error:
            raise item.error

    def close(self) -> None:
        """Stop the thread; items that were not consumed are lost."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                began = time.perf_counter()
                item = next(self._items, _END)
                self.busy += time.perf_counter() - began
                if isinstance(item, _End):
                    break
                self._put(item)
            self._put(_END)
        except BaseException as error:  # raised again in the consumer's thread
            self._put(_End(error))

    def _put(self, item: T | _End) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue


class BackgroundWriter(Generic[T]):
    """Calls `write` on items in a background thread, up to `depth` items behind the producer."""

    def __init__(self, write: Callable[[T], None], depth: int = 8) -> None:
        self.busy = 0.0  # seconds spent in `write`
        self._write = write
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Queue an item; raises what writing an earlier one raised."""
        self._put(item)

    def close(self) -> None:
        """Wait until every item is written; raises what writing raised."""
        self._put(_END)
        self._thread.join()
        if self._error:
            raise self._error

    def _put(self, item: T | _End) -> None:
        while True:
            if self._error:
                raise self._error
            try:
                return self._queue.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue

    def _run(self) -> None:
        while not isinstance(item := self._queue.get(), _End):
            began = time.perf_counter()
            try:
                self._write(item)
            except BaseException as error:  # raised again in the producer's thread
                self._error = error
                return
            self.busy += time.perf_counter() - began


_END = _End()
