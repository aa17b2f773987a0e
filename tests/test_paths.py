"""Input files, and the names of the output files."""

from pathlib import Path

import pytest
from PIL import Image

from duostyle.inference import Output, Result
from duostyle.inference.paths import find_inputs, find_mask, list_results, plan_outputs
from duostyle.io.images import PictureError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.png", "deep/a.jpg", ".hidden.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").touch()
    return tmp_path / "in"


def test_folder_flat_and_nested(folder: Path, tmp_path: Path) -> None:
    photos = find_inputs([str(folder)])
    plan = plan_outputs(photos, tmp_path / "out", [Result(0.5)])
    written = {
        str(path.relative_to(tmp_path / "out")) for o in plan.values() for path in o.values()
    }
    assert written == {"a.jpg", "b.png", "deep/a.jpg"}


def test_patterns(folder: Path) -> None:
    assert set(find_inputs([str(folder / "**" / "*.jpg")])) == {
        folder / "a.jpg",
        folder / "deep" / "a.jpg",
    }
    with pytest.raises(PictureError, match="no such file"):
        find_inputs([str(folder / "*.tiff")])


def test_names_of_several_results(folder: Path, tmp_path: Path) -> None:
    photos = find_inputs([str(folder / "b.png")])
    plan = plan_outputs(photos, tmp_path / "o", list_results([0.0, 0.25], True), "webp")
    names = {result: path.name for result, path in plan[folder / "b.png"].items()}
    assert names == {
        Result(0.0): "b-alpha0.webp",
        Result(0.25): "b-alpha0.25.webp",
        Result(0.0, Output.FOREGROUND): "b-foreground.webp",
        Result(0.0, Output.BACKGROUND): "b-background.webp",
        Result(0.0, Output.MASK): "b-mask.webp",
    }


def test_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    photos = find_inputs([str(folder / "a.jpg")])
    there = tmp_path / "there.png"
    there.touch()
    with pytest.raises(PictureError, match=r"there\.png: exists; --force"):
        plan_outputs(photos, there, [Result(0.0)])
    assert plan_outputs(photos, there, [Result(0.0)], force=True)
    with pytest.raises(PictureError, match="is an input file"):
        plan_outputs(photos, folder / "a.jpg", [Result(0.0)], force=True)


def test_two_results_in_one_file_are_refused(folder: Path, tmp_path: Path) -> None:
    photos = find_inputs([str(folder / "a.jpg"), str(folder / "deep" / "a.jpg")])
    with pytest.raises(PictureError, match=r"both .* would be written there"):
        plan_outputs(photos, tmp_path / "out", [Result(0.0)])
    same_name = list_results([0.5, 0.5000001], False)
    with pytest.raises(PictureError, match=r"a-alpha0\.5\.jpg: two alphas of .*a\.jpg would be"):
        plan_outputs({folder / "a.jpg": Path("a.jpg")}, tmp_path / "out", same_name)


def test_empty_folder_and_wrong_suffix(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="no pictures or videos in this folder"):
        find_inputs([str(tmp_path / "empty")])
    with pytest.raises(PictureError, match=r"x\.bmp: unknown suffix; write \.jpg"):
        plan_outputs({folder / "a.jpg": Path("a.jpg")}, tmp_path / "x.bmp", [Result(0.0)])


def test_masks(folder: Path) -> None:
    assert find_mask(folder, Path("deep/a.png")) == folder / "deep" / "a.jpg"
    assert find_mask(folder / "b.png", Path("a.jpg")) == folder / "b.png"
    with pytest.raises(PictureError, match=r"no mask for c\.jpg"):
        find_mask(folder, Path("c.jpg"))


def test_one_file_for_several_results_is_refused(folder: Path, tmp_path: Path) -> None:
    photos = find_inputs([str(folder / "b.png")])
    with pytest.raises(PictureError, match=r"out\.png: is one file for several results"):
        plan_outputs(photos, tmp_path / "out.png", list_results([0.0, 1.0], False))


def test_a_mask_has_exactly_the_name(folder: Path) -> None:
    Image.new("L", (16, 16)).save(folder / "b.1.png")
    (folder / "b.json").touch()
    assert find_mask(folder, Path("b.jpg")) == folder / "b.png"


def test_a_format_applies_to_its_own_kind_only(folder: Path, tmp_path: Path) -> None:
    photo, clip = {folder / "a.jpg": Path("a.jpg")}, {folder / "c.mov": Path("c.mov")}
    for suffix, wanted in (("webm", {"a.jpg", "c.webm"}), ("png", {"a.png", "c.mp4"})):
        plan = plan_outputs(photo | clip, tmp_path / "out", [Result(0.0)], suffix)
        assert {path.name for outputs in plan.values() for path in outputs.values()} == wanted
    with pytest.raises(PictureError, match="--format mp4: is a video format"):
        plan_outputs(photo, tmp_path / "out", [Result(0.0)], "mp4")
    with pytest.raises(PictureError, match=r"--format png: is a picture format; .*%05d\.png"):
        plan_outputs(clip, None, [Result(0.0)], "png")


def test_a_format_must_not_contradict_the_name_of_the_file(folder: Path, tmp_path: Path) -> None:
    photo, clip = {folder / "a.jpg": Path("a.jpg")}, {folder / "c.mov": Path("c.mov")}
    for inputs, name, suffix in ((photo, "out.png", "jpg"), (clip, "out.mp4", "webm")):
        with pytest.raises(PictureError, match=rf"{name}: contradicts --format {suffix}"):
            plan_outputs(inputs, tmp_path / name, [Result(0.0)], suffix)
    for name, suffix in (("out.jpeg", "jpg"), ("out.PNG", "png"), ("out.tif", "tiff")):
        plan = plan_outputs(photo, tmp_path / name, [Result(0.0)], suffix)
        assert plan[folder / "a.jpg"] == {Result(0.0): tmp_path / name}
    numbered = tmp_path / "%05d.png"
    assert plan_outputs(clip, numbered, [Result(0.0)], "png")[folder / "c.mov"] == {
        Result(0.0): numbered
    }
