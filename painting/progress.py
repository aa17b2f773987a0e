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
        self.bar = tqdm(total=total, unit="frame", desc=name, disable=self.plain)
        self.began = self.said = time.monotonic()
        self.done = 0

    def update(self, frames: int) -> None:
        """So many more are painted."""
        self.bar.update(frames)
        self.done += frames
        now = time.monotonic()
        if self.plain and now - self.said > REPORT_SECONDS:
            self.said = now
            speed = self.done / (now - self.began)
            left = f", {(self.total - self.done) / speed:.0f} s left" if self.total else ""
            of = f"/{self.total}" if self.total else ""
            text = f"{self.name}: {self.done}{of} frames, {speed:.1f} frames/s{left}"
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """No more."""
        self.bar.close()
