"""How fast: the network alone, file to file, cold start, training; the naive pipeline beside it."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch
from tqdm import tqdm

from duostyle.evaluation import flops as counting
from duostyle.evaluation.benchmark import (
    PHOTO,
    SEGMENTERS,
    Journey,
    Timing,
    Way,
    alone,
    time_clip,
    time_pictures,
    write_clip,
)
from duostyle.models import PRECISIONS, load_pair


@dataclass
class Speeds:
    """Everything that was timed in one run."""

    device: str
    costs: dict[str, list[counting.Cost]] = field(default_factory=dict)  # by checkpoint
    machines: dict[str, counting.Machine] = field(default_factory=dict)  # by precision
    pictures: list[tuple[Way, tuple[int, int], Timing]] = field(default_factory=list)
    clips: list[tuple[Way, tuple[int, int], Journey]] = field(default_factory=list)
    cold_start: dict[str, float] = field(default_factory=dict)  # seconds, by checkpoint
    training: float | None = None  # pictures a second


def ways(checkpoints: Sequence[str], device: str, compile: bool) -> list[Way]:
    """Every way to run the pairs here, and the naive pipeline."""
    kind = device.partition(":")[0]
    runs = [("torch", "fp32"), ("torch", "fp16" if kind == "cuda" else "bf16")]
    if kind == "cpu":
        runs += [("onnx", "fp32")]
        runs += [("openvino", "fp32"), ("openvino", "bf16")] * bool(find_spec("openvino"))
    found = [
        Way(f"{name} {backend} {precision}", name, backend, precision, device)
        for name in checkpoints
        for backend, precision in runs
    ]
    if compile:
        found += [
            Way(f"{name} compiled {runs[1][1]}", name, "torch", runs[1][1], device, compile=True)
            for name in checkpoints
        ]
    naive = [("fp32", name) for name in SEGMENTERS]
    naive += [("fp16", name) for name in SEGMENTERS] * (kind == "cuda")
    return found + [
        Way(f"naive, {name} {precision}", precision=precision, device=device, segmenter=name)
        for precision, name in naive
    ]


def measure(
    checkpoints: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    device: str,
    seconds: float,
    frames: int,
    compile: bool = False,
) -> Speeds:
    """Time everything, one after the other. `seconds`: for each row; `frames`: of the clip.

    Raises CheckpointError, ValueError or PictureError where something cannot be run.
    """
    found = Speeds(device)
    for name in checkpoints:
        network = load_pair(name)
        counted = dict.fromkeys([*counting.SIZES, *sizes])
        found.costs[name] = [counting.count(network, *size) for size in counted]
    everything = ways(checkpoints, device, compile)
    for precision in dict.fromkeys(way.precision for way in everything):
        found.machines[precision] = counting.measure_machine(device, PRECISIONS[precision])
    rows = [(way, size) for size in sizes for way in everything]
    for way, size in tqdm(rows, desc="speed", unit="row", disable=None):
        found.pictures.append((way, size, alone(time_pictures, way, *size, seconds)))
    for size in sizes:
        for name in checkpoints:
            best = quickest(found, name, size)
            found.clips.append((best, size, _journey(best, size, frames)))
    if device == "cpu":
        found.cold_start = {name: cold_start(name) for name in checkpoints}
    return found


def quickest(found: Speeds, checkpoint: str, size: tuple[int, int]) -> Way:
    """The way that painted a pair's pictures of that size fastest."""
    rows = [(t.median, w) for w, s, t in found.pictures if w.checkpoint == checkpoint and s == size]
    return min(rows, key=lambda row: row[0])[1]


def _journey(way: Way, size: tuple[int, int], frames: int) -> Journey:
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, *size, frames)
        return alone(time_clip, way, clip, Path(folder) / "painted.mp4")


def cold_start(checkpoint: str) -> float:
    """Seconds from typing duostyle paint to the first painted picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "duostyle",
            "paint",
            str(PHOTO),
            "--checkpoint",
            checkpoint,
        ]
        began = time.perf_counter()
        command += ["--checkpoint", checkpoint, "-o", f"{folder}/painted.jpg"]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began


def training_speed(options: Sequence[str], steps: int) -> float:
    """Pictures a second of duostyle train with these options, as it says itself at the end.

    Raises ValueError with its last words where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "duostyle", "train", *options, "--output", f"{folder}/run"]
        command += ["--steps", str(steps), "--log-steps", str(max(steps // 3, 1))]
        done = subprocess.run(command, capture_output=True, text=True)
    said = re.findall(r"([\d.]+) pictures/s", done.stdout + done.stderr)
    if done.returncode or not said:
        raise ValueError(f"duostyle train: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    return float(said[-1])


def table(found: Speeds) -> str:
    """Markdown, as docs/speed.md shows it."""
    lines = [f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {found.device}", ""]
    lines += _header("pair", "size", "G multiply-adds", "least MB moved")
    for name, costs in found.costs.items():
        lines += [
            f"| {name} | {c.width}x{c.height} | {c.multiply_adds / 1e9:.1f} | "
            f"{c.bytes_moved / 1e6:.0f} |"
            for c in costs
        ]
    lines.append("")
    lines += [
        f"At best, measured: {machine.multiply_adds / 1e9:.0f} G multiply-adds a second in "
        f"{precision}, {machine.bandwidth / 1e9:.1f} GB/s copied."
        for precision, machine in found.machines.items()
    ]
    naive = [f"x {name}" for name in SEGMENTERS]
    lines += ["", *_header("network alone", "size", "ms", "95 %", "frames/s", "of the floor's",
                           *naive, "peak MB")]  # fmt: skip
    lines += [_picture_row(found, *row) for row in found.pictures]
    lines += ["", *_header("file to file", "size", "frames/s", "decode ms", "paint ms",
                           "encode ms", "peak MB")]  # fmt: skip
    for way, (width, height), j in found.clips:
        stages = " | ".join(f"{1000 * seconds / j.frames:.1f}" for seconds in j.busy.values())
        lines.append(
            f"| {way.name} | {width}x{height} | {j.rate:.1f} | {stages} | {j.megabytes:.0f} |"
        )
    lines.append("")
    lines += [f"Cold start, {name}: {s:.1f} s." for name, s in found.cold_start.items()]
    if found.training is not None:
        lines.append(f"Training: {found.training:.1f} pictures/s.")
    return "\n".join(lines)


def _header(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def _picture_row(found: Speeds, way: Way, size: tuple[int, int], t: Timing) -> str:
    floor = "-"
    if way.checkpoint:
        cost = next(c for c in found.costs[way.checkpoint] if (c.width, c.height) == size)
        least = found.machines[way.precision].floor(cost)
        floor = f"{100 * 1000 * least / t.median:.0f} %"
    ratios = [
        f"{other.median / t.median:.1f}"
        for rival, other_size, other in found.pictures
        if rival.segmenter and rival.precision == "fp32" and other_size == size
    ]
    cells = [way.name, f"{size[0]}x{size[1]}", f"{t.median:.0f}", f"{t.p95:.0f}"]
    cells += [f"{1000 / t.median:.1f}", floor, *ratios, f"{t.megabytes:.0f}"]
    return f"| {' | '.join(cells)} |"


def figures(found: Speeds) -> dict[str, object]:
    """Every figure, for JSON."""
    return asdict(found)
