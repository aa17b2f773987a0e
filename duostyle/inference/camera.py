"""A live camera through a network: the newest frame is stylized, older ones are dropped."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from duostyle.inference.options import DEFAULTS, StylizeOptions
from duostyle.inference.render import Output, Renderer, Result
from duostyle.io.pixels import frames_to_tensor, tensor_to_frames
from duostyle.models import Painter

STEP = 0.05  # change of alpha by an arrow key
LEFT, RIGHT = "left", "right"
SMOOTHING = 0.9  # of the frame rate on the screen


class Camera(Protocol):
    """A source of frames."""

    def read(self) -> np.ndarray | None:
        """Wait for the next frame, `(H, W, 3)` uint8 RGB; None after the last one."""


class Screen(Protocol):
    """A window with a keyboard."""

    def show(self, pixels: np.ndarray, text: str) -> str:
        """Show a frame `(H, W, 3)` uint8 RGB; returns the key that was pressed, or ""."""


class Recorder(Protocol):
    """Records the frames that are shown."""

    def write(self, pixels: np.ndarray) -> None: ...
    def close(self) -> None: ...


class NewestFrame:
    """The newest frame of a camera, which is read in a background thread."""

    def __init__(self, camera: Camera) -> None:
        self.dropped = 0
        self._camera = camera
        self._frame: np.ndarray | None = None
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self) -> np.ndarray | None:
        """Wait for a frame that was not taken yet; returns None after the last one.

        Raises what reading the camera raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended)
            frame, self._frame = self._frame, None
            if frame is None and self._error:
                raise self._error
            return frame

    def close(self) -> None:
        """Stop reading."""
        self._ended = True
        self._thread.join(timeout=2.0)  # a camera that hangs must not block the program

    def _run(self) -> None:
        while not self._ended:
            frame = None
            try:
                frame = self._camera.read()
            except Exception as error:  # raised again in `take`
                self._error = error
            with self._changed:
                if frame is None:
                    self._ended = True
                else:
                    self.dropped += self._frame is not None
                    self._frame = frame
                self._changed.notify()


@dataclass
class LiveControls:
    """What the keys have set."""

    alpha: float = 0.0
    swap: bool = False
    mask: bool = False  # show the mask
    recording: bool = False
    ended: bool = False

    def press(self, key: str) -> None:
        """Left and right change alpha; S swaps the styles, M shows the mask, R records, Q ends."""
        step = {LEFT: -STEP, ",": -STEP, RIGHT: STEP, ".": STEP}.get(key, 0.0)
        self.alpha = round(min(max(self.alpha + step, 0.0), 1.0), 6)
        self.swap ^= key == "s"
        self.mask ^= key == "m"
        self.recording ^= key == "r"
        self.ended |= key in ("q", "\x1b")


@dataclass(frozen=True)
class CameraReport:
    """What was done to a camera's frames."""

    frames: int  # stylized and shown
    dropped: int  # replaced by a newer one before they were stylized
    seconds: float


class LiveStylizer:
    """Stylizes the frames of a camera as the controls say."""

    def __init__(self, network: Painter, options: StylizeOptions) -> None:
        """The controls decide whether the styles are swapped, not `options`."""
        self.network, self.options = network, options
        self._shown: tuple[Result, bool] | None = None

    def __call__(self, frame: np.ndarray, controls: LiveControls) -> np.ndarray:
        """Convert a frame `(H, W, 3)` uint8 RGB to the one that is shown."""
        output = Output.MASK if controls.mask else Output.STYLIZED
        shown = (Result(controls.alpha, output), controls.swap)
        if shown != self._shown:
            self._reset(*shown)
        content = frames_to_tensor([frame], self.network.device)
        ((_, pixels),) = self._render(content)
        return tensor_to_frames(pixels)[0]

    def _reset(self, result: Result, swap: bool) -> None:
        """Start a renderer, whose temporal filter knows no earlier frame."""
        self._shown = (result, swap)
        options = replace(self.options, swap=swap)
        self._render = Renderer(self.network, [result], options, temporal=True)


class _RecordingSwitch:
    """Starts and ends a recording as the R key says."""

    def __init__(self, start: Callable[[int, int], Recorder] | None) -> None:
        self._start = start
        self._recorder: Recorder | None = None

    def write(self, pixels: np.ndarray, on: bool) -> None:
        if not on:
            self.close()
        elif self._recorder is None and self._start:
            height, width = pixels.shape[:2]
            self._recorder = self._start(width, height)
        if self._recorder:
            self._recorder.write(pixels)

    def close(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder:
            recorder.close()


def run_camera(
    network: Painter,
    camera: Camera,
    screen: Screen,
    controls: LiveControls | None = None,
    record: Callable[[int, int], Recorder] | None = None,
    options: StylizeOptions = DEFAULTS,
) -> CameraReport:
    """Stylize the frames of a camera until it or the user ends.

    `controls`: the state at the start; `record`: starts a recording of a width and height in
    pixels, for the R key.
    """
    controls = controls or LiveControls(swap=options.swap)
    newest, recording = NewestFrame(camera), _RecordingSwitch(record)
    stylizer = LiveStylizer(network, options)
    frames, rate, began = 0, 0.0, time.monotonic()
    last = began
    try:
        while not controls.ended and (frame := newest.take()) is not None:
            pixels = stylizer(frame, controls)
            recording.write(pixels, controls.recording)
            frames, now = frames + 1, time.monotonic()
            rate, last = _smoothed(rate, 1 / max(now - last, 1e-6)), now
            controls.press(screen.show(pixels, caption(controls, rate)))
    finally:
        newest.close()
        recording.close()
    return CameraReport(frames, newest.dropped, time.monotonic() - began)


def _smoothed(rate: float, new: float) -> float:
    return SMOOTHING * rate + (1 - SMOOTHING) * new if rate else new


def caption(controls: LiveControls, rate: float) -> str:
    """The line of text on the screen; `rate`: frames per second."""
    parts = [f"alpha {controls.alpha:.2f}", f"{rate:.0f} frames/s"]
    parts += ["swapped"] * controls.swap + ["mask"] * controls.mask
    parts += ["recording"] * controls.recording
    return "   ".join(parts)
