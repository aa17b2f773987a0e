"""Which files become which."""

from pathlib import Path

import pytest
from PIL import Image

from duostyle.io.images import PictureError
from duostyle.io.paths import find_photos, matte_of, plan_outputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.png", "deep/a.jpg", ".hidden.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").touch()
    return tmp_path / "in"


def test_folder_flat_and_nested(folder: Path, tmp_path: Path) -> None:
    photos = find_photos([str(folder)])
    jobs = plan_outputs(photos, tmp_path / "out", [0.5], False, None, False)
    written = {
        str(path.relative_to(tmp_path / "out")) for o in jobs.values() for path in o.values()
    }
    assert written == {"a.jpg", "b.png", "deep/a.jpg"}


def test_patterns(folder: Path) -> None:
    assert set(find_photos([str(folder / "**" / "*.jpg")])) == {
        folder / "a.jpg",
        folder / "deep" / "a.jpg",
    }
    with pytest.raises(PictureError, match="no such file"):
        find_photos([str(folder / "*.tiff")])


def test_names_of_several_results(folder: Path, tmp_path: Path) -> None:
    photos = find_photos([str(folder / "b.png")])
    jobs = plan_outputs(photos, tmp_path / "o", [0.0, 0.25], True, "webp", False)
    names = {result: path.name for result, path in jobs[folder / "b.png"].items()}
    assert names == {
        "0": "b-alpha0.webp",
        "0.25": "b-alpha0.25.webp",
        "foreground": "b-foreground.webp",
        "background": "b-background.webp",
        "mask": "b-mask.webp",
    }


def test_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    photos = find_photos([str(folder / "a.jpg")])
    there = tmp_path / "there.png"
    there.touch()
    with pytest.raises(PictureError, match=r"there\.png: exists; --force"):
        plan_outputs(photos, there, [0.0], False, None, False)
    assert plan_outputs(photos, there, [0.0], False, None, True)
    with pytest.raises(PictureError, match="is a photograph to be painted"):
        plan_outputs(photos, folder / "a.jpg", [0.0], False, None, True)


def test_two_photos_do_not_meet_in_one_file(folder: Path, tmp_path: Path) -> None:
    photos = find_photos([str(folder / "a.jpg"), str(folder / "deep" / "a.jpg")])
    with pytest.raises(PictureError, match=r"both .* would be written there"):
        plan_outputs(photos, tmp_path / "out", [0.0], False, None, False)


def test_empty_folder_and_wrong_suffix(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="no pictures or videos in this folder"):
        find_photos([str(tmp_path / "empty")])
    with pytest.raises(PictureError, match=r"x\.bmp: write"):
        plan_outputs({folder / "a.jpg": Path("a.jpg")}, tmp_path / "x.bmp", [0], False, None, False)


def test_mattes(folder: Path) -> None:
    assert matte_of(folder, Path("deep/a.png")) == folder / "deep" / "a.jpg"
    assert matte_of(folder / "b.png", Path("a.jpg")) == folder / "b.png"
    with pytest.raises(PictureError, match=r"no mask for c\.jpg"):
        matte_of(folder, Path("c.jpg"))


def test_one_file_for_several_results_is_refused(folder: Path, tmp_path: Path) -> None:
    photos = find_photos([str(folder / "b.png")])
    with pytest.raises(PictureError, match=r"out\.png: is one file for several results"):
        plan_outputs(photos, tmp_path / "out.png", [0.0, 1.0], False, None, False)


def test_the_matte_has_exactly_the_name(folder: Path) -> None:
    Image.new("L", (16, 16)).save(folder / "b.1.png")
    (folder / "b.json").touch()
    assert matte_of(folder, Path("b.jpg")) == folder / "b.png"
