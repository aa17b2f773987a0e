"""A camera through a network, live: the newest frame is painted, older ones are dropped."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from duostyle.inference.image import stylize
from duostyle.inference.temporal_filter import TemporalFilter
from duostyle.inference.video import STEADY
from duostyle.io.arrays import to_arrays, to_tensor
from duostyle.models import Painter

STEP = 0.05  # of alpha, by an arrow key
LEFT, RIGHT = "left", "right"
SMOOTHING = 0.9  # of the frame rate that is shown


class Camera(Protocol):
    """Gives frames for as long as there are any."""

    def read(self) -> np.ndarray | None:
        """The next frame, `(H, W, 3)` uint8 RGB; None where there are no more."""


class Screen(Protocol):
    """Shows frames, and hears keys."""

    def show(self, pixels: np.ndarray, text: str) -> str:
        """Show a frame `(H, W, 3)` uint8 RGB; returns the key pressed meanwhile, or nothing."""


class Recorder(Protocol):
    """Keeps what is shown."""

    def frame(self, pixels: np.ndarray) -> None: ...
    def close(self) -> None: ...


class Newest:
    """The newest frame of a camera, read in a thread of its own."""

    def __init__(self, camera: Camera) -> None:
        self.dropped = 0
        self._camera, self._frame, self._ended = camera, None, False
        self._error: Exception | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self) -> np.ndarray | None:
        """The newest frame that was not taken yet, waited for; None after the last one.

        Raises what reading the camera raised.
        """
        with self._news:
            self._news.wait_for(lambda: self._frame is not None or self._ended)
            frame, self._frame = self._frame, None
            if frame is None and self._error:
                raise self._error
            return frame

    def close(self) -> None:
        """Read no more."""
        self._ended = True
        self._thread.join(timeout=2.0)  # a camera that hangs shall not hang us

    def _run(self) -> None:
        while not self._ended:
            try:
                frame = self._camera.read()
            except Exception as error:  # raised again where frames are taken
                frame, self._error = None, error
            with self._news:
                if frame is None:
                    self._ended = True
                else:
                    self.dropped += self._frame is not None
                    self._frame = frame
                self._news.notify()


@dataclass
class Live:
    """What the keys have set, and what is shown."""

    alpha: float = 0.0
    swap: bool = False
    mask: bool = False
    recording: bool = False
    ended: bool = False

    def press(self, key: str) -> None:
        """Left and right: alpha; S swaps the styles, M shows the mask, R records, Q ends."""
        step = {LEFT: -STEP, ",": -STEP, RIGHT: STEP, ".": STEP}.get(key, 0.0)
        self.alpha = round(min(max(self.alpha + step, 0.0), 1.0), 6)
        self.swap ^= key == "s"
        self.mask ^= key == "m"
        self.recording ^= key == "r"
        self.ended |= key in ("q", "\x1b")


class LivePainter:
    """A camera's frames one after the other, as the keys say."""

    def __init__(
        self, network: Painter, live: Live, steady: float, options: Mapping[str, object]
    ) -> None:
        self.network, self.live, self.options = network, live, options
        self.device = network.device
        self.temporal_filter = TemporalFilter(steady)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """A frame `(H, W, 3)` uint8 RGB to what is shown of it, likewise."""
        live = self.live
        content = to_tensor([frame], self.device)
        views = stylize(
            self.network, content, live.alpha, swap=live.swap, branches=live.mask, **self.options
        )
        dial = live.alpha + 2 * live.swap + 4 * live.mask  # any of them begins anew
        name = "mask" if live.mask else "stylized"
        return to_arrays(self.temporal_filter(content, dial, {name: views[name]})[name])[0]


class _Kept:
    """What R records."""

    def __init__(self, begin: Callable[[int, int], Recorder] | None) -> None:
        self.begin, self.recorder = begin, None

    def frame(self, pixels: np.ndarray, wanted: bool) -> None:
        if wanted and not self.recorder and self.begin:
            self.recorder = self.begin(*pixels.shape[1::-1])
        if not wanted:
            self.close()
        if self.recorder:
            self.recorder.frame(pixels)

    def close(self) -> None:
        recorder, self.recorder = self.recorder, None
        if recorder:
            recorder.close()


def run_camera(
    network: Painter,
    camera: Camera,
    screen: Screen,
    live: Live | None = None,
    record: Callable[[int, int], Recorder] | None = None,
    steady: float = STEADY,
    send: Callable[[np.ndarray], None] | None = None,
    **options: object,
) -> dict[str, float]:
    """Paint a camera's frames until it or the user ends.

    `record`: begins a recording of a width and height, for R; `send`: takes every painted frame
    (a virtual camera); `options`: as of `stylize`. Returns `frames`, `dropped`, `seconds`.
    """
    live, newest, kept = live or Live(), Newest(camera), _Kept(record)
    paint = LivePainter(network, live, steady, options)
    frames, rate, began = 0, 0.0, time.monotonic()
    last = began
    try:
        while not live.ended and (frame := newest.take()) is not None:
            pixels = paint(frame)
            if send:
                send(pixels)
            kept.frame(pixels, live.recording)
            frames, now = frames + 1, time.monotonic()
            rate, last = _smoothed(rate, 1 / max(now - last, 1e-6)), now
            live.press(screen.show(pixels, caption(live, rate)))
    finally:
        newest.close()
        kept.close()
    return {"frames": frames, "dropped": newest.dropped, "seconds": time.monotonic() - began}


def _smoothed(rate: float, new: float) -> float:
    return SMOOTHING * rate + (1 - SMOOTHING) * new if rate else new


def caption(live: Live, rate: float) -> str:
    """What is written on the screen."""
    marks = [f"alpha {live.alpha:.2f}", f"{rate:.0f} frames/s"]
    marks += ["swapped"] * live.swap + ["mask"] * live.mask + ["recording"] * live.recording
    return "   ".join(marks)
