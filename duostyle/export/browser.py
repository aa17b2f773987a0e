"""Convert a graph for browsers: smaller, and without operators that WebGPU lacks."""

from pathlib import Path

import numpy as np
import onnx

ANTIALIASING = ("antialias", "exclude_outside")  # attributes of Resize
MIN_SIZE = 64  # weights in a tensor; smaller tensors stay float32


def for_browsers(graph: Path) -> None:
    """Halve a graph's file, in place, and make it run in ONNX Runtime on WebGPU.

    Weights are stored in float16 and cast to float32 at run time; a shipped checkpoint's weights
    are float16 already, so none of them changes. Resizing loses its antialiasing, which WebGPU
    lacks. This makes no difference where the mask branch enlarges the picture; a picture with more
    pixels than `mask_size` squared must be reduced before.
    """
    model = onnx.load(graph)
    _halve_weights(model.graph)
    for node in model.graph.node:
        if node.op_type == "Resize":
            kept = [each for each in node.attribute if each.name not in ANTIALIASING]
            del node.attribute[:]
            node.attribute.extend(kept)
    onnx.save(model, graph)


def _halve_weights(graph: onnx.GraphProto) -> None:
    casts = []
    for weight in graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < MIN_SIZE:
            continue
        full, half = weight.name, f"{weight.name}.half"
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(onnx.helper.make_node("Cast", [half], [full], to=onnx.TensorProto.FLOAT))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *rest])
