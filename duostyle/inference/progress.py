"""How far a long job is."""

import sys
import time

from tqdm import tqdm

REPORT_SECONDS = 10.0  # between lines where there is no terminal


class Progress:
    """A bar with speed and time left; plain lines where there is no terminal."""

    def __init__(self, name: str, total: int | None) -> None:
        self.name, self.total = name, total
        self.plain = not sys.stderr.isatty()
        self.bar: tqdm | None = None
        self.done = self.before = 0  # frames; `before`: those of the first update

    def update(self, frames: int) -> None:
        """So many more are painted; speed is counted from the first of them on."""
        self.done += frames
        now = time.monotonic()
        if self.bar is None:  # what went before was no painting: graphs are made, say
            self.began = self.said = now
            self.before = self.done
            self.bar = tqdm(
                total=self.total,
                unit="frame",
                desc=self.name,
                disable=self.plain,
                initial=frames,
            )
            return
        self.bar.update(frames)
        if self.plain and now - self.said > REPORT_SECONDS:
            self.said = now
            speed = max(self.done - self.before, 1) / (now - self.began)
            left = max((self.total or 0) - self.done, 0) / speed
            left = f", {left:.0f} s left" if self.total else ""
            of = f"/{self.total}" if self.total else ""
            text = f"{self.name}: {self.done}{of} frames, {speed:.1f} frames/s{left}"
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """No more."""
        if self.bar is not None:
            self.bar.close()
