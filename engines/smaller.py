"""Smaller graphs: half precision, and convolutions in 8 bits."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx

from .graph import ERRORS, quiet

# Means over a whole picture, and differences of large numbers: half precision cannot hold them.
FULL_PRECISION = ("ReduceMean", "ReduceSum", "ReduceLogSumExp", "Pow", "Resize")
# In 8 bits a bundled photograph's painting moves by 1.0 / 255 on average if these are rounded, by
# 0.3 more with the decoder, by 2 with the mask branch.
RESIDUAL = ("network.shared", "network.branch")
SIZES_INPUT = 3  # of Resize


def to_fp16(graph: Path) -> None:
    """Turn a graph's file to half precision, statistics excepted; inputs and outputs stay float."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    model = onnx.load(graph)
    exact = _size_arithmetic(model.graph)
    smaller = convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *FULL_PRECISION],
        node_block_list=exact,
    )
    for node in smaller.graph.node:
        if node.name in exact and _casts_to(node, onnx.TensorProto.FLOAT16):
            node.attribute[0].i = onnx.TensorProto.FLOAT  # the converter spares all but these
    _leave_float_between(smaller.graph)
    onnx.save(smaller, graph)


def _casts_to(node: onnx.NodeProto | None, kind: int) -> bool:
    return node is not None and node.op_type == "Cast" and node.attribute[0].i == kind


def _leave_float_between(graph: onnx.GraphProto) -> None:
    """Take what goes from one spared node to the next past the casts to half precision and back.

    The converter rounds there what it spares: a picture's number of pixels is infinite in fp16.
    """
    maker = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        for number, name in enumerate(node.input):
            back = maker.get(name)
            if _casts_to(back, onnx.TensorProto.FLOAT):
                down = maker.get(back.input[0])
                if _casts_to(down, onnx.TensorProto.FLOAT16):
                    node.input[number] = down.input[0]


def _size_arithmetic(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that work out how large something is to become."""
    maker = {name: node for node in graph.node for name in node.output}
    found: dict[str, None] = {}
    waiting = [
        node.input[SIZES_INPUT]
        for node in graph.node
        if node.op_type == "Resize" and len(node.input) > SIZES_INPUT
    ]
    while waiting:
        node = maker.get(waiting.pop())
        if node and node.op_type != "Shape" and node.name not in found:
            found[node.name] = None
            waiting += node.input
    return list(found)


def to_int8(graph: Path, feeds: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Turn the residual blocks' convolutions to 8 bits, ranges seen on `feeds`, inputs by name."""
    from onnxruntime import quantization, set_default_logger_severity

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rest: Iterator[Mapping[str, np.ndarray]] = iter(feeds)

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(self.rest, None)

    convolutions = [
        node.name
        for node in onnx.load(graph).graph.node
        if node.op_type == "Conv" and node.input[1].startswith(RESIDUAL)
    ]
    set_default_logger_severity(ERRORS)
    with quiet():
        quantization.quantize_static(
            graph, graph, Reader(), nodes_to_quantize=convolutions, per_channel=True
        )
