"""Files that caused errors in the past, by the command line; skips without ../shared/cases."""

from pathlib import Path

import pytest

from duostyle.cli import paint as paint_command
from duostyle.cli import train
from duostyle.data.masks import read_labels
from duostyle.io.images import PictureError, read_picture
from duostyle.io.video import VIDEO_SUFFIXES
from tests.conftest import SHARED

CASES = SHARED / "cases"
PICTURES = sorted(
    path
    for folder in (CASES, CASES / "malformed")
    if folder.is_dir()
    for path in folder.iterdir()
    if path.suffix.lower() not in VIDEO_SUFFIXES | {".md", ".py", ".json"} and path.is_file()
)
SETTINGS = sorted((CASES / "malformed").glob("*.json"))
PAINTED = ("anim", "gamut", "my%20dog", "pages", "panorama")  # the others are refused
NOTED = ("anim", "pages")  # hold more than one picture
needs_cases = pytest.mark.skipif(not PICTURES, reason="needs ../shared/cases, which is not here")


@needs_cases
@pytest.mark.parametrize("path", PICTURES or [Path("none")], ids=lambda path: path.name)
def test_case_is_painted_or_refused_in_one_line(
    path: Path, checkpoint: Path, tmp_path: Path, capfd
) -> None:
    argv = [str(path), "-o", str(tmp_path / "out"), "--size", "320", "--format", "png"]
    code = paint_command.main([*argv, "--checkpoint", str(checkpoint)])
    lines = capfd.readouterr().err.strip().splitlines()
    written = [p for p in tmp_path.rglob("*") if p.is_file() and p != checkpoint]
    if path.name.startswith(PAINTED):
        assert code == 0 and len(written) == 1
        assert lines.pop() == f"wrote {written[0]}"
        assert len(lines) == path.name.startswith(NOTED) and all(path.name in x for x in lines)
        assert read_picture(written[0]).pixels.shape == read_picture(path).pixels.shape
    else:
        assert code == 2 and not written
        assert len(lines) == 1 and path.name in lines[0]
        with pytest.raises(PictureError, match=path.name.replace(".", r"\.")):
            read_labels(path)


@needs_cases
def test_three_color_spaces_give_one_painting(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("srgb", "p3", "prophoto"):
        argv = [str(CASES / f"gamut_{name}.png"), "-o", str(tmp_path / f"{name}.png")]
        assert paint_command.main([*argv, "--checkpoint", str(checkpoint)]) == 0
    srgb, *others = (
        read_picture(tmp_path / f"{name}.png").pixels for name in ("srgb", "p3", "prophoto")
    )
    assert all((other - srgb).abs().mean() < 1.5 / 255 for other in others)


@needs_cases
@pytest.mark.parametrize("path", SETTINGS or [Path("none")], ids=lambda path: path.name)
def test_settings_are_refused_in_one_line(path: Path, tmp_path: Path, capsys) -> None:
    assert train.main(["--settings", str(path), "--output", str(tmp_path / "r")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and path.name in lines[0]
    assert not (tmp_path / "r").exists()
