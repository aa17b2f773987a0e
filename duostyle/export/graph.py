"""A network as an ONNX graph: any batch, height and width, alpha an input of its own."""

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

from duostyle.models import Painter, StyleNetwork

if TYPE_CHECKING:
    import onnxruntime

T = TypeVar("T")

OPSET = 18  # the first whose Resize reduces without aliasing
ERRORS = 3  # of ONNX Runtime's log: what it cannot fold into constants is nothing to a user
EXAMPLE = (2, 107, 141)  # batch, height, width: nothing that a dimension could be mistaken for


@dataclass(frozen=True)
class Ports:
    """What a graph takes besides `content` and `alpha`, and gives besides `stylized`."""

    takes_mask: bool = False  # input `mask`, instead of the learned one
    gives_mask: bool = False  # output `mask`
    swap: bool = False  # the foreground in style 2
    mask_alone: bool = False  # `content` to `mask`: what finds the foreground, not what paints

    def inputs(self) -> list[str]:
        """Names of the inputs in order."""
        if self.mask_alone:
            return ["content"]
        return ["content", "alpha", *["mask"] * self.takes_mask]

    def outputs(self) -> list[str]:
        """Names of the outputs in order."""
        if self.mask_alone:
            return ["mask"]
        return ["stylized", *["mask"] * self.gives_mask]

    def pick(self, given: Sequence[T]) -> list[T]:
        """Of content, alpha and mask, those that are inputs."""
        return list(given[: len(self.inputs())])

    def run(
        self, painter: Painter, content: Tensor, alpha: Tensor | float, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The outputs in order, by a network or another engine. Arguments as for its `paint`."""
        stylized, mask = painter.paint(content, alpha, mask if self.takes_mask else None, self.swap)
        named = {"stylized": stylized, "mask": mask}
        return tuple(named[name] for name in self.outputs())


class Graph(nn.Module):
    """A network with these ports."""

    def __init__(self, network: StyleNetwork, ports: Ports) -> None:
        super().__init__()
        self.network, self.ports = network, ports

    def forward(
        self, content: Tensor, alpha: Tensor | float = 0.0, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """`content`: `(B, 3, H, W)` in [0, 1]; `alpha`: `(B,)`; `mask`: `(B, 1, H, W)`."""
        return self.ports.run(self.network, content, alpha, mask)


def export_graph(
    network: StyleNetwork,
    path: Path,
    ports: Ports = Ports(),
    size: tuple[int, int] | None = None,
    header: Mapping[str, Any] | None = None,
) -> None:
    """Write a network in evaluation mode as an ONNX file.

    `size`: height and width for a graph of that size alone, None for any from 16x16; the batch is
    free. `header`: goes into the file's metadata as JSON, under `duostyle`.
    Raises OSError where the file cannot be written.
    """
    batch, height, width = EXAMPLE if size is None else (EXAMPLE[0], *size)
    sides = {} if size else {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    picture = torch.rand(batch, 3, height, width)
    example = ports.pick([picture, torch.rand(batch), picture[:, :1]])
    free = ports.pick([{0: Dim.DYNAMIC, **sides}, {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC, **sides}])
    with quiet(), torch.no_grad():
        program = torch.export.export(
            Graph(network, ports).eval(), tuple(example), dynamic_shapes=tuple(free)
        )
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=ports.inputs(),
            output_names=ports.outputs(),
            verbose=False,
        )
    model = made.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # where in the source it comes from: half of a small file
    if header is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = "duostyle", json.dumps(header)
    path.write_bytes(model.SerializeToString())


def open_session(graph: Path) -> "onnxruntime.InferenceSession":
    """A graph in ONNX Runtime, on the CPU."""
    import onnxruntime  # slow to import, and painting by PyTorch does without

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters speak of their own optimisations; that is nothing to a user."""
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
