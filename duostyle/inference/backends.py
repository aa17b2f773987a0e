"""Open a checkpoint in the runtime that is asked for: PyTorch, ONNX Runtime or OpenVINO."""

from pathlib import Path

import torch

from duostyle.cache import cache_folder
from duostyle.inference.engine import BACKENDS, GraphEngine, fastest_backend
from duostyle.models import Painter, load_pair, pick_device, pick_precision


def open_painter(
    checkpoint: str | Path,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    moving: bool = False,
    compile: bool = False,
) -> tuple[Painter, str]:
    """Load a checkpoint; returns the network and the precision to pass to `stylize`.

    `checkpoint`: a file or the name of a shipped pair; `device`: auto, cpu, cuda, mps; `backend`:
    torch, onnx, openvino, or auto: OpenVINO for videos and cameras on a CPU if it is installed,
    else PyTorch; `precision`: auto, fp32, bf16, fp16; `moving`: for a video or a camera, where all
    frames have one size; `compile`: by PyTorch, which takes minutes at the start.
    Raises CheckpointError if there is no such checkpoint, ValueError if the device, the backend or
    the precision is not available.
    """
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"--backend {backend}: is none of {', '.join(BACKENDS)}")
    network = load_pair(checkpoint, pick_device(device))
    kind = network.device.type
    if backend == "auto":
        on_cpu = moving and not compile and kind == "cpu"
        backend = fastest_backend(precision) if on_cpu else "torch"
    if backend == "torch":
        if compile:
            network.forward = torch.compile(network.forward)  # type: ignore[method-assign]
        return network, pick_precision(precision, kind)
    if compile:
        raise ValueError("--compile is for --backend torch")
    if kind != "cpu" and device != "auto":
        raise ValueError(f"--backend {backend} runs on the CPU; use --device cpu")
    graphs = cache_folder() / "graphs"
    engine = GraphEngine(network.cpu(), backend, precision, graphs, any_size=not moving)
    return engine, "fp32"  # the engine has its own precision
