"""Strokes whose size does not depend on the file's, enlarged along the photograph's contours."""

from pathlib import Path

import pytest
import torch

from duostyle.evaluation.look import lightness_row
from duostyle.inference import StylizeOptions, stylize
from duostyle.inference.enlarge import enlarge
from duostyle.inference.render import painted_size, parse_strokes
from duostyle.io.images import read_picture
from duostyle.io.pixels import resize
from duostyle.models import StyleNetwork, load_pair, shipped_checkpoints

SMALL, LARGE = (16, 24), (100, 150)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_a_result_is_an_average_of_what_was_painted(monkeypatch) -> None:
    content = noise(2, 3, *LARGE)
    painted = 0.3 + 0.4 * noise(2, 3, *SMALL)
    found = enlarge(painted, resize(content, SMALL), content)
    assert found.shape == content.shape
    assert found.min() >= painted.min() - 1e-5 and found.max() <= painted.max() + 1e-5
    monkeypatch.setattr("duostyle.inference.enlarge.STRIP_PIXELS", 7 * LARGE[1])
    assert torch.equal(enlarge(painted, resize(content, SMALL), content), found)


def test_no_detail_of_the_photograph_comes_back() -> None:
    content = noise(1, 3, *LARGE)
    flat = torch.full((1, 3, *SMALL), 0.4)
    torch.testing.assert_close(
        enlarge(flat, resize(content, SMALL), content), torch.full((1, 3, *LARGE), 0.4)
    )
    ramp = torch.linspace(0.2, 0.8, SMALL[1]).expand(1, 3, *SMALL)
    plain = enlarge(ramp, torch.zeros(1, 3, *SMALL), torch.zeros(1, 3, *LARGE))
    found = enlarge(ramp, resize(content, SMALL), content)
    assert content.std() > 0.28 and (found - plain).std() < 0.01


def test_contours_are_as_sharp_as_in_the_photograph() -> None:
    """An edge of the photograph lies within a painted pixel; plain enlarging spreads it."""
    content = (torch.arange(LARGE[1]) >= 72).float().expand(1, 3, *LARGE)
    small = resize(content, SMALL)
    painted = 0.2 + 0.6 * small
    widths = []
    for found in (enlarge(painted, small, content), resize(painted, LARGE)):
        row = found[0, 0, 50]
        widths.append(int(((row > 0.3) & (row < 0.7)).sum()))
        assert row[60] < 0.21 and row[90] > 0.79
    assert widths[0] <= 5 and widths[1] >= 8


def test_the_size_at_which_a_picture_is_painted() -> None:
    for strokes, full, wanted in (
        ("fine", (3000, 4000), (768, 1024)),
        ("medium", (3000, 4000), (480, 640)),
        ("bold", (3000, 4000), (288, 384)),
        ("bold", (300, 200), (300, 200)),  # smaller: its own size
        (512, (512, 512), (512, 512)),
        (64, (1000, 100), (160, 16)),  # a short side of 16 or more
    ):
        assert painted_size(full, StylizeOptions(strokes=strokes)) == wanted
    assert painted_size((30, 40), StylizeOptions(size=80)) == (60, 80)
    assert parse_strokes("bold") == "bold" and parse_strokes("512") == 512


def test_wrong_strokes_are_refused() -> None:
    for wrong in ("huge", "15", "", "1e3"):
        with pytest.raises(ValueError, match="strokes is fine, medium, bold, or 16 pixels or more"):
            parse_strokes(wrong)
    with pytest.raises(ValueError, match="strokes and size exclude each other"):
        StylizeOptions(strokes="bold", size=300)


def test_a_small_picture_is_painted_as_without_strokes(network: StyleNetwork) -> None:
    content = noise(1, 3, 40, 56)
    found = stylize(network, content, 0.3, strokes="medium", branches=True)
    for name, value in stylize(network, content, 0.3, branches=True).items():
        assert torch.equal(found[name], value)
    larger = stylize(network, content, 0.3, strokes=32, branches=True)
    assert all(value.shape[-2:] == (40, 56) for value in larger.values())


def test_two_sizes_of_a_photograph_get_the_same_strokes(astronaut: Path) -> None:
    network = load_pair(next(name for name in shipped_checkpoints() if name.endswith("-small")))
    photo = read_picture(astronaut).pixels[None]
    coarse = []
    for side in (640, 1600):
        content = resize(photo, (side, side))
        painted = stylize(network, content, strokes="bold")["stylized"]
        row = lightness_row(resize(photo, (384, 384)), resize(painted, (384, 384)))
        coarse.append(row["coarse"])
    assert coarse[0] == pytest.approx(coarse[1], rel=0.1)
    assert 0.05 < coarse[0] < 0.95
