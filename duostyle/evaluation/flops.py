"""Cost of a forward pass: multiply-adds, memory traffic, and the roofline of a device."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from duostyle.models import StyleNetwork

SIZES = ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))  # width, height
MATRIX, BUFFER = 2048, 64 << 20  # matrix side; float32 elements to copy


@dataclass(frozen=True)
class PassCost:
    """Cost of one picture."""

    width: int
    height: int
    multiply_adds: float
    bytes_moved: float  # input, output and weights of every convolution once, 2 bytes each


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
