"""Steadiness: what is known of a picture that moves."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from duostyle.cli import evaluate
from duostyle.evaluation import temporal
from duostyle.evaluation.warp import Motion
from duostyle.io.images import PictureError, read_picture, resize, tensor_to_pil


@pytest.fixture(scope="module")
def scene(request) -> Tensor:
    photo = read_picture(Path(__file__).parent.parent / "assets/photos/astronaut.jpg").pixels
    return resize(photo[None], (160, 160))


def moved(scene: Tensor, pixels: int) -> Tensor:
    """A window of 128 pixels that lies `pixels` further to the right."""
    return scene[..., 16:144, 10 + pixels : 138 + pixels]


def test_what_moves_along_has_no_error(scene: Tensor) -> None:
    before, now = moved(scene, 0), moved(scene, 6)
    motion = Motion(before, now)
    assert motion.seen.mean() > 0.8
    assert motion.error(before, now) < 0.02 < 0.1 < (before - now).square().mean().sqrt()
    # What stays where it is while the scene moves does have one.
    assert motion.error(before, before) > 3 * motion.error(before, now)


def test_what_is_hidden_does_not_count(scene: Tensor) -> None:
    before, now = scene[..., :128, :128].clone(), scene[..., :128, :128].clone()
    before[..., 40:80, 40:80] = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    seen = torch.from_numpy(Motion(before, now).seen)
    assert seen[45:75, 45:75].float().mean() < 0.5 < 0.9 < seen[:30, :30].float().mean()


def test_flicker_of_known_paints(scene: Tensor) -> None:
    ways = {
        "deaf": lambda: lambda frame: temporal.Painted(torch.zeros_like(frame)),
        "half": lambda: lambda frame: temporal.Painted(0.5 * frame),
    }
    found = temporal.flicker(0.3 + 0.4 * scene, ways, "cpu")
    assert found["source"] == pytest.approx(temporal.NOISE, rel=0.05)
    assert found["deaf"] == 0 and found["half"] == pytest.approx(found["source"] / 2, rel=1e-4)


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


def test_a_mask_that_is_right_and_still(clip: Path) -> None:
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 40:128, 40:90] = 1
    ways = {"right": lambda: lambda frame: temporal.Painted(frame, mask)}
    source, right = temporal.measure_clip(clip, ways, 10, 640, "cpu")
    assert (source.way, right.way) == ("source", "right") and source.mask_iou is None
    assert right.mask_iou == 1 and right.warping == source.warping < 0.03
    assert len(right.warpings) == 2 and right.mask_change > 0


def test_one_frame_is_no_clip(clip: Path) -> None:
    with pytest.raises(PictureError, match="clip: a clip has two frames at least"):
        temporal.measure_clip(clip, {}, 1, 640, "cpu")
    with pytest.raises(PictureError, match="no video, and no folder of frames"):
        temporal.measure_clip(clip.parent / "nowhere", {}, 9, 640, "cpu")


def test_command(clip: Path, checkpoint: Path, tmp_path: Path, capsys) -> None:
    argv = ["temporal", str(clip), "--checkpoint", str(checkpoint), "--size", "96"]
    argv += ["--json", str(tmp_path / "t.json"), "--others", str(checkpoint)]
    argv += ["--still", str(clip / "frames" / "0.png")]
    assert evaluate.main(argv) == 0
    found = json.loads((tmp_path / "t.json").read_text())
    ways = {one["way"]: one for one in found["clips"]}
    other = str(checkpoint)
    assert set(ways) == {"source", "ours", "ours, steadied", other}
    assert found["still"]["ours, steadied"] < 0.5 * found["still"]["ours"]
    assert ways["ours"]["warpings"] == ways[other]["warpings"]
    assert "of the source's" in capsys.readouterr().out
