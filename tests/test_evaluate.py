"""The measurements: known answers, and the command from end to end."""

import json
from pathlib import Path

import pytest
import torch

import evaluate
from losses import PerceptualNetwork
from metrics.regions import Regions, iou, region_grams, relative_distance, style_scale


def test_iou_by_hand() -> None:
    mask, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2, :] = 0.9  # 8 places
    target[..., 1:3, :] = 1  # 8 places, 4 in common
    known = torch.ones(1, 1, 4, 4)
    assert iou(mask, target, known) == pytest.approx(4 / 12)
    known[..., 0, :] = 0
    assert iou(mask, target, known) == pytest.approx(4 / 8)


def test_a_painting_wears_its_own_style(random_vgg: Path) -> None:
    vgg = PerceptualNetwork(random_vgg)
    one, two = torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 48) * 0.2
    targets = [region_grams(vgg, style)[0] for style in (one, two)]
    scale = style_scale(targets)
    (grams,) = region_grams(vgg, one, torch.ones(1, 1, 48, 48))
    assert relative_distance(grams, targets[0], scale) == pytest.approx(0, abs=1e-8)
    assert relative_distance(grams, targets[1], scale) > 1e-3


def test_regions_count_and_order() -> None:
    rows = {
        0.0: [(0.1, 0.9, 0.9, 0.1), (0.5, 0.4, 0.9, 0.1)],  # the second is wrong in front
        0.5: [(0.2, 0.5, 0.5, 0.2)],
        1.0: [(0.3, 0.4, 0.4, 0.3)],
    }
    figures = Regions(rows, [0.5, 1.0])
    assert figures.right() == 0.5
    assert figures.mean(0.0) == pytest.approx((0.3, 0.65, 0.9, 0.1))
    assert figures.falls() and figures.mean_iou() == 0.75
    figures.distances[1.0] = [(0.3, 0.6, 0.4, 0.3)]
    assert not figures.falls()


def test_command(checkpoint: Path, photo_folder, random_vgg: Path, tmp_path: Path, capsys) -> None:
    argv = ["regions", "--checkpoint", checkpoint, "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1], "--vgg-weights", random_vgg]
    argv += ["--json", tmp_path / "figures.json"]
    assert evaluate.main([str(part) for part in argv]) == 0
    printed = capsys.readouterr().out
    assert "5 photographs with 10 to 70 % foreground" in printed
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures["distances"]["0.25"]) == 5 and len(figures["ious"]) == 5
    assert 0 <= figures["mask_iou"] <= 1


def test_missing_style_image_is_one_line(photo_folder, network, tmp_path: Path, capsys) -> None:
    from models import save_checkpoint

    styles = [{"name": "nobody", "sha256": "0"}]
    header = {"styles": styles, "training": {"style_size": 64, "foreground": ""}}
    save_checkpoint(tmp_path / "c.safetensors", network, header)
    argv = ["regions", "--checkpoint", tmp_path / "c.safetensors", "--photos", photo_folder[0]]
    argv += ["--labels", photo_folder[1]]
    assert evaluate.main([str(part) for part in argv]) == 2
    assert "nobody: its image is not in styles/; name both" in capsys.readouterr().err
