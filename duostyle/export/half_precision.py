"""Convert a graph to half precision (float16)."""

from pathlib import Path

import onnx

# Means over a whole picture and differences of large numbers overflow or vanish in float16.
FULL_PRECISION = ("ReduceMean", "ReduceSum", "ReduceLogSumExp", "Pow", "Resize")
SIZES_INPUT = 3  # of Resize


def to_fp16(graph: Path) -> None:
    """Convert a graph's file in place; statistics, inputs and outputs stay float32."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    model = onnx.load(graph)
    exact = _size_arithmetic(model.graph)
    converted = convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *FULL_PRECISION],
        node_block_list=exact,
    )
    for node in converted.graph.node:
        if node.name in exact and _casts_to(node, onnx.TensorProto.FLOAT16):
            node.attribute[
                0
            ].i = onnx.TensorProto.FLOAT  # casts that the converter changes all the same
    _leave_float_between(converted.graph)
    onnx.save(converted, graph)


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return bool(node.op_type == "Cast" and node.attribute[0].i == kind)


def _leave_float_between(graph: onnx.GraphProto) -> None:
    """Connect nodes that stay in float32 directly, without a cast to float16 and back.

    The converter puts such casts between them: a picture's number of pixels is infinite in float16.
    """
    maker = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        for number, name in enumerate(node.input):
            back = maker.get(name)
            if back is None or not _casts_to(back, onnx.TensorProto.FLOAT):
                continue
            down = maker.get(back.input[0])
            if down is not None and _casts_to(down, onnx.TensorProto.FLOAT16):
                node.input[number] = down.input[0]


def _size_arithmetic(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes that compute the output sizes of Resize."""
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
