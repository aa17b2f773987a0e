"""Export a network as an ONNX graph: dynamic batch, height and width; alpha is an input."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.export import Dim

from duostyle.export.operators import DirectOperators
from duostyle.models import StyleNetwork

if TYPE_CHECKING:
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

    def inputs(self) -> list[str]:
        """Return the names of the inputs in order."""
        if self.mask_only:
            return ["content"]
        return ["content", "alpha", *["mask"] * self.mask_input]

    def outputs(self) -> list[str]:
        """Return the names of the outputs in order."""
        if self.mask_only:
            return ["mask"]
        return ["stylized", *["mask"] * self.mask_output]

    def pick(self, given: Sequence[T]) -> list[T]:
        """Select the inputs from content, alpha and mask."""
        return list(given[: len(self.inputs())])

    def run(
        self,
        network: StyleNetwork,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return the outputs in order. Arguments as for `StyleNetwork.forward`."""
        encoded = network.encode(content, mask if self.mask_input else None)
        if self.mask_only:
            return (encoded.mask,)
        stylized = network.decode(encoded, alpha, self.swap)
        return (stylized, encoded.mask) if self.mask_output else (stylized,)


class Graph(nn.Module):
    """A network with the inputs and outputs of `GraphSignature`, as a module to export."""

    def __init__(self, network: StyleNetwork, signature: GraphSignature) -> None:
        super().__init__()
        self.network, self.signature = network, signature

    def forward(
        self, content: Tensor, alpha: Tensor | float = 0.0, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """`content`: `(B, 3, H, W)` in [0, 1]; `alpha`: `(B,)`; `mask`: `(B, 1, H, W)`."""
        with DirectOperators():
            return self.signature.run(self.network, content, alpha, mask)


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
    example = signature.pick([picture, torch.rand(batch), picture[:, :1]])
    free = signature.pick([{0: Dim.DYNAMIC, **sides}, {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC, **sides}])
    with quiet(), torch.no_grad():
        program = torch.export.export(
            Graph(network, signature).eval(), tuple(example), dynamic_shapes=tuple(free)
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
    if header is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = "duostyle", json.dumps(header)
    path.write_bytes(model.SerializeToString())


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
