"""Speed: the network alone, file to file, cold start, training; the baseline for comparison."""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import torch

from duostyle.evaluation.benchmark import (
    SEGMENTERS,
    SIZES,
    ClipTiming,
    PassCost,
    PictureTiming,
    Roofline,
    Setup,
    in_subprocess,
    measure_roofline,
    pass_cost,
    time_clip,
    time_pictures,
    write_clip,
)
from duostyle.evaluation.options import (
    PHOTO,
    Results,
    add_checkpoints,
    picture_size,
    positive_int,
)
from duostyle.models import PRECISIONS, load_pair, pick_device, pick_precision
from duostyle.progress import progress

NAME = "speed"
HELP = "latency, frames per second and memory of every backend, and of the baseline"
TRAINING_STEPS = 30
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add_checkpoints(parser)
    parser.add_argument(
        "--sizes",
        nargs="*",
        type=picture_size,
        default=[(640, 360)],
        metavar="WxH",
        help="sizes of pictures and clips (default: 640x360)",
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="duration of each measurement (default: 5)"
    )
    parser.add_argument(
        "--frames", type=positive_int, default=90, help="frames of the clip (default: 90)"
    )
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    parser.add_argument(
        "--train",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="OPTION",
        help="last on the command line: options of duostyle train, to measure training",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def run(args: argparse.Namespace) -> Results:
    """Measure, print the tables and return all figures."""
    report = measure(
        args.checkpoints,
        args.sizes,
        pick_device(args.device),
        args.seconds,
        args.frames,
        args.compile,
        args.train,
    )
    print(table(report))
    return asdict(report)


@dataclass
class SpeedReport:
    """All measurements of a run."""

    device: str
    costs: dict[str, list[PassCost]] = field(default_factory=dict)  # by checkpoint
    rooflines: dict[str, Roofline] = field(default_factory=dict)  # by precision
    pictures: list[tuple[Setup, tuple[int, int], PictureTiming]] = field(default_factory=list)
    clips: list[tuple[Setup, tuple[int, int], ClipTiming]] = field(default_factory=list)
    cold_start: dict[str, float] = field(default_factory=dict)  # seconds, by checkpoint
    training: float | None = None  # pictures per second
    skipped: list[str] = field(default_factory=list)  # what was not measured, and why


def reduced_precision(device: str) -> str | None:
    """The 16-bit precision that a device computes natively; None if there is none."""
    device_type = device.partition(":")[0]
    precision = pick_precision("auto", device_type)
    return precision if precision != "fp32" else None


def setups(checkpoints: Sequence[str], device: str, compile: bool) -> list[Setup]:
    """List all setups of the pairs that can run here, and of the baseline."""
    on_cpu = device.partition(":")[0] == "cpu"
    precisions = [p for p in ("fp32", reduced_precision(device)) if p]
    runs = [("torch", precision) for precision in precisions]
    if on_cpu:
        runs.append(("onnx", "fp32"))
        if find_spec("openvino"):
            runs += [("openvino", precision) for precision in precisions]
    found = [
        Setup(f"{name} {backend} {precision}", name, backend, precision, device)
        for name in checkpoints
        for backend, precision in runs
    ]
    if compile:
        fast = precisions[-1]
        found += [
            Setup(f"{name} compiled {fast}", name, "torch", fast, device, compile=True)
            for name in checkpoints
        ]
    return found + [
        Setup(f"baseline, {name} {p}", precision=p, device=device, segmenter=name)
        for p in (("fp32",) if on_cpu else precisions)
        for name in SEGMENTERS
    ]


def measure(
    checkpoints: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    device: str,
    seconds: float,
    frames: int,
    compile: bool = False,
    train: Sequence[str] = (),
) -> SpeedReport:
    """Run all measurements one after the other.

    `sizes`: (width, height); `seconds`: of each measurement; `frames`: of the clip; `train`:
    options of duostyle train, empty to leave training out. Raises CheckpointError, ValueError or
    PictureError if something cannot run.
    """
    report = SpeedReport(device)
    for name in checkpoints:
        network = load_pair(name)
        counted = dict.fromkeys([*SIZES, *sizes])
        report.costs[name] = [pass_cost(network, *size) for size in counted]
    if device == "cpu" and reduced_precision(device) is None:
        report.skipped.append("bf16: this CPU has no bf16 instructions")
    planned = setups(checkpoints, device, compile)
    precisions = list(dict.fromkeys(setup.precision for setup in planned))
    cold_starts = list(checkpoints) if device == "cpu" else []
    total = len(precisions) + len(sizes) * (len(planned) + len(checkpoints)) + len(cold_starts)
    with progress(name=NAME, unit="measurement", total=total + bool(train)) as bar:

        def measured(name: str, work: Callable[..., T], *arguments: object) -> T:
            bar.set_postfix_str(name)
            result = work(*arguments)
            bar.update()
            return result

        for precision in precisions:
            report.rooflines[precision] = measured(
                f"roofline {precision}", measure_roofline, device, PRECISIONS[precision]
            )
        for size in sizes:
            for setup in planned:
                timing = measured(setup.name, in_subprocess, time_pictures, setup, *size, seconds)
                report.pictures.append((setup, size, timing))
        for size in sizes:
            for name in checkpoints:
                best = fastest(report, name, size)
                clip = measured(f"clip, {best.name}", file_to_file, best, size, frames)
                report.clips.append((best, size, clip))
        for name in cold_starts:
            report.cold_start[name] = measured(f"cold start, {name}", cold_start, name)
        if train:
            report.training = measured("training", training_speed, train, TRAINING_STEPS)
    return report


def fastest(report: SpeedReport, checkpoint: str, size: tuple[int, int]) -> Setup:
    """The setup of a pair with the least median latency at a size."""
    rows = [
        (t.median, s) for s, at, t in report.pictures if s.checkpoint == checkpoint and at == size
    ]
    return min(rows, key=lambda row: row[0])[1]


def file_to_file(setup: Setup, size: tuple[int, int], frames: int) -> ClipTiming:
    """Time a clip of `size` (width, height) from file to file."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, *size, frames)
        return in_subprocess(time_clip, setup, clip, Path(folder) / "stylized.mp4")


def cold_start(checkpoint: str) -> float:
    """Seconds of `duostyle paint` for one picture, from start to exit."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "duostyle", "paint", str(PHOTO)]
        command += ["--checkpoint", checkpoint, "-o", f"{folder}/stylized.jpg"]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def training_speed(options: Sequence[str], steps: int) -> float:
    """Pictures per second that `duostyle train` reports with these options.

    Raises ValueError with its last line of output if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "duostyle", "train", *options, "--output", f"{folder}/run"]
        command += ["--steps", str(steps), "--log-steps", str(max(steps // 3, 1))]
        done = subprocess.run(command, capture_output=True, text=True)
    rates = re.findall(r"([\d.]+) pictures/s", done.stdout + done.stderr)
    if done.returncode or not rates:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ValueError(f"duostyle train: {last}")
    return float(rates[-1])


def table(report: SpeedReport) -> str:
    """Format the figures as Markdown."""
    lines = [f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {report.device}", ""]
    lines += _header("pair", "size", "G multiply-adds", "least MB moved")
    for name, costs in report.costs.items():
        lines += [
            f"| {name} | {c.width}x{c.height} | {c.multiply_adds / 1e9:.1f} | "
            f"{c.bytes_moved / 1e6:.0f} |"
            for c in costs
        ]
    lines.append("")
    lines += [
        f"Roofline in {precision}: {roofline.multiply_adds / 1e9:.0f} G multiply-adds/s, "
        f"{roofline.bandwidth / 1e9:.1f} GB/s."
        for precision, roofline in report.rooflines.items()
    ]
    lines += [f"Skipped {reason}." for reason in report.skipped]
    ratios = [f"{name} / this" for name in SEGMENTERS]
    lines += ["", *_header("network alone", "size", "median ms", "p95 ms", "frames/s",
                           "of roofline", *ratios, "peak MB")]  # fmt: skip
    lines += [_picture_row(report, *row) for row in report.pictures]
    lines += ["", *_header("file to file", "size", "frames/s", "decode ms", "stylize ms",
                           "encode ms", "peak MB")]  # fmt: skip
    for setup, (width, height), clip in report.clips:
        stages = " | ".join(f"{1000 * seconds / clip.frames:.1f}" for seconds in clip.busy.values())
        lines.append(
            f"| {setup.name} | {width}x{height} | {clip.rate:.1f} | {stages} | "
            f"{clip.megabytes:.0f} |"
        )
    lines.append("")
    lines += [f"Cold start, {name}: {s:.1f} s." for name, s in report.cold_start.items()]
    if report.training is not None:
        lines.append(f"Training: {report.training:.1f} pictures/s.")
    return "\n".join(lines)


def _header(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def _picture_row(
    report: SpeedReport, setup: Setup, size: tuple[int, int], timing: PictureTiming
) -> str:
    share = "-"
    if setup.checkpoint:
        cost = next(c for c in report.costs[setup.checkpoint] if (c.width, c.height) == size)
        least = report.rooflines[setup.precision].lower_bound(cost)
        share = f"{100 * 1000 * least / timing.median:.0f} %"
    ratios = [
        f"{other.median / timing.median:.1f}"
        for baseline, other_size, other in report.pictures
        if baseline.segmenter and baseline.precision == "fp32" and other_size == size
    ]
    cells = [setup.name, f"{size[0]}x{size[1]}", f"{timing.median:.0f}", f"{timing.p95:.0f}"]
    cells += [f"{1000 / timing.median:.1f}", share, *ratios, f"{timing.megabytes:.0f}"]
    return f"| {' | '.join(cells)} |"
