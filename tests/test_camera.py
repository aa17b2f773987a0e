"""The live loop, with a video file or an array as the camera."""

import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from duostyle.cli import paint as paint_command
from duostyle.inference import Encoding, StylizeOptions, stylize
from duostyle.inference.camera import (
    DOWN,
    LEFT,
    RIGHT,
    UP,
    LiveControls,
    NewestFrame,
    OpenCVCamera,
    Recording,
    key_of,
    run_camera,
)
from duostyle.io.images import PictureError
from duostyle.io.video import Frame, VideoReader
from tests.test_video import Unpainted, make


class FileCamera:
    """Gives a video's frames at a rate, as a camera does."""

    def __init__(self, path: Path, rate: float = 0.0) -> None:
        self.reader, self.rate = VideoReader(path), rate
        self.frames = (item.pixels for item in self.reader if isinstance(item, Frame))
        self.given: list[np.ndarray] = []

    def read(self) -> np.ndarray | None:
        if self.rate:
            time.sleep(1 / self.rate)
        frame = next(self.frames, None)
        if frame is not None:
            self.given.append(frame)
        return frame


class OneByOne(FileCamera):
    """Gives a frame when the one before has been shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.shown = threading.Semaphore(1)

    def read(self) -> np.ndarray | None:
        self.shown.acquire()
        return super().read()


class FakeScreen:
    """Presses keys, one a frame."""

    def __init__(self, keys: list[str], camera: OneByOne | None = None) -> None:
        self.keys, self.camera = iter(keys), camera
        self.frames: list[np.ndarray] = []
        self.texts: list[str] = []

    def show(self, pixels: np.ndarray, text: str) -> str:
        self.frames.append(pixels)
        self.texts.append(text)
        if self.camera:
            self.camera.shown.release()
        return next(self.keys, "")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "camera.mp4", frames=12, rate=Fraction(20))


def test_keys() -> None:
    live = LiveControls(alpha=0.95)
    for key in (RIGHT, RIGHT, LEFT, "s", "m", "r", "x", ""):
        live.press(key)
    assert live == LiveControls(alpha=0.95, swap=True, mask=True, recording=True)
    for key in ("s", "m", "r", "q"):
        live.press(key)
    assert live == LiveControls(alpha=0.95, ended=True)


def test_up_and_down_change_the_strength(network, clip: Path) -> None:
    live = LiveControls()
    for key in (UP, DOWN, DOWN, UP):
        live.press(key)
    assert live == LiveControls(strength=0.95)
    camera = OneByOne(clip)
    screen = FakeScreen([DOWN, DOWN, "q"], camera)
    options = StylizeOptions(strength=0.05, background_strength=0.5, steady=0.0)
    run_camera(network, camera, screen, options=options)
    content = torch.from_numpy(camera.given[0]).permute(2, 0, 1)[None].float() / 255
    expected = stylize(network, content, strength=0.05, background_strength=0.5)["stylized"]
    assert np.abs(expected[0].permute(1, 2, 0).numpy() * 255 - screen.frames[0]).max() <= 0.51
    assert all(map(np.array_equal, screen.frames[1:], camera.given[1:]))  # at 0: the photograph
    assert "strength 0.05" in screen.texts[0] and "strength 0.00" in screen.texts[2]


def test_the_keys_decide_what_is_shown(network, clip: Path) -> None:
    camera = OneByOne(clip)
    screen = FakeScreen(["", RIGHT, "s", "m", "m", "q"], camera)
    done = run_camera(network, camera, screen, options=StylizeOptions(steady=0.0))
    assert done.frames == 6 and done.dropped == 0
    settings = [(0.0, False), (0.0, False), (0.05, False), (0.05, True), None, (0.05, True)]
    for frame, pixels, wanted in zip(camera.given, screen.frames, settings, strict=False):
        content = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
        if wanted:
            expected = stylize(network, content, wanted[0], swap=wanted[1])["stylized"]
        else:
            expected = stylize(network, content, branches=True)["mask"].expand(-1, 3, -1, -1)
        apart = expected[0].permute(1, 2, 0).numpy() * 255 - pixels
        assert np.abs(apart).max() <= 0.51
    assert "alpha 0.05" in screen.texts[2] and "swapped" in screen.texts[3]
    assert "mask" in screen.texts[4] and "frames/s" in screen.texts[5]


class Steps(Unpainted):
    """Stands for a network: black first, then white; each change of alpha or swap is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.values = iter([0.0, 1.0, 1.0, 0.0, 1.0, 0.5, 1.0])

    def forward(self, content, alpha, mask=None, swap=False):
        return torch.full_like(content, next(self.values))


