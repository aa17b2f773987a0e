"""Choose what runs a checkpoint: PyTorch, ONNX Runtime or OpenVINO."""

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
    """Load a checkpoint in a backend; return it and the precision to call `stylize` with.

    `checkpoint`: a file or a shipped name; `device`: auto, cpu, cuda, mps; `backend`: torch, onnx,
    openvino, or auto: OpenVINO for videos and cameras on a CPU if it is installed, else PyTorch;
    `moving`: many pictures of one size, as in a video; `compile`: use torch.compile, which takes
    minutes at the start.
    Raises CheckpointError for an unusable checkpoint, ValueError for an option that this machine or
    backend does not support.
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
            for name in ("encode", "decode", "decode_all"):
                setattr(network, name, torch.compile(getattr(network, name)))
        return network, pick_precision(precision, kind)
    if compile:
        raise ValueError("--compile is for --backend torch")
    if kind != "cpu" and device != "auto":
        raise ValueError(f"--backend {backend} runs on the CPU; use --device cpu")
    graphs = cache_folder() / "graphs"
    engine = GraphEngine(network.cpu(), backend, precision, graphs, any_size=not moving)
    return engine, "fp32"  # the engine sets its own
