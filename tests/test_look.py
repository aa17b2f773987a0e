"""Lightness and color statistics by hand, and blind sheets that hide their order."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from duostyle.cli import evaluate
from duostyle.evaluation import blind, look


def gray(value: float, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.full((1, 3, height, width), value)


def test_lightness_by_hand() -> None:
    # sRGB 0.5 is a linear 0.21404, whose L* is 53.39.
    assert look.lab(gray(0.5))[..., 0].mean() == pytest.approx(53.39, abs=0.02)
    assert look.lab(gray(1.0))[..., 0].mean() == pytest.approx(100, abs=0.01)


def test_span_and_darkest_of_halves() -> None:
    halves = gray(0.0)
    halves[..., 48:] = 1
    row = look.lightness_row(halves, halves)
    assert row["span"] == pytest.approx(1, abs=1e-4) and row["darkest"] == pytest.approx(0)
    assert row["correlation"] == pytest.approx(1)
    assert look.lightness_row(halves, 1 - halves)["correlation"] == pytest.approx(-1)
    assert look.style_row([halves, gray(0.0)]) == pytest.approx(
        {"span": 0.5, "darkest": 0}, abs=1e-4
    )


@pytest.mark.parametrize(("period", "coarse"), [(4, 0.0), (64, 1.0)])
def test_coarse_share_by_hand(period: int, coarse: float) -> None:
    photo = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    wave = 0.5 + 0.2 * torch.sin(2 * torch.pi * torch.arange(128.0) / period)
    stylized = wave.expand(1, 3, 128, 128)
    assert look.lightness_row(photo, stylized)["coarse"] == pytest.approx(coarse, abs=0.15)


def test_color_differences_by_hand() -> None:
    # L* of white minus that of black.
    assert look.color_difference(gray(0.0), gray(1.0)) == pytest.approx(100, abs=0.01)
    halves, mask = gray(0.0), torch.zeros(1, 1, 64, 96)
    halves[..., 48:] = 1
    mask[..., 48:] = 1
    assert look.region_difference(halves, mask) == pytest.approx(100, abs=0.01)
    assert look.region_difference(halves, torch.zeros_like(mask)) is None


class KnownNetwork:
    """Alpha 0: the photograph; 0.5: white; 1: black. The mask is the right half."""

    device = torch.device("cpu")

    def encode(self, photo: torch.Tensor) -> SimpleNamespace:
        mask = torch.zeros_like(photo[:, :1])
        mask[..., photo.shape[-1] // 2 :] = 1
        return SimpleNamespace(photo=photo, mask=mask)

    def decode(self, encoded: SimpleNamespace, alpha: float) -> torch.Tensor:
        if alpha == 0:
            return encoded.photo
        return torch.full_like(encoded.photo, {0.5: 1.0, 1.0: 0.0}[alpha])


def test_measured_network_by_hand() -> None:
    halves = gray(0.0)
    halves[..., 48:] = 1  # black on the left, white on the right
    (row,) = look.measure_network(KnownNetwork(), [halves])
    assert row["span"] == pytest.approx(1, abs=1e-4) and row["correlation"] == pytest.approx(1)
    assert row["alpha_0_to_half"] == pytest.approx(50, abs=0.01)  # half of it turns white
    assert row["alpha_half_to_1"] == pytest.approx(100, abs=0.01)
    assert row["between_regions"] == pytest.approx(100, abs=0.01)
    medians = look.summarize([row, row | {"span": 0.5}, {"span": 0.2}])
    assert medians["span"] == 0.5 and medians["darkest"] == row["darkest"]
    assert "1.000" in look.table({"pair": row}, 1).splitlines()[-1]


def photographs(folder: Path, names: str = "abcd") -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def test_look_command(checkpoint: Path, tmp_path: Path, capsys) -> None:
    photos, painted = photographs(tmp_path / "photos"), tmp_path / "painted"
    painted.mkdir()
    for name in "ab":
        Image.open(photos / f"{name}.png").save(painted / f"{name}-alpha0.png")
    argv = ["look", photos, "--checkpoints", checkpoint, "--pictures", painted, "--size", 64]
    assert evaluate.main([str(a) for a in [*argv, "--json", tmp_path / "f.json"]]) == 0
    printed, found = capsys.readouterr().out, json.loads((tmp_path / "f.json").read_text())
    assert "4 photographs, medians" in printed
    assert found["medians"][str(painted)]["correlation"] == pytest.approx(1, abs=1e-4)
    assert set(found["medians"][str(checkpoint)]) | {"between_regions"} == set(look.COLUMNS)
    assert set(found["medians"][f"{checkpoint}: styles"]) == {"span", "darkest"}
    assert evaluate.main(["look", str(tmp_path / "f.json")]) == 2
    assert "no pictures in this folder" in capsys.readouterr().err


def test_blind_sheets_hide_the_order_and_are_counted(tmp_path: Path, capsys) -> None:
    photos = photographs(tmp_path / "photos", "abcdefgh")
    for name, value in (("light", 250), ("dark", 5)):
        (tmp_path / name).mkdir()
        for path in photos.iterdir():
            result = tmp_path / name / f"{path.stem}-alpha0.png"
            Image.new("RGB", (60, 40), (value,) * 3).save(result)
    out = tmp_path / "sheets"
    argv = ["blind", photos, tmp_path / "light", tmp_path / "dark", "-o", out]
    assert evaluate.main([str(a) for a in argv]) == 0
    key = json.loads((out / "key.json").read_text())
    assert len(key) == 8 == len(list(out.glob("*.png")))
    assert sorted(key.values()) == ["left"] * 4 + ["right"] * 4
    answers = {}
    for number in key:  # a judge who prefers the light one
        pixels = np.asarray(Image.open(out / f"{number}.png").convert("L"), dtype=float)
        row = pixels[-200]
        answers[number] = "right" if (row[: len(row) // 2] < 50).any() else "left"
    assert answers == key
    answers["00"] = "tie"
    (out / "answers.json").write_text(json.dumps(answers))
    assert evaluate.main(["blind", "-o", str(out), "--score"]) == 0
    assert "first 7, second 0, tie 1" in capsys.readouterr().out
    assert blind.count_answers(out) == {"first": 7, "second": 0, "tie": 1}
    assert evaluate.main([str(a) for a in argv]) == 2
    assert "key.json: exists" in capsys.readouterr().err
    (out / "answers.json").write_text(json.dumps(answers | {"03": "both"}))
    assert evaluate.main(["blind", "-o", str(out), "--score"]) == 2
    assert "03 is 'both'" in capsys.readouterr().err
