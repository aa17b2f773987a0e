"""What a pass costs at least: multiply-adds, bytes moved, and the time that a machine needs."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from duostyle.models import StyleNetwork

SIZES = ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))  # width, height
MATRIX, BUFFER = 2048, 64 << 20  # side; float32 numbers


@dataclass(frozen=True)
class Cost:
    """Of one picture."""

    width: int
    height: int
    multiply_adds: float
    bytes_moved: float  # every convolution's input, output and weights once, in 2 bytes a number


@dataclass(frozen=True)
class Machine:
    """What a device does at best, measured."""

    multiply_adds: float  # a second, in large matrix products
    bandwidth: float  # bytes a second, read and written

    def floor(self, cost: Cost) -> float:
        """Seconds that a pass takes at least: the slower of reckoning and moving."""
        return max(cost.multiply_adds / self.multiply_adds, cost.bytes_moved / self.bandwidth)


def count(network: StyleNetwork, width: int, height: int) -> Cost:
    """What one picture costs, counted on shapes alone: nothing is computed."""
    moved = 0

    def add(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal moved
        moved += 2 * (inputs[0].numel() + output.numel() + layer.weight.numel())

    shapes = StyleNetwork(network.config).to("meta").eval()
    for layer in shapes.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(add)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(torch.empty(1, 3, height, width, device="meta"), 0.0)
    return Cost(width, height, counter.get_total_flops() / 2, moved)


def measure_machine(device: str, precision: torch.dtype) -> Machine:
    """Multiply-adds a second of matrix products in that precision, and copying."""
    matrix = torch.rand(MATRIX, MATRIX, device=device).to(precision)
    source = torch.rand(BUFFER, device=device)
    target = torch.empty_like(source)
    product = _best(lambda: matrix @ matrix, device)
    copied = _best(lambda: target.copy_(source), device)
    return Machine(MATRIX**3 / product, 2 * source.nbytes / copied)


def _best(work: object, device: str, tries: int = 5) -> float:
    """Seconds of the quickest of some tries."""
    seconds = []
    for _ in range(tries + 1):
        began = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
