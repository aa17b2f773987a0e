"""Export a network as an ONNX graph: dynamic batch, height and width; alpha, strength as inputs."""

import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.export import Dim

from duostyle.export.operators import DirectOperators, expand_batch
from duostyle.models import StyleNetwork, apply_strength, strength_map

if TYPE_CHECKING:
    import onnx
    import onnxruntime

T = TypeVar("T")

OPSET = 18  # the first whose Resize reduces without aliasing
LOG_ERRORS = 3  # ONNX Runtime's log level: its notes on constant folding are not for users
EXAMPLE = (
    2,
    107,
    141,
)  # batch, height, width: unlike each other and any number of channels


@dataclass(frozen=True)
class GraphSignature:
    """A graph's inputs besides `content` and `alpha`, and its outputs besides `stylized`."""

    mask_input: bool = False  # input `mask` instead of the learned one
    mask_output: bool = False  # output `mask`
    swap: bool = False  # the foreground in style 2
    mask_only: bool = False  # `content` to `mask` only, without painting
    strength: bool = False  # input `strength`; it and `alpha` may have a batch of 1

    def inputs(self) -> list[str]:
        """Return the names of the inputs in order."""
        if self.mask_only:
            return ["content"]
        return ["content", "alpha", *["mask"] * self.mask_input, *["strength"] * self.strength]

    def outputs(self) -> list[str]:
        """Return the names of the outputs in order."""
        if self.mask_only:
            return ["mask"]
        return ["stylized", *["mask"] * self.mask_output]

    def broadcast(self) -> list[str]:
        """Return the names of the inputs whose batch is that of `content`, or 1."""
        return [name for name in self.inputs() if self.strength and name in ("alpha", "strength")]

    def pick(self, given: Mapping[str, T]) -> list[T]:
        """Select the inputs in order from all of them by name."""
        return [given[name] for name in self.inputs()]

    def run(
        self,
        network: StyleNetwork,
        content: Tensor,
        alpha: Tensor | float = 0.0,
        mask: Tensor | None = None,
        strength: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return the outputs in order.

        `strength`: `(B or 1, 2)`, of foreground and background, in [0, 1]; None: 1. Other arguments
        as for `StyleNetwork.forward`.
        """
        encoded = network.encode(content, mask if self.mask_input else None)
        if self.mask_only:
            return (encoded.mask,)
        stylized = network.decode(encoded, alpha, self.swap)
        if strength is not None:
            foreground, background = strength[:, :1, None, None], strength[:, 1:, None, None]
            strengths = strength_map(encoded.mask, foreground, background)
            stylized = apply_strength(content, stylized, strengths)
        return (stylized, encoded.mask) if self.mask_output else (stylized,)


class Graph(nn.Module):
    """A network with the inputs and outputs of `GraphSignature`, as a module to export."""

    def __init__(self, network: StyleNetwork, signature: GraphSignature) -> None:
        super().__init__()
        self.network, self.signature = network, signature

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for the inputs, both in the signature's order."""
        given = dict(zip(self.signature.inputs(), inputs, strict=True))
        for name in self.signature.broadcast():
            given[name] = expand_batch(given[name], given["content"].shape[0])
        with DirectOperators():
            return self.signature.run(self.network, **given)


def export_graph(
    network: StyleNetwork,
    path: Path,
    signature: GraphSignature = GraphSignature(),
    size: tuple[int, int] | None = None,
    header: Mapping[str, Any] | None = None,
) -> None:
    """Write a network in evaluation mode as an ONNX file.

    `size`: fixed height and width, or None for any from 16x16; the batch is always dynamic.
    `header`: stored in the file's metadata as JSON, under `duostyle`.
    Raises OSError if the file cannot be written.
    """
    batch, height, width = EXAMPLE if size is None else (EXAMPLE[0], *size)
    sides = {} if size else {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    picture = torch.rand(batch, 3, height, width)
    examples = {
        "content": picture,
        "alpha": torch.rand(batch),
        "mask": picture[:, :1],
        "strength": torch.rand(batch, 2),
    }
    for number, name in enumerate(signature.broadcast()):  # batches unlike any other
        examples[name] = torch.rand(batch + 3 + 2 * number, *examples[name].shape[1:])
    free = {name: {0: Dim.DYNAMIC} for name in examples}
    free |= {name: {0: Dim.DYNAMIC, **sides} for name in ("content", "mask")}
    with quiet(), torch.no_grad():
        program = torch.export.export(
            Graph(network, signature).eval(),
            tuple(signature.pick(examples)),
            dynamic_shapes=(tuple(signature.pick(free)),),
        )
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=signature.inputs(),
            output_names=signature.outputs(),
            verbose=False,
        )
    assert made is not None  # with dynamo=True
    model = made.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # source locations: half of a small file
    _name_axes(model.graph, signature.broadcast())
    if header is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = "duostyle", json.dumps(header)
    path.write_bytes(model.SerializeToString())


def _name_axes(graph: "onnx.GraphProto", broadcast: Sequence[str]) -> None:
    """Name the dynamic axes; the batch of the inputs in `broadcast` has a name of its own."""
    ports = {port.name: port.type.tensor_type.shape.dim for port in graph.input}
    pairs = zip(ports["content"], ("batch", "", "height", "width"), strict=True)
    names = {axis.dim_param: name for axis, name in pairs if axis.dim_param}
    for port in [*graph.input, *graph.output, *graph.value_info]:
        for axis in port.type.tensor_type.shape.dim:
            if axis.dim_param:  # setting it clears a fixed size
                axis.dim_param = re.sub(r"\w+", lambda w: names.get(w[0], w[0]), axis.dim_param)
    for name in broadcast:
        ports[name][0].dim_param = f"{name}_batch"


def open_session(graph: Path) -> "onnxruntime.InferenceSession":
    """Open a graph in ONNX Runtime, on the CPU."""
    import onnxruntime  # slow to import, and not needed with PyTorch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_ERRORS
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' notes on their own optimizations."""
    names = ("", "onnxscript", "onnx_ir", "torch.onnx")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
