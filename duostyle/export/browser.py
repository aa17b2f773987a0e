"""What a graph needs to run in a browser: few bytes, and no operator that WebGPU lacks."""

from pathlib import Path

import numpy as np
import onnx

ANTIALIASING = ("antialias", "exclude_outside")  # attributes of Resize
WORTHWHILE = 64  # weights of a tensor; smaller ones stay as they are


def for_browsers(graph: Path) -> None:
    """Halve a graph's file and let it run by ONNX Runtime on WebGPU.

    Weights are kept in half precision and reckoned with in full: shipped checkpoints hold float16,
    so none of theirs changes. Pictures are resized without antialiasing, which WebGPU does not
    know: the same for those that the mask branch enlarges, up to its size squared; larger ones are
    to be reduced before.
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
        if values.dtype != np.float32 or values.size < WORTHWHILE:
            continue
        full, half = weight.name, f"{weight.name}.half"
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(onnx.helper.make_node("Cast", [half], [full], to=onnx.TensorProto.FLOAT))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *rest])
