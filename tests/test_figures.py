"""Contact sheets that explain a pair: every picture by hand, and the command from end to end."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from duostyle.cli import evaluate
from duostyle.evaluation.figures import BLEND_ALPHAS, blend, comparison, densest_window, samples
from duostyle.io.pixels import tensor_to_pil
from duostyle.io.sheet import contact_sheet
from tests.flat import FlatNetwork, flat_pair, mix


def test_a_row_that_is_too_wide_is_scaled_down() -> None:
    picture = Image.new("RGB", (200, 100))
    rows = [[("one", picture)], [("two", picture)] * 4]
    sheet = contact_sheet(rows, height=100, width=460)
    # Four pictures and five margins of 12 pixels: 100 by 50 each.
    assert sheet.size == (460, (100 + 30 + 12) + (50 + 30 + 12) + 12)
    assert contact_sheet(rows[:1], height=100).size == (224, 154)


def test_densest_window_contains_the_boundary() -> None:
    mask = torch.zeros(1, 1, 64, 80)
    mask[..., 40:60, 50:70] = 1
    top, left, height, width = densest_window(mask)
    assert (height, width) == (32, 40)
    assert top <= 40 and top + height >= 60 and left <= 50 and left + width >= 70


FOREGROUND, BACKGROUND = (48, 40), (5, 5)  # pixels within and outside of the person
PURPLE = (128, 0, 128)


def colors(image: Image.Image) -> list[tuple[int, ...]]:
    """The colors of the person and of the rest."""
    return [image.getpixel(place) for place in (FOREGROUND, BACKGROUND)]


def flat_colors(alpha: float) -> list[tuple[int, ...]]:
    """The colors that `FlatNetwork` paints at an alpha."""
    return [tuple((255 * color).round().int().tolist()) for color in mix(alpha)]


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 3, 80, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("without_tv", [None, FlatNetwork()])
def test_comparison_by_hand(photo: torch.Tensor, without_tv: FlatNetwork | None) -> None:
    mask = torch.zeros(1, 1, 80, 96)
    mask[..., 20:60, 24:72] = 1
    whole, close = comparison(FlatNetwork(), without_tv, photo, mask)
    captions = [caption for caption, _ in whole]
    assert captions[0] == "composite of the branches" and captions[-1] == "ours"
    assert captions[1:-1] == ["ours without total variation"] * (without_tv is not None)
    assert [f"{caption}, detail" for caption in captions] == [caption for caption, _ in close]
    first, *others = [colors(image) for _, image in whole]
    # Cut along the mask; with a given mask the network itself paints purple.
    assert first == [(255, 0, 0), (0, 0, 255)] and others == [[PURPLE] * 2] * len(others)
    top, left, height, width = densest_window(mask)
    window = whole[0][1].crop((left, top, left + width, top + height))
    assert close[0][1].tobytes() == window.tobytes()
    assert [image.size for _, image in close] == [(48, 40)] * len(close)


def test_blend_by_hand(photo: torch.Tensor) -> None:
    above, *strip = blend(FlatNetwork(), photo)
    expected = ["photograph", "branch 1, alpha 0", "branch 2, alpha 0", "predicted mask"]
    assert [caption for caption, _ in above] == expected
    original, first, second, mask = [image for _, image in above]
    assert original.tobytes() == tensor_to_pil(photo[0]).tobytes()
    assert colors(first) == [(255, 0, 0)] * 2 and colors(second) == [(0, 0, 255)] * 2
    assert [mask.convert("L").getpixel(place) for place in ((48, 30), (48, 50))] == [255, 0]
    found = {caption: colors(image) for row in strip for caption, image in row}
    assert found == {f"alpha {alpha:g}": flat_colors(alpha) for alpha in BLEND_ALPHAS}


def test_samples_by_hand(photo: torch.Tensor, tmp_path: Path) -> None:
    pair = flat_pair(tmp_path)
    styles, row = samples(pair.network, pair.style_files, [photo])
    assert [image.getpixel((0, 0)) for _, image in styles] == [(255, 0, 0), (0, 0, 255)]
    captions = ["photograph", "predicted mask", "alpha 0", "alpha 0.5", "alpha 1"]
    assert [caption for caption, _ in row] == captions
    found = [colors(image) for _, image in row[2:]]
    assert found == [flat_colors(0.0), flat_colors(0.5), flat_colors(1.0)]


def test_command(checkpoint: Path, photo_folder, tmp_path: Path, capsys) -> None:
    argv = ["figures", "--checkpoint", checkpoint, "--photos", photo_folder[0], "--height", 40]
    argv += ["--labels", photo_folder[1], "--without-tv", checkpoint, "-o", tmp_path / "sheets"]
    assert evaluate.main([str(part) for part in argv]) == 0
    sheets = {path.stem: Image.open(path) for path in sorted((tmp_path / "sheets").iterdir())}
    assert set(sheets) == {"composite", "blend", "samples"}
    assert str(tmp_path / "sheets" / "composite.jpg") in capsys.readouterr().out
    assert evaluate.main([str(part) for part in argv]) == 2  # nothing is overwritten
    assert "composite.jpg: exists; --force overwrites" in capsys.readouterr().err
    assert evaluate.main([str(part) for part in [*argv, "--force", "--count", 1]]) == 0
    with Image.open(tmp_path / "sheets" / "samples.jpg") as sheet:
        assert sheet.height == 2 * (40 + 30 + 12) + 12
    # Seven rows of 40 pixels with their captions: the style images and six photographs.
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