class StillCamera:
    """Gives the same frame again and again, one after each that was shown."""

    def __init__(self, screen: "FakeScreen") -> None:
        self.shown = screen.shown = threading.Semaphore(1)

    def read(self) -> np.ndarray:
        self.shown.acquire()
        return np.full((48, 64, 3), 100, np.uint8)


def test_the_filter_starts_again_when_a_key_changes_the_picture(network) -> None:
    screen = FakeScreen(["", "", RIGHT, "", "s", "", "q"])
    screen.camera = StillCamera(screen)
    options = StylizeOptions(steady=0.75)
    assert run_camera(Steps(), screen.camera, screen, options=options).frames == 7
    # Painted: 0, 1, 1; alpha changes: 0, 1; the styles are swapped: 0.5, 1.
    expected = [0, 0.25, 1 - 0.75**2, 0, 0.25, 0.5, 0.5 + 0.5 * 0.25]
    assert [p.mean() / 255 for p in screen.frames] == pytest.approx(expected, abs=0.003)


def test_the_command_paints_a_camera(
    clip: Path, checkpoint: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    camera = OneByOne(clip)
    camera.close = camera.reader.container.close
    screen = FakeScreen(["r", "", "", "", "q"], camera)
    monkeypatch.setattr(paint_command, "open_painter", lambda *_: (Unpainted(), "fp32"))
    monkeypatch.setattr(paint_command, "OpenCVCamera", lambda number: camera)
    monkeypatch.setattr(paint_command, "OpenCVScreen", lambda title: screen)
    out = tmp_path / "r.mp4"
    argv = ["--camera", "0", "--alpha", "0.3", "--swap", "-o", str(out)]
    assert paint_command.main([*argv, "--steady", "0", "--checkpoint", str(checkpoint)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("5 frames, ") and said.out.endswith(" 0 dropped\n")
    assert said.err == f"recording: {out}\nwrote {out}\n"
    assert all(map(np.array_equal, screen.frames, camera.given))
    assert screen.texts[0].startswith("alpha 0.30 ") and "swapped" in screen.texts[0]
    with av.open(str(out)) as file:
        assert len(list(file.decode(video=0))) == 4


def test_a_second_recording_does_not_replace_the_first(
    clip: Path, checkpoint: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    camera = OneByOne(clip)
    camera.close = camera.reader.container.close
    screen = FakeScreen(["r", "", "", "r", "r", "", "r", "q"], camera)
    monkeypatch.setattr(paint_command, "open_painter", lambda *_: (Unpainted(), "fp32"))
    monkeypatch.setattr(paint_command, "OpenCVCamera", lambda number: camera)
    monkeypatch.setattr(paint_command, "OpenCVScreen", lambda title: screen)
    out = tmp_path / "rec.mp4"
    out.write_text("of an earlier command")
    argv = ["--camera", "0", "-o", str(out), "--force", "--checkpoint", str(checkpoint)]
    assert paint_command.main(argv) == 0
    counts = {}
    for path in tmp_path.glob("rec*.mp4"):
        with av.open(str(path)) as file:
            counts[path.name] = len(list(file.decode(video=0)))
    assert counts == {"rec.mp4": 3, "rec-2.mp4": 2}
    assert capsys.readouterr().err.splitlines()[2:] == [
        f"wrote {out}",
        f"wrote {tmp_path / 'rec-2.mp4'}",
    ]


def test_the_camera_is_released_if_no_window_can_be_opened(
    clip: Path, checkpoint: Path, monkeypatch, capsys
) -> None:
    camera, closed = FileCamera(clip), []
    camera.close = lambda: closed.append(True)

    def no_window(title: str) -> None:
        raise ValueError("no window can be opened here")

    monkeypatch.setattr(paint_command, "open_painter", lambda *_: (Unpainted(), "fp32"))
    monkeypatch.setattr(paint_command, "OpenCVCamera", lambda number: camera)
    monkeypatch.setattr(paint_command, "OpenCVScreen", no_window)
    assert paint_command.main(["--camera", "0", "--checkpoint", str(checkpoint)]) == 2
    assert closed == [True]
    assert capsys.readouterr().err == "duostyle paint: no window can be opened here\n"


def test_the_newest_frame_is_taken_and_older_ones_are_dropped(clip: Path) -> None:
    camera = FileCamera(clip, rate=100)
    newest = NewestFrame(camera)
    taken = []
    while (frame := newest.take()) is not None:
        taken.append(len(camera.given))
        assert frame is camera.given[-1] or frame is camera.given[-2]
        time.sleep(0.035)  # slower than the camera
    newest.close()
    assert newest.dropped > 0 and len(taken) + newest.dropped == 12


def test_an_error_of_the_camera_is_raised(clip: Path) -> None:
    class Failing:
        def read(self) -> None:
            raise RuntimeError("unplugged")

    newest = NewestFrame(Failing())
    with pytest.raises(RuntimeError, match="unplugged"):
        newest.take()
    newest.close()


def test_keys_of_window_systems() -> None:
    assert key_of(65361) == key_of(65361 | 0x100000) == LEFT and key_of(63235) == RIGHT
    assert key_of(ord("S")) == key_of(ord("s") | 0x100000) == "s" and key_of(27) == "\x1b"
    assert [key_of(code) for code in (65362, 65364, 2490368, 2621440)] == [UP, DOWN] * 2
    for other in (-1, 65365, 65365 | 0x100000, 255 << 8):
        assert key_of(other) == ""


def test_recording(network, clip: Path, tmp_path: Path) -> None:
    camera = OneByOne(clip)
    screen = FakeScreen(["", "r", "", "", "r", "", "q"], camera)
    path = tmp_path / "recorded.mp4"
    run_camera(network, camera, screen, record=lambda w, h: Recording(path, Encoding(), w, h))
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    assert len(frames) == 3 and (frames[0].width, frames[0].height) == (64, 48)
    times = [float(frame.pts * frame.time_base) for frame in frames]
    assert times == sorted(set(times)) and times[0] < 0.5


def test_a_recording_is_finished_when_the_camera_goes(network, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "recorded.mp4"
    camera, live = OneByOne(clip), LiveControls(recording=True)
    record = lambda w, h: Recording(path, Encoding(), w, h)  # noqa: E731
    done = run_camera(network, camera, FakeScreen([], camera), live, record)
    assert done.frames == 12
    with av.open(str(path)) as file:
        assert len(list(file.decode(video=0))) == 12


def test_a_recording_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="--codec nothing: not possible"):
        Recording(tmp_path / "r.mp4", Encoding("nothing"), 64, 48)
    assert not list(tmp_path.iterdir())


def test_wrong_options_and_a_missing_camera_are_one_line(checkpoint: Path, capsys) -> None:
    argv = ["--checkpoint", str(checkpoint)]
    assert paint_command.main(argv) == 2
    assert "name pictures or videos, or a --camera" in capsys.readouterr().err
    assert paint_command.main([*argv, "--camera", "0", "--alpha", "0,1"]) == 2
    assert "--camera takes one alpha" in capsys.readouterr().err
    assert paint_command.main([*argv, "--camera", "0", "--output-size", "64"]) == 2
    assert "--camera takes no --output-size" in capsys.readouterr().err
    assert paint_command.main(["--checkpoint", "all", "--camera", "0"]) == 2
    assert "--camera takes one --checkpoint" in capsys.readouterr().err
    with pytest.raises(PictureError, match="camera 99: cannot be opened"):
        OpenCVCamera(99)
