"""A live camera through a network: the newest frame is stylized, older ones are dropped.

The loop takes any camera and window; those of OpenCV are here, and recordings of what is shown.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from duostyle.inference.mask_memory import MaskMemory
from duostyle.inference.render import DEFAULTS, Output, Painter, Renderer, Result, StylizeOptions
from duostyle.io.decoding import Color
from duostyle.io.images import PictureError
from duostyle.io.pixels import frames_to_tensor, tensor_to_frames
from duostyle.io.video import Frame, VideoFormat
from duostyle.io.video_writer import Encoding, open_writer

STEP = 0.05  # change of alpha or strength by an arrow key
LEFT, RIGHT, UP, DOWN = "left", "right", "up", "down"
SMOOTHING = 0.9  # of the frame rate on the screen
TICKS = 1000  # per second, of a recording's timestamps
# Players take the rate as a hint; the timestamps are those of the screen.
RECORDING_RATE = Fraction(30)
RECORDING_COLOR = Color(int(Colorspace.ITU709), int(ColorRange.MPEG), 1, 1)
ARROWS = {  # key codes of the window systems
    65361: LEFT, 65362: UP, 65363: RIGHT, 65364: DOWN,
    2424832: LEFT, 2490368: UP, 2555904: RIGHT, 2621440: DOWN,
    63232: UP, 63233: DOWN, 63234: LEFT, 63235: RIGHT,
}  # fmt: skip


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
    strength: float = 1.0
    swap: bool = False
    mask: bool = False  # show the mask
    recording: bool = False
    ended: bool = False

    def press(self, key: str) -> None:
        """Apply a key.

        Left and right change alpha, up and down the strength; S swaps the styles, M shows the mask,
        R records, Q ends.
        """
        self.alpha = _stepped(self.alpha, key in (RIGHT, "."), key in (LEFT, ","))
        self.strength = _stepped(self.strength, key == UP, key == DOWN)
        self.swap ^= key == "s"
        self.mask ^= key == "m"
        self.recording ^= key == "r"
        self.ended |= key in ("q", "\x1b")


def _stepped(value: float, more: bool, less: bool) -> float:
    return round(min(max(value + STEP * (more - less), 0.0), 1.0), 6)


@dataclass(frozen=True)
class CameraReport:
    """What was done to a camera's frames."""

    frames: int  # stylized and shown
    dropped: int  # replaced by a newer one before they were stylized
    seconds: float


class LiveStylizer:
    """Stylizes the frames of a camera as the controls say."""

    def __init__(self, network: Painter, options: StylizeOptions) -> None:
        """The controls decide on strength and swapped styles, not `options`."""
        self.network, self.options = network, options
        self._shown: tuple[Result, bool] | None = None
        self._memory = MaskMemory(options.steady_mask)  # the learned mask ignores the controls

    def __call__(self, frame: np.ndarray, controls: LiveControls) -> np.ndarray:
        """Convert a frame `(H, W, 3)` uint8 RGB to the one that is shown."""
        output = Output.MASK if controls.mask else Output.STYLIZED
        shown = (Result(controls.alpha, output), controls.swap)
        if shown != self._shown:
            self._reset(*shown)
        # The temporal filter comes before the strength, and need not start again.
        self._render.options = replace(self._render.options, strength=controls.strength)
        content = frames_to_tensor([frame], self.network.device)
        ((_, pixels),) = self._render(content)
        return tensor_to_frames(pixels)[0]

    def _reset(self, result: Result, swap: bool) -> None:
        """Start a renderer, whose temporal filter knows no earlier frame."""
        self._shown = (result, swap)
        options = replace(self.options, swap=swap)
        self._render = Renderer(self.network, [result], options, temporal=True)
        self._render.memory = self._memory


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
    controls = controls or LiveControls(strength=options.strength, swap=options.swap)
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
    parts = [f"alpha {controls.alpha:.2f}", f"strength {controls.strength:.2f}"]
    parts.append(f"{rate:.0f} frames/s")
    parts += ["swapped"] * controls.swap + ["mask"] * controls.mask
    parts += ["recording"] * controls.recording
    return "   ".join(parts)


class Recording:
    """A video file of the frames that are shown, with the times at which they were shown."""

    def __init__(self, path: Path, encoding: Encoding, width: int, height: int) -> None:
        """Raises PictureError if the file cannot be written."""
        format = VideoFormat(
            width, height, RECORDING_RATE, Fraction(1, TICKS), Fraction(1), RECORDING_COLOR
        )
        self.path = path
        with ExitStack() as stack:
            self._writer = open_writer(path, format, encoding, stack)
            self._stack = stack.pop_all()
        self._began, self._last = time.monotonic(), -1

    def write(self, pixels: np.ndarray) -> None:
        """Add the frame `(H, W, 3)` uint8 RGB that is shown now."""
        now = max(round((time.monotonic() - self._began) * TICKS), self._last + 1)
        self._writer.write_frame(Frame(pixels, now, max(now - self._last, 1)))
        self._last = now

    def close(self) -> None:
        """Finish the file; it is removed if that fails."""
        with self._stack:
            self._writer.close()


def opencv() -> Any:
    """Import OpenCV, an optional dependency. Raises ValueError if it is not installed."""
    try:
        import cv2
    except ImportError:
        raise ValueError("--camera needs OpenCV: pip install 'duostyle[camera]'") from None
    return cv2


class OpenCVCamera:
    """A camera by its number."""

    def __init__(self, number: int) -> None:
        """Raises PictureError if there is no such camera, ValueError without OpenCV."""
        self.cv2 = opencv()
        self.capture = self.cv2.VideoCapture(number)
        if not self.capture.isOpened():
            raise PictureError(f"camera {number}: cannot be opened; try another number")
        self.capture.set(self.cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> np.ndarray | None:
        """Wait for the next frame, `(H, W, 3)` uint8 RGB; None if the camera is gone."""
        success, frame = self.capture.read()
        return self.cv2.cvtColor(frame, self.cv2.COLOR_BGR2RGB) if success else None

    def close(self) -> None:
        """Release the camera."""
        self.capture.release()


def key_of(code: int) -> str:
    """Convert a key code of a window system for `LiveControls.press`; "" for other keys."""
    plain = code & 0xFFFF  # without modifiers such as num lock
    if code in ARROWS or plain in ARROWS:
        return ARROWS.get(code) or ARROWS[plain]
    return chr(plain).lower() if 0 < plain < 256 and code >= 0 else ""


class OpenCVScreen:
    """A window."""

    def __init__(self, title: str) -> None:
        """Raises ValueError if OpenCV cannot open one (headless build, no display)."""
        self.cv2, self.title = opencv(), title
        try:
            self.cv2.namedWindow(title, self.cv2.WINDOW_NORMAL)
        except self.cv2.error as error:
            raise ValueError(f"no window can be opened here ({error.err})") from None

    def show(self, pixels: np.ndarray, text: str) -> str:
        """Show a frame with a line of text; returns the key, and Q if the window is closed."""
        cv2 = self.cv2
        picture = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picture, text, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, width)
        cv2.imshow(self.title, picture)
        code = cv2.waitKeyEx(1)
        if cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1:
            return "q"
        return key_of(code)
