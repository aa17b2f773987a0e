"""One thing timed, in a process of its own: its peak memory is nobody else's."""

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
from torch import Tensor

from duostyle.evaluation.boundary import paste
from duostyle.evaluation.peer_network import PeerNetwork
from duostyle.files import ROOT
from duostyle.inference import Result, StylizeOptions, open_painter, paint_video, stylize
from duostyle.io.images import read_picture, resize
from duostyle.models import PRECISIONS, Painter, keep_memory

PHOTO = ROOT / "assets" / "photos" / "astronaut.jpg"
SEGMENTERS = ("deeplabv3_mobilenet_v3_large", "deeplabv3_resnet101")
RATE = 30  # frames a second of the clip
T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """What is timed: a pair as somebody runs it, or the naive pipeline with a segmenter."""

    name: str
    checkpoint: str = ""
    backend: str = "torch"
    precision: str = "fp32"
    device: str = "cpu"
    segmenter: str = ""
    compile: bool = False


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one picture, and the process's peak memory."""

    median: float
    p95: float
    megabytes: float


@dataclass(frozen=True)
class Journey:
    """A clip from file to file: frames a second, and seconds by stage, which overlap."""

    frames: int
    rate: float
    busy: dict[str, float]
    megabytes: float


def alone(work: Callable[..., T], *arguments: object) -> T:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn"), keep_memory) as pool:
        return pool.submit(work, *arguments).result()


def megabytes(device: str) -> float:
    """Peak memory of this process, or of the GPU that it uses."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # getrusage remembers what the parent had, across fork and exec
        kilobytes = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if kilobytes:
            return int(kilobytes[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load(way: Way) -> tuple[Painter, str]:
    """The pair as this way runs it. Raises CheckpointError or ValueError where it cannot."""
    return open_painter(
        way.checkpoint, way.device, way.backend, way.precision, moving=True, compile=way.compile
    )


@torch.inference_mode()
def time_pictures(way: Way, width: int, height: int, seconds: float) -> Timing:
    """The same picture again and again, the network alone, for about so long."""
    content = resize(read_picture(PHOTO).pixels[None], (height, width)).to(way.device)
    paint = _naive(way, content) if way.segmenter else _pair(way, content)
    paint()
    taken: list[float] = []
    while sum(taken) < seconds or len(taken) < 3:
        began = time.perf_counter()
        paint()
        if way.device.startswith("cuda"):
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    median, p95 = (1000 * float(np.percentile(taken, share)) for share in (50, 95))
    return Timing(median, p95, megabytes(way.device))


def _pair(way: Way, content: Tensor) -> Callable[[], object]:
    painter, precision = load(way)
    return lambda: stylize(painter, content, 0.5, precision=precision)


def _naive(way: Way, content: Tensor) -> Callable[[], object]:
    """Two single-style networks, a segmenter, paste; no weights: that takes as long."""
    from torchvision.models import segmentation

    build = getattr(segmentation, way.segmenter)
    networks = (PeerNetwork(), PeerNetwork(), build(weights=None, weights_backbone=None))
    first, second, segmenter = (n.to(way.device).eval() for n in networks)
    lower = PRECISIONS[way.precision]

    def paint() -> Tensor:
        with torch.autocast(content.device.type, lower, enabled=lower != torch.float32):
            mask = (segmenter(content)["out"].argmax(dim=1, keepdim=True) > 0).float()
            return paste(first(content), second(content), mask)

    return paint


def time_clip(way: Way, clip: Path, output: Path) -> Journey:
    """A clip painted as duostyle paint does: decoded, painted, steadied, encoded, alpha 0.5."""
    painter, precision = load(way)
    outputs, options = {Result(0.5): output}, StylizeOptions(precision=precision)
    paint_video(painter, clip, outputs, duration=0.2, options=options)  # warms up
    report = paint_video(painter, clip, outputs, options=options)
    return Journey(
        report.frames, report.frames / report.seconds, report.busy, megabytes(way.device)
    )


def write_clip(path: Path, width: int, height: int, frames: int) -> None:
    """A slow sweep over the bundled photograph, H.264."""
    wide = resize(read_picture(PHOTO).pixels[None], (2 * height, 2 * width))[0]
    wide = (wide.permute(1, 2, 0) * 255).round().byte().numpy()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            top, left = (number * side // (2 * frames) for side in (height, width))
            pixels = np.ascontiguousarray(wide[top : top + height, left : left + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
