"""Progress of a long job."""

import sys
import time

from tqdm import tqdm

REPORT_SECONDS = 10.0  # between plain lines


class Progress:
    """Shows frames, speed and time left: a bar on a terminal, else plain lines."""

    def __init__(self, name: str, total: int | None) -> None:
        """`name`: shown in front; `total`: number of frames, if known."""
        self.name, self.total = name, total
        self.plain = not sys.stderr.isatty()
        self.bar: tqdm | None = None
        self.done = 0  # frames
        self.first = 0  # frames of the first update, which are left out of the speed

    def update(self, frames: int) -> None:
        """Add finished frames. The clock starts at the first call, after any setup."""
        self.done += frames
        now = time.monotonic()
        if self.bar is None:
            self.began = self.reported = now
            self.first = self.done
            self.bar = tqdm(
                total=self.total,
                unit="frame",
                desc=self.name,
                disable=self.plain,
                initial=frames,
            )
            return
        self.bar.update(frames)
        if self.plain and now - self.reported > REPORT_SECONDS:
            self.reported = now
            speed = max(self.done - self.first, 1) / (now - self.began)
            seconds = max((self.total or 0) - self.done, 0) / speed
            left = f", {seconds:.0f} s left" if self.total else ""
            total = f"/{self.total}" if self.total else ""
            text = f"{self.name}: {self.done}{total} frames, {speed:.1f} frames/s{left}"
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()
