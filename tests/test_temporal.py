"""Temporal consistency: known answers for a moving picture."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from duostyle.cli import evaluate
from duostyle.evaluation import temporal
from duostyle.evaluation.metrics import FlowWarp
from duostyle.io.images import PictureError, read_picture
from duostyle.io.pixels import resize, tensor_to_pil


@pytest.fixture(scope="module")
def scene(request) -> Tensor:
    photo = read_picture(Path(__file__).parent.parent / "assets/photos/astronaut.jpg").pixels
    return resize(photo[None], (160, 160))


def moved(scene: Tensor, pixels: int) -> Tensor:
    """A window of 128 pixels that lies `pixels` further to the right."""
    return scene[..., 16:144, 10 + pixels : 138 + pixels]


def test_a_moving_scene_has_no_error(scene: Tensor) -> None:
    before, now = moved(scene, 0), moved(scene, 6)
    flow = FlowWarp(before, now)
    assert flow.valid.mean() > 0.8
    assert flow.error(before, now) < 0.02 < 0.1 < (before - now).square().mean().sqrt()
    # A texture that does not move with the scene has an error.
    assert flow.error(before, before) > 3 * flow.error(before, now)


def test_occluded_pixels_are_invalid(scene: Tensor) -> None:
    before, now = scene[..., :128, :128].clone(), scene[..., :128, :128].clone()
    before[..., 40:80, 40:80] = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    valid = torch.from_numpy(FlowWarp(before, now).valid)
    assert valid[45:75, 45:75].float().mean() < 0.5 < 0.9 < valid[:30, :30].float().mean()


def test_flicker_by_hand(scene: Tensor) -> None:
    methods = {
        "constant": lambda: lambda frame: temporal.StylizedFrame(torch.zeros_like(frame)),
        "half": lambda: lambda frame: temporal.StylizedFrame(0.5 * frame),
    }
    found = temporal.flicker(0.3 + 0.4 * scene, methods, "cpu")
    assert found["source"] == pytest.approx(temporal.NOISE, rel=0.05)
    assert found["constant"] == 0 and found["half"] == pytest.approx(found["source"] / 2, rel=1e-4)


@pytest.fixture
def clip(scene: Tensor, tmp_path: Path) -> Path:
    for folder in ("frames", "masks"):
        (tmp_path / "clip" / folder).mkdir(parents=True)
    for number in range(3):
        tensor_to_pil(moved(scene, 3 * number)[0]).save(tmp_path / f"clip/frames/{number}.png")
        mask = Image.new("L", (128, 128))
        mask.paste(255, (40, 40, 90, 128))
        mask.save(tmp_path / f"clip/masks/{number}.png")
    return tmp_path / "clip"


def test_a_correct_static_mask(clip: Path) -> None:
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 40:128, 40:90] = 1
    methods = {"right": lambda: lambda frame: temporal.StylizedFrame(frame, mask)}
    source, right = temporal.measure_clip(clip, methods, 10, 640, "cpu")
    assert (source.method, right.method) == ("source", "right") and source.mask_iou is None
    assert right.mask_iou == 1 and right.warping == source.warping < 0.03
    assert len(right.warpings) == 2 and right.mask_change > 0


def test_static_clip_by_hand(scene: Tensor, tmp_path: Path) -> None:
    """Frames do not move: the error of a method is the change that it makes itself."""
    for number in range(3):
        tensor_to_pil(moved(scene, 0)[0]).save(tmp_path / f"{number}.png")

    def begin():  # alternates between 0.25 and 0.75, its mask between 0 and 1
        values = iter((0.25, 0.75, 0.25))

        def stylize(frame: Tensor) -> temporal.StylizedFrame:
            value = next(values)
            mask = torch.full_like(frame[:, :1], round(value))
            return temporal.StylizedFrame(torch.full_like(frame, value), mask)

        return stylize

    source, other = temporal.measure_clip(tmp_path, {"alternating": begin}, 3, 640, "cpu")
    assert source.warping == pytest.approx(0, abs=1e-3) and source.mask_change is None
    assert other.warpings == pytest.approx([0.5, 0.5]) and other.warping == pytest.approx(0.5)
    assert other.mask_change == pytest.approx(1) and other.mask_iou is None


def test_a_clip_of_one_frame_is_refused(clip: Path) -> None:
    with pytest.raises(PictureError, match="clip: a clip needs at least two frames"):
        temporal.measure_clip(clip, {}, 1, 640, "cpu")
    with pytest.raises(PictureError, match="neither a video nor a folder of frames"):
        temporal.measure_clip(clip.parent / "nowhere", {}, 9, 640, "cpu")


def test_command(clip: Path, checkpoint: Path, tmp_path: Path, capsys) -> None:
    argv = ["temporal", str(clip), "--checkpoint", str(checkpoint), "--size", "96"]
    argv += ["--json", str(tmp_path / "t.json"), "--others", str(checkpoint)]
    argv += ["--still", str(clip / "frames" / "0.png")]
    assert evaluate.main(argv) == 0
    found = json.loads((tmp_path / "t.json").read_text())
    scores = {score["method"]: score for score in found["clips"]}
    other = str(checkpoint)
    assert set(scores) == {"source", "ours", "ours, filtered", "ours, mask kept", other}
    assert found["still"]["ours, filtered"] < 0.5 * found["still"]["ours"]
    assert scores["ours"]["warpings"] == scores[other]["warpings"]
    assert "ratio to source" in capsys.readouterr().out
