"""Cameras and windows by OpenCV, and recordings of what is shown."""

import time
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from duostyle.inference.camera import LEFT, RIGHT
from duostyle.io.decoding import Color
from duostyle.io.images import PictureError
from duostyle.io.video import Frame, VideoFormat
from duostyle.io.video_writer import Encoding, open_writer

TICKS = 1000  # per second, of a recording's timestamps
# Players take the rate as a hint; the timestamps are those of the screen.
RECORDING_RATE = Fraction(30)
RECORDING_COLOR = Color(int(Colorspace.ITU709), int(ColorRange.MPEG), 1, 1)
ARROWS = {  # key codes of the window systems
    65361: LEFT, 65363: RIGHT, 2424832: LEFT, 2555904: RIGHT, 63234: LEFT, 63235: RIGHT,
}  # fmt: skip


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
