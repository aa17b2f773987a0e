"""Cameras, windows, virtual cameras, and recordings of what is shown."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from duostyle.inference.camera import LEFT, RIGHT
from duostyle.io.frames_out import Writer, open_writer
from duostyle.io.images import PictureError
from duostyle.io.video import Frame
from duostyle.io.video_color import Color
from duostyle.io.video_out import Encoding

TICKS = 1000  # a second, of a recording's time stamps
LIVE_COLOR = Color(int(Colorspace.ITU709), int(ColorRange.MPEG), 1, 1)
ARROWS = {  # as window systems number them
    65361: LEFT, 65363: RIGHT, 2424832: LEFT, 2555904: RIGHT, 63234: LEFT, 63235: RIGHT,
}  # fmt: skip


@dataclass
class Recording:
    """A video file of what is shown, with the time stamps of when it was."""

    path: Path
    encoding: Encoding
    width: int
    height: int
    rate: Fraction = Fraction(30)  # what players take for it; the time stamps are true
    time_base: Fraction = Fraction(1, TICKS)
    pixel_aspect: Fraction = Fraction(1)
    color: Color = LIVE_COLOR
    container: None = None
    others: tuple = ()

    def __post_init__(self) -> None:
        with ExitStack() as stack:
            self.writer: Writer = open_writer(self.path, self, self.encoding, stack)
            self.stack = stack.pop_all()
        self.began, self.last = time.monotonic(), -1

    def frame(self, pixels: np.ndarray) -> None:
        """Add what is shown now."""
        now = max(round((time.monotonic() - self.began) * TICKS), self.last + 1)
        self.writer.frame(Frame(pixels, now, max(now - self.last, 1)))
        self.last = now

    def close(self) -> None:
        """Finish the file."""
        with self.stack:  # where that fails, the unfinished file goes
            self.writer.close()


def opencv() -> ModuleType:
    """OpenCV, an optional extra. Raises ValueError without it."""
    try:
        import cv2
    except ImportError:
        raise ValueError("--camera needs OpenCV: pip install -e '.[camera]'") from None
    return cv2


class OpenCVCamera:
    """A camera by number. Raises PictureError where there is none, ValueError without OpenCV."""

    def __init__(self, number: int) -> None:
        self.cv2 = opencv()
        self.capture = self.cv2.VideoCapture(number)
        if not self.capture.isOpened():
            raise PictureError(f"camera {number}: cannot be opened; try another number")
        self.capture.set(self.cv2.CAP_PROP_BUFFERSIZE, 1)
        sides = (self.cv2.CAP_PROP_FRAME_WIDTH, self.cv2.CAP_PROP_FRAME_HEIGHT)
        self.size = tuple(int(self.capture.get(side)) for side in sides)  # width, height

    def read(self) -> np.ndarray | None:
        """The next frame; None where the camera is gone."""
        there, frame = self.capture.read()
        return self.cv2.cvtColor(frame, self.cv2.COLOR_BGR2RGB) if there else None

    def close(self) -> None:
        """Give the camera back."""
        self.capture.release()


def key_of(code: int) -> str:
    """What a window system's code of a key means to `Live.press`; nothing for other keys."""
    plain = code & 0xFFFF  # without num lock and its like
    if code in ARROWS or plain in ARROWS:
        return ARROWS.get(code) or ARROWS[plain]
    return chr(plain).lower() if 0 < plain < 256 and code >= 0 else ""


class OpenCVScreen:
    """A window. Raises ValueError where OpenCV has none (the headless build, no display)."""

    def __init__(self, title: str) -> None:
        self.cv2, self.title = opencv(), title
        try:
            self.cv2.namedWindow(title, self.cv2.WINDOW_NORMAL)
        except self.cv2.error as error:
            raise ValueError(f"no window can be shown here ({error.err})") from None

    def show(self, pixels: np.ndarray, text: str) -> str:
        """Show a frame with a line of text; the window's closing is Q."""
        cv2 = self.cv2
        picture = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picture, text, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, width)
        cv2.imshow(self.title, picture)
        code = cv2.waitKeyEx(1)
        if cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1:
            return "q"
        return key_of(code)


def virtual_camera(width: int, height: int, rate: float) -> Callable[[np.ndarray], None]:
    """Feeds video calls. Raises ValueError without pyvirtualcam or its driver."""
    try:
        import pyvirtualcam
    except ImportError:
        raise ValueError("--virtual-camera needs pip install -e '.[camera]'") from None
    try:
        device = pyvirtualcam.Camera(width, height, rate)
    except RuntimeError as error:
        raise ValueError(f"no virtual camera here ({error})") from None
    return device.send
