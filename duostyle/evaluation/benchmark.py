"""Time and cost of a forward pass of one setup.

Every measurement runs in a process of its own, so that peak memory is its own.
"""

import re
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from duostyle.evaluation.metrics import composite
from duostyle.evaluation.options import PHOTO
from duostyle.evaluation.single_style import SingleStyleNetwork
from duostyle.inference import Result, StylizeOptions, open_painter, stylize, stylize_video_to_files
from duostyle.inference.render import Painter
from duostyle.io.images import read_picture
from duostyle.io.pixels import resize
from duostyle.models import PRECISIONS, StyleNetwork, keep_memory

SEGMENTERS = ("deeplabv3_mobilenet_v3_large", "deeplabv3_resnet101")
CLIP_RATE = 30  # frames per second
T = TypeVar("T")
SIZES = ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))  # width, height
MATRIX, BUFFER = 2048, 64 << 20  # matrix side; float32 elements to copy


@dataclass(frozen=True)
class Setup:
    """What is benchmarked: a pair with its backend and precision, or the baseline."""

    name: str
    checkpoint: str = ""
    backend: str = "torch"
    precision: str = "fp32"
    device: str = "cpu"
    segmenter: str = ""  # of the baseline; empty for a pair
    compile: bool = False


@dataclass(frozen=True)
class PictureTiming:
    """Latency of one picture in milliseconds, and peak memory in MiB."""

    median: float
    p95: float
    megabytes: float


@dataclass(frozen=True)
class ClipTiming:
    """A clip from file to file; `busy`: seconds by stage, which overlap; peak memory in MiB."""

    frames: int
    rate: float  # frames per second
    busy: dict[str, float]
    megabytes: float


def in_subprocess(work: Callable[..., T], *arguments: object) -> T:
    """Call a function in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn"), keep_memory) as pool:
        return pool.submit(work, *arguments).result()


def peak_megabytes(device: str) -> float:
    """Peak memory of this process in MiB, or of its tensors on a GPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # getrusage includes the parent's peak, across fork and exec
        kilobytes = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if kilobytes:
            return int(kilobytes[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load(setup: Setup) -> tuple[Painter, str]:
    """Load the pair of a setup; returns it with its precision.

    Raises CheckpointError or ValueError if the setup cannot run here.
    """
    return open_painter(
        setup.checkpoint,
        setup.device,
        setup.backend,
        setup.precision,
        moving=True,
        compile=setup.compile,
    )


@torch.inference_mode()
def time_pictures(setup: Setup, width: int, height: int, seconds: float) -> PictureTiming:
    """Stylize one picture repeatedly for about `seconds`, without reading and writing files."""
    content = resize(read_picture(PHOTO).pixels[None], (height, width)).to(setup.device)
    work = _baseline(setup, content) if setup.segmenter else _pair(setup, content)
    work()
    taken: list[float] = []
    while sum(taken) < seconds or len(taken) < 3:
        start = time.perf_counter()
        work()
        if setup.device.startswith("cuda"):
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    median, p95 = (1000 * float(np.percentile(taken, share)) for share in (50, 95))
    return PictureTiming(median, p95, peak_megabytes(setup.device))


def _pair(setup: Setup, content: Tensor) -> Callable[[], object]:
    painter, precision = load(setup)
    return lambda: stylize(painter, content, 0.5, precision=precision)


def _baseline(setup: Setup, content: Tensor) -> Callable[[], object]:
    """Build the baseline with random weights: they do not change its speed."""
    from torchvision.models import segmentation

    build = getattr(segmentation, setup.segmenter)
    networks = (
        SingleStyleNetwork(),
        SingleStyleNetwork(),
        build(weights=None, weights_backbone=None),
    )
    first, second, segmenter = (n.to(setup.device).eval() for n in networks)
    dtype = PRECISIONS[setup.precision]

    def work() -> Tensor:
        with torch.autocast(content.device.type, dtype, enabled=dtype != torch.float32):
            mask = (segmenter(content)["out"].argmax(dim=1, keepdim=True) > 0).float()
            return composite(first(content), second(content), mask)

    return work


def time_clip(setup: Setup, clip: Path, output: Path) -> ClipTiming:
    """Stylize a clip as duostyle paint does: decode, stylize, filter, encode; alpha 0.5."""
    painter, precision = load(setup)
    outputs, options = {Result(0.5): output}, StylizeOptions(precision=precision)
    stylize_video_to_files(painter, clip, outputs, duration=0.2, options=options)  # warm-up
    report = stylize_video_to_files(painter, clip, outputs, options=options)
    return ClipTiming(
        report.frames, report.frames / report.seconds, report.busy, peak_megabytes(setup.device)
    )


def write_clip(path: Path, width: int, height: int, frames: int) -> None:
    """Write an H.264 clip that pans over the bundled photograph."""
    wide = resize(read_picture(PHOTO).pixels[None], (2 * height, 2 * width))[0]
    pixels = (wide.permute(1, 2, 0) * 255).round().byte().numpy()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(CLIP_RATE))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            top, left = (number * side // (2 * frames) for side in (height, width))
            window = np.ascontiguousarray(pixels[top : top + height, left : left + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(window, format="rgb24")))
        container.mux(stream.encode())


@dataclass(frozen=True)
class PassCost:
    """Cost of one picture."""

    width: int
    height: int
    multiply_adds: float
    bytes_moved: float  # input, output and weights of every layer with weights once, 2 bytes each


@dataclass(frozen=True)
class Roofline:
    """Measured peak performance of a device."""

    multiply_adds: float  # per second, in a large matrix product
    bandwidth: float  # bytes per second, read and written

    def lower_bound(self, cost: PassCost) -> float:
        """Least seconds of a pass: the longer of computing and moving."""
        return max(cost.multiply_adds / self.multiply_adds, cost.bytes_moved / self.bandwidth)


def pass_cost(network: StyleNetwork, width: int, height: int) -> PassCost:
    """Count the cost of one picture from shapes alone (on the meta device)."""
    moved = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        weight = layer.get_parameter("weight")
        moved += 2 * (inputs[0].numel() + output.numel() + weight.numel())

    shapes = StyleNetwork(network.config).to("meta").eval()
    for layer in shapes.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(add)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(torch.empty(1, 3, height, width, device="meta"), 0.0)
    return PassCost(width, height, counter.get_total_flops() / 2, moved)


def measure_roofline(device: str, precision: torch.dtype) -> Roofline:
    """Measure matrix products in a precision, and copying."""
    matrix = torch.rand(MATRIX, MATRIX, device=device).to(precision)
    source = torch.rand(BUFFER, device=device)
    target = torch.empty_like(source)
    product = _best_time(lambda: matrix @ matrix, device)
    copied = _best_time(lambda: target.copy_(source), device)
    return Roofline(MATRIX**3 / product, 2 * source.nbytes / copied)


def _best_time(work: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Least seconds of several runs, after a warm-up."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
