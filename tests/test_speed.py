"""The speed table: what is counted is right, what is timed was run."""

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest
import torch
from torch import nn

from duostyle.cli import evaluate
from duostyle.evaluation import benchmark as probe
from duostyle.evaluation import flops as counting
from duostyle.evaluation import speed
from duostyle.evaluation.flops import Cost, Machine
from duostyle.models import StyleNetwork, load_checkpoint
from duostyle.models.layers import DoublingConv
from tests.conftest import ROOT, TINY


def test_the_floor_is_the_slower_of_reckoning_and_moving() -> None:
    machine = Machine(multiply_adds=100e9, bandwidth=10e9)
    assert machine.floor(Cost(1, 1, 50e9, 1e9)) == pytest.approx(0.5)
    assert machine.floor(Cost(1, 1, 50e9, 20e9)) == pytest.approx(2.0)


def test_costs_are_those_of_the_convolutions() -> None:
    network = StyleNetwork(TINY).eval()
    expected_work = expected_bytes = 0

    def add(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal expected_work, expected_bytes
        if isinstance(layer, DoublingConv):  # 2x2 taps for four places, one more row and column
            rows, columns = (side + 1 for side in inputs[0].shape[-2:])
            expected_work += rows * columns * 4 * 4 * layer.weight[..., 0, 0].numel()
        else:
            expected_work += output.numel() * layer.weight[0].numel()
        expected_bytes += 2 * (inputs[0].numel() + output.numel() + layer.weight.numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(add)
    with torch.no_grad():
        network(torch.rand(1, 3, 40, 64), 0.0)
    cost = counting.count(network, 64, 40)
    assert cost.multiply_adds == expected_work and cost.bytes_moved == expected_bytes


def test_a_clip_for_timing_has_its_size_and_frames(tmp_path: Path) -> None:
    probe.write_clip(tmp_path / "clip.mp4", 96, 64, 7)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(frames) == 7 and frames[0].shape == (64, 96, 3)
    assert abs(frames[0].astype(int) - frames[-1]).mean() > 2  # it moves


FEW = """
import sys, evaluate
from duostyle.evaluation import flops as counting
from duostyle.evaluation import speed
every = speed.ways
speed.ways = lambda *a: [w for w in every(*a) if w.name.endswith(("torch fp32", "large fp32"))]
speed.cold_start = lambda checkpoint: 1.25
counting.MATRIX, counting.BUFFER = 64, 1024
sys.exit(evaluate.main(sys.argv[1:]))
"""


def test_the_command_times_the_pair_and_the_pipeline(checkpoint: Path, tmp_path: Path) -> None:
    argv = ["speed", "--checkpoints", str(checkpoint), "--sizes", "64x48", "--seconds", "0.1"]
    argv += ["--frames", "5", "--device", "cpu", "--json", str(tmp_path / "speed.json")]
    # One way to run the pair, and the lighter naive pipeline; in a process that holds nothing yet.
    command = [sys.executable, "-c", FEW, *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    printed = done.stdout
    assert "Cold start" in printed and "1.2" in printed
    figures = json.loads((tmp_path / "speed.json").read_text())
    (pair, _, ours), (naive, _, theirs) = figures["pictures"]
    assert pair["checkpoint"] == str(checkpoint) and naive["segmenter"] == probe.SEGMENTERS[0]
    assert 0 < ours["median"] < theirs["median"] and 50 < ours["megabytes"] < 8000
    row = next(line for line in printed.splitlines() if line.startswith(f"| {pair['name']} | 64"))
    assert f"{theirs['median'] / ours['median']:.1f}" in row
    ((_, size, journey),) = figures["clips"]
    assert size == [64, 48] and journey["frames"] == 5
    assert set(journey["busy"]) == {"decode", "paint", "encode"}


def test_ways_that_are_refused_are_one_line(tmp_path: Path, capsys) -> None:
    assert evaluate.main(["speed", "--checkpoints", str(tmp_path / "none")]) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"train\.py: .*foreground-style is missing"):
        speed.training_speed([], 3)


def test_compiled_paints_the_same(checkpoint: Path) -> None:
    way = probe.Way("compiled", str(checkpoint), compile=True)
    content = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        expected = load_checkpoint(checkpoint)(content, 0.5)
        assert (probe.load(way)[0](content, 0.5) - expected).abs().max() < 1e-4
