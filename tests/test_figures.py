"""The pictures that explain a pair: what is cut where, and the command from end to end."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from duostyle.cli import evaluate
from duostyle.evaluation.figures import BLEND, blend, comparison, detail
from duostyle.io.sheet import contact_sheet
from duostyle.models import StyleNetwork


def test_a_row_that_is_too_wide_is_made_lower() -> None:
    picture = Image.new("RGB", (200, 100))
    rows = [[("one", picture)], [("two", picture)] * 4]
    sheet = contact_sheet(rows, height=100, width=460)
    # Four pictures and five margins of 12 pixels: 100 by 50 each.
    assert sheet.size == (460, (100 + 30 + 12) + (50 + 30 + 12) + 12)
    assert contact_sheet(rows[:1], height=100).size == (224, 154)


def test_detail_finds_the_border() -> None:
    mask = torch.zeros(1, 1, 64, 80)
    mask[..., 40:60, 50:70] = 1
    top, left, height, width = detail(mask)
    assert (height, width) == (32, 40)
    assert top <= 40 and top + height >= 60 and left <= 50 and left + width >= 70


def test_rows_show_what_they_say(network: StyleNetwork) -> None:
    photo, mask = torch.rand(1, 3, 64, 80), torch.zeros(1, 1, 64, 80)
    mask[..., 20:40] = 1
    whole, close = comparison(network, None, photo, mask)
    assert len(whole) == len(close) == 2 and "naive" in whole[0][0]
    assert [image.size for _, image in close] == [(40, 32)] * 2
    assert len(comparison(network, network, photo, mask)[0]) == 3
    above, *strip = blend(network, photo)
    assert [caption for caption, _ in above][1:3] == ["branch 1, alpha 0", "branch 2, alpha 0"]
    painted = [image for row in strip for _, image in row]
    assert len(painted) == len(BLEND) and painted[0].tobytes() != painted[-1].tobytes()


def test_command(checkpoint: Path, photo_folder, tmp_path: Path, capsys) -> None:
    argv = ["figures", "--checkpoint", checkpoint, "--photos", photo_folder[0], "--height", 40]
    argv += ["--labels", photo_folder[1], "--without-tv", checkpoint, "-o", tmp_path / "sheets"]
    assert evaluate.main([str(part) for part in argv]) == 0
    sheets = {path.stem: Image.open(path) for path in sorted((tmp_path / "sheets").iterdir())}
    assert set(sheets) == {"naive", "blend", "samples"}
    assert str(tmp_path / "sheets" / "naive.jpg") in capsys.readouterr().out
    assert evaluate.main([str(part) for part in argv]) == 2  # nothing is overwritten
    assert "naive.jpg: exists; --force overwrites" in capsys.readouterr().err
    assert evaluate.main([str(part) for part in [*argv, "--force", "--count", 1]]) == 0
    with Image.open(tmp_path / "sheets" / "samples.jpg") as sheet:
        assert sheet.height == 2 * (40 + 30 + 12) + 12
    # Seven rows of 40 pixels with their captions: the paintings and six photographs.
    assert sheets["samples"].height == 7 * (40 + 30 + 12) + 12


@pytest.mark.parametrize("name", ["--without-tv", "--checkpoint"])
def test_missing_checkpoint_is_one_line(
    name: str, checkpoint, photo_folder, tmp_path, capsys
) -> None:
    argv = ["figures", "--photos", photo_folder[0], "--labels", photo_folder[1]]
    argv += ["--checkpoint", checkpoint, name, "nobody", "-o", tmp_path / "figures"]
    assert evaluate.main([str(part) for part in argv]) == 2
    printed = capsys.readouterr().err
    assert "nobody: no such checkpoint" in printed and printed.count("\n") == 1
