"""Run a checkpoint in PyTorch, or its graph in ONNX Runtime or OpenVINO with the same interface."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from duostyle.export.graph import GraphSignature, export_graph, open_session
from duostyle.files import WriteError, cache_folder, printable, sha256, write_atomically
from duostyle.inference.render import Painter
from duostyle.models import (
    Inspection,
    StyleNetwork,
    check_alpha,
    check_content,
    load_pair,
    pick_device,
    pick_precision,
)

GRAPH_VERSION = 3  # raised to invalidate the graphs in caches
DIGEST = 16  # characters of a digest in a graph's file name
MAX_SIZES = 4  # picture sizes kept compiled
OPENVINO_BATCH_SIZE = 4  # frames of a video stylized in parallel, each on cores of its own
BACKENDS = ("torch", "onnx", "openvino")

Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
Load = Callable[[Path], Run]


def available_cores() -> int:
    """Return the number of cores that this process may run on."""
    known = hasattr(os, "sched_getaffinity")  # Linux only
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def fastest_backend(precision: str) -> str:
    """Return the fastest installed backend on a CPU that supports the precision."""
    return "openvino" if find_spec("openvino") and precision != "fp16" else "torch"


def onnxruntime_loader(precision: str) -> Load:
    """Return a loader for ONNX Runtime on the CPU. Raises ValueError unless fp32 or auto."""
    if precision not in ("auto", "fp32"):
        raise ValueError(f"--backend onnx computes in fp32, not {precision}")

    def load(graph: Path) -> Run:
        session = open_session(graph)
        names = [port.name for port in session.get_inputs()]
        return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))

    return load


def openvino_loader(precision: str) -> Load:
    """Return a loader for OpenVINO on the CPU; `auto` is bf16 where the CPU supports it.

    Raises ValueError if OpenVINO is not installed or does not support the precision.
    """
    # With this package installed, importing OpenVINO starts a process that sends telemetry.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise ValueError(
            "--backend openvino needs OpenVINO: pip install 'duostyle[openvino]'"
        ) from None
    hints = {"fp32": "f32", "bf16": "bf16"}
    core = openvino.Core()
    if precision == "auto":
        known = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bf16" if "BF16" in known else "fp32"
    if precision not in hints:
        raise ValueError(f"--backend openvino computes in fp32 or bf16, not {precision}")
    # Threads pinned to cores would block decoding and encoding.
    settings = {"INFERENCE_PRECISION_HINT": hints[precision], "ENABLE_CPU_PINNING": False}
    return lambda graph: OpenVINORun(core, core.read_model(graph), settings)


class OpenVINORun:
    """A graph in OpenVINO, compiled for each size: with dynamic sizes a pass takes 25 % longer.

    The pictures of a batch run in parallel streams, each on cores of its own: the throughput is
    higher than with all cores on one picture.
    """

    def __init__(self, core: Any, model: Any, settings: Mapping[str, object]) -> None:
        self.core, self.model, self.settings = core, model, settings
        self.requests: dict[tuple[tuple[int, ...], ...], list[Any]] = {}

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        batch = len(arrays[0])
        shapes = tuple((1, *array.shape[1:]) for array in arrays)
        if batch > len(self.requests.get(shapes, ())):
            self.requests.pop(shapes, None)
            if len(self.requests) == MAX_SIZES:
                self.requests.pop(next(iter(self.requests)))
            self.requests[shapes] = self._compiled(batch, shapes)
        requests = self.requests[shapes][:batch]
        for number, request in enumerate(requests):
            row = [array[number : number + 1] for array in arrays]
            request.start_async(row, share_inputs=True)
        for request in requests:
            request.wait()
        return [
            np.concatenate([request.get_output_tensor(port).data for request in requests])
            for port in range(len(self.model.outputs))
        ]

    def _compiled(self, batch: int, shapes: tuple[tuple[int, ...], ...]) -> list[Any]:
        """Compile for these shapes; return one inference request for each picture of a batch."""
        self.model.reshape(dict(enumerate(shapes)))
        streams = {"NUM_STREAMS": min(batch, available_cores())}
        compiled = self.core.compile_model(self.model, "CPU", {**self.settings, **streams})
        return [compiled.create_infer_request() for _ in range(batch)]


RUNNERS: dict[str, Callable[[str], Load]] = {
    "onnx": onnxruntime_loader,
    "openvino": openvino_loader,
}


class GraphInputs(NamedTuple):
    """What a `GraphEngine` keeps of a picture for several alphas."""

    content: Tensor  # (B, 3, H, W)
    mask: Tensor | None  # (B, 1, H, W); None: learned


class GraphEngine:
    """A network executed by ONNX Runtime or OpenVINO on the CPU; a `Painter`.

    Graphs are exported at first use, which takes seconds, and cached in a folder.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        network: StyleNetwork,
        backend: str,
        precision: str,
        folder: Path,
        any_size: bool = True,
    ) -> None:
        """Open the backend; graphs follow at first use.

        `backend`: onnx or openvino; `precision`: auto, fp32 or another that the backend supports;
        `folder`: cache of the graphs; `any_size`: one graph for all sizes, else one for each.
        Raises ValueError if the backend is not installed or does not support the precision.
        """
        self.network, self.folder, self.any_size = network, folder, any_size
        self.load = RUNNERS[backend](precision)
        self.default_batch_size = OPENVINO_BATCH_SIZE if backend == "openvino" else 1
        self.fingerprint = fingerprint(network)
        self.runs: dict[Path, Run] = {}
        self.files: dict[str, Path] = {}  # the graphs' files by name
        self.scratch = tempfile.TemporaryDirectory(prefix="duostyle-")

    def encode(self, content: Tensor, mask: Tensor | None = None) -> GraphInputs:
        """Check and keep the inputs: a graph computes everything again for every alpha."""
        check_content(content, mask)
        return GraphInputs(content, mask)

    def change_mask(self, encoded: GraphInputs, change: Callable[[Tensor], Tensor]) -> GraphInputs:
        """Do what `StyleNetwork.change_mask` does; a learned mask takes a graph of its own."""
        content, mask = encoded
        if mask is None:
            run = self._run(GraphSignature(mask_only=True), (content.shape[-2], content.shape[-1]))
            mask = torch.from_numpy(run([np.ascontiguousarray(content.float().numpy())])[0])
        return encoded._replace(mask=change(mask))

    def decode(self, encoded: GraphInputs, alpha: Tensor | float, swap: bool = False) -> Tensor:
        """Return what `StyleNetwork.decode` returns, in a whole pass."""
        return self.decode_with_mask(encoded, alpha, swap)[0]

    def decode_with_mask(
        self, encoded: GraphInputs, alpha: Tensor | float, swap: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the stylized picture and the mask, given or learned, in a whole pass."""
        content, mask = encoded
        check_alpha(alpha, content.shape[0])
        inputs = [content, torch.as_tensor(alpha).expand(content.shape[0])]
        inputs += [] if mask is None else [mask]
        arrays = [np.ascontiguousarray(value.float().numpy()) for value in inputs]
        height, width = content.shape[-2:]
        run = self._run(GraphSignature(mask is not None, mask is None, swap), (height, width))
        stylized, *learned = map(torch.from_numpy, run(arrays))
        return stylized, learned[0] if mask is None else mask

    def decode_all(
        self, encoded: GraphInputs, alpha: Tensor | float, swap: bool = False
    ) -> Inspection:
        """Return what `StyleNetwork.decode_all` returns, in three passes."""
        stylized, mask = self.decode_with_mask(encoded, alpha, swap)
        ones = torch.ones_like(mask)
        foreground, background = (
            self.decode(encoded._replace(mask=part), alpha, swap) for part in (ones, 1 - ones)
        )
        return Inspection(stylized, foreground, background, mask)

    def _run(self, signature: GraphSignature, size: tuple[int, int]) -> Run:
        graph = self._graph(signature, None if self.any_size else size)
        if graph not in self.runs:
            self.runs[graph] = self.load(graph)
        return self.runs[graph]

    def _graph(self, signature: GraphSignature, size: tuple[int, int] | None) -> Path:
        """Return the graph's file; export it if the cache has none, or a damaged one."""
        marks = [
            self.fingerprint,
            *signature.inputs(),
            *signature.outputs(),
            *["swap"] * signature.swap,
        ]
        name = "-".join([*marks, f"{size[1]}x{size[0]}" if size else "any"])
        if name not in self.files:
            self.files[name] = find_intact(self.folder, name) or self._export(name, signature, size)
        return self.files[name]

    def _export(self, name: str, signature: GraphSignature, size: tuple[int, int] | None) -> Path:
        """Export a graph to the cache, or to a temporary folder if the cache is read-only."""
        what = f"pictures of {size[1]}x{size[0]}" if size else "pictures of any size"
        print(f"exporting the ONNX graph for {what} (once, up to 40 s)", file=sys.stderr)
        path = Path(self.scratch.name) / f"{name}.onnx"
        export_graph(self.network, path, signature, size)
        kept = self.folder / f"{name}.{digest_of(path)}.onnx"
        try:
            write_atomically(kept, path.read_bytes())
        except WriteError as error:
            print(f"{printable(str(error))}: exported again next time", file=sys.stderr)
            return path
        path.unlink()
        return kept


def find_intact(folder: Path, name: str) -> Path | None:
    """Return the cached graph of this name whose content matches the digest in its file name.

    Other files of this name are damaged: they are removed if permissions allow.
    """
    for path in sorted(folder.glob(f"{name}.*.onnx")):
        try:
            if path.name == f"{name}.{digest_of(path)}.onnx":
                return path
            path.unlink()
        except OSError:
            continue
    return None


def digest_of(path: Path) -> str:
    """Return a short SHA-256 of a file. Raises OSError if it cannot be read."""
    return sha256(path)[:DIGEST]


def fingerprint(network: StyleNetwork, *parts: nn.Module) -> str:
    """Return a digest of a network's sizes and weights, or of the weights of `parts` only."""
    digest = hashlib.sha256(f"{GRAPH_VERSION} {torch.__version__} {network.config}".encode())
    for part in parts or (network,):
        for name, value in part.state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


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
