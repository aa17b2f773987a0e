"""Speed: costs and tables by hand, and the command from end to end."""

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest
import torch
from torch import nn

from duostyle.cli import evaluate
from duostyle.evaluation import benchmark, speed
from duostyle.evaluation.benchmark import PassCost, PictureTiming, Roofline, Setup
from duostyle.models import StyleNetwork, load_checkpoint
from duostyle.models.kuwahara import SECTORS
from duostyle.models.layers import CellConv, DoublingConv
from tests.conftest import ROOT, TINY


def test_roofline_is_the_longer_of_computing_and_moving() -> None:
    roofline = Roofline(multiply_adds=100e9, bandwidth=10e9)
    assert roofline.lower_bound(PassCost(1, 1, 50e9, 1e9)) == pytest.approx(0.5)
    assert roofline.lower_bound(PassCost(1, 1, 50e9, 20e9)) == pytest.approx(2.0)


def test_costs_are_those_of_the_convolutions() -> None:
    network = StyleNetwork(TINY).eval()
    expected_work = expected_bytes = 0

    def add(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal expected_work, expected_bytes
        if isinstance(
            layer, DoublingConv
        ):  # 2x2 taps for each of four pixels, one more row and column
            rows, columns = (side + 1 for side in inputs[0].shape[-2:])
            expected_work += rows * columns * 4 * 4 * layer.weight[..., 0, 0].numel()
        elif isinstance(layer, CellConv):  # 5x5 cells of 2x2 pixels instead of 9x9 pixels
            pixels = output.shape[-2] * output.shape[-1]
            expected_work += pixels * 4 * 5 * 5 * layer.weight[..., 0, 0].numel()
        else:
            expected_work += output.numel() * layer.weight[0].numel()
        expected_bytes += 2 * (inputs[0].numel() + output.numel() + layer.weight.numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(add)
    with torch.no_grad():
        network(torch.rand(1, 3, 40, 64), 0.0)
    # The last layer has no weights: four planes, each in eight sectors, at the reduced size.
    expected_work += 4 * SECTORS * (2 * TINY.radius + 1) ** 2 * 30 * 48
    cost = benchmark.pass_cost(network, 64, 40)
    assert cost.multiply_adds == expected_work and cost.bytes_moved == expected_bytes


def test_a_clip_for_timing_has_its_size_and_frames(tmp_path: Path) -> None:
    benchmark.write_clip(tmp_path / "clip.mp4", 96, 64, 7)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(frames) == 7 and frames[0].shape == (64, 96, 3)
    assert abs(frames[0].astype(int) - frames[-1]).mean() > 2  # it moves


def test_table_rows_by_hand() -> None:
    size, cost = (64, 48), PassCost(64, 48, multiply_adds=2e9, bytes_moved=1e6)
    ours, heavy = Setup("ours", "pair"), Setup("baseline", segmenter=benchmark.SEGMENTERS[0])
    report = speed.SpeedReport(
        "cpu",
        costs={"pair": [cost]},
        rooflines={"fp32": Roofline(100e9, 10e9)},  # 20 ms at least
        pictures=[
            (ours, size, PictureTiming(40, 50, 300)),
            (heavy, size, PictureTiming(100, 120, 900)),
        ],
        clips=[(ours, size, benchmark.ClipTiming(10, 20.0, {"decode": 0.1, "stylize": 0.4}, 400))],
        skipped=["bf16: this CPU has no bf16 instructions"],
    )
    lines = speed.table(report).splitlines()
    assert "| ours | 64x48 | 40 | 50 | 25.0 | 50 % | 2.5 | 300 |" in lines
    assert "| baseline | 64x48 | 100 | 120 | 10.0 | - | 1.0 | 900 |" in lines
    assert "| ours | 64x48 | 20.0 | 10.0 | 40.0 | 400 |" in lines
    assert "| pair | 64x48 | 2.0 | 1 |" in lines
    assert "Skipped bf16: this CPU has no bf16 instructions." in lines
    assert speed.fastest(report, "pair", size) == ours


def test_latency_percentiles_by_hand(monkeypatch) -> None:
    """A clock that makes every pass take 1 to 5 seconds."""
    ticks = iter([0, 1, 1, 3, 3, 6, 6, 10, 10, 15])
    monkeypatch.setattr(benchmark, "_pair", lambda setup, content: lambda: None)
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(ticks))
    timing = benchmark.time_pictures(Setup("fake", "pair"), 64, 48, seconds=15)
    assert timing.median == pytest.approx(3000) and timing.p95 == pytest.approx(4800)


@pytest.mark.parametrize("native", [True, False])
def test_bf16_is_measured_only_where_it_is_native(native: bool, monkeypatch) -> None:
    precision = "bf16" if native else "fp32"
    monkeypatch.setattr(speed, "pick_precision", lambda name, device: precision)
    found = speed.setups(["pair"], "cpu", compile=True)
    assert {setup.precision for setup in found} == {"fp32", precision}
    assert [s.precision for s in found if s.compile] == [precision]
    assert {s.backend for s in found} >= {"torch", "onnx"}
    monkeypatch.setattr(benchmark, "MATRIX", 8)
    monkeypatch.setattr(benchmark, "BUFFER", 64)
    report = speed.measure([], [], "cpu", 1, 1)
    assert bool(report.skipped) is not native


FEW = """
import sys
from duostyle.cli import evaluate
from duostyle.evaluation import benchmark, speed
every = speed.setups
speed.setups = lambda *a: [s for s in every(*a) if s.name.endswith(("torch fp32", "large fp32"))]
speed.cold_start = lambda checkpoint: 1.25
benchmark.MATRIX, benchmark.BUFFER = 64, 1024
sys.exit(evaluate.main(sys.argv[1:]))
"""


def test_the_command_times_the_pair_and_the_baseline(checkpoint: Path, tmp_path: Path) -> None:
    argv = ["speed", "--checkpoints", str(checkpoint), "--sizes", "64x48", "--seconds", "0.1"]
    argv += ["--frames", "5", "--device", "cpu", "--json", str(tmp_path / "speed.json")]
    # One setup of the pair and the lighter baseline, in a process of low peak memory.
    command = [sys.executable, "-c", FEW, *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    printed = done.stdout
    # Roofline, pair, baseline, clip, cold start.
    assert "speed: 0/5 measurements" in done.stderr and "5/5 measurements" in done.stderr
    assert "Cold start" in printed and "1.2" in printed
    figures = json.loads((tmp_path / "speed.json").read_text())
    (pair, _, ours), (baseline, _, theirs) = figures["pictures"]
    assert (
        pair["checkpoint"] == str(checkpoint) and baseline["segmenter"] == benchmark.SEGMENTERS[0]
    )
    assert 0 < ours["median"] < theirs["median"] and 50 < ours["megabytes"] < 8000
    row = next(line for line in printed.splitlines() if line.startswith(f"| {pair['name']} | 64"))
    assert f"{theirs['median'] / ours['median']:.1f}" in row
    ((_, size, clip),) = figures["clips"]
    assert size == [64, 48] and clip["frames"] == 5
    assert set(clip["busy"]) == {"decode", "stylize", "encode"}


def test_errors_are_one_line(tmp_path: Path, capsys) -> None:
    assert evaluate.main(["speed", "--checkpoints", str(tmp_path / "none")]) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"duostyle train: .*foreground-style is missing"):
        speed.training_speed([], 3)


def test_compiled_paints_the_same(checkpoint: Path) -> None:
    setup = Setup("compiled", str(checkpoint), compile=True)
    content = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        expected = load_checkpoint(checkpoint)(content, 0.5)
        assert (benchmark.load(setup)[0](content, 0.5) - expected).abs().max() < 1e-4
