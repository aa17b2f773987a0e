"""Export a pair for phones: Core ML or LiteRT, mask and painter as two models of a fixed size."""

import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duostyle.export.graph import quiet
from duostyle.export.mobile_modules import (
    STEP,
    MaskModel,
    PaintModel,
    PlainOperators,
    without_padding_operators,
)
from duostyle.export.parity import Parity
from duostyle.models import StyleNetwork

SUFFIXES = {"coreml": ".mlpackage", "litert": ".tflite"}
CONVERTERS = {"coreml": "coremltools", "litert": "litert_torch"}
PARTS = ("mask", "paint")
INPUTS = {"mask": ["content"], "paint": ["content", "mask", "alpha", "strength"]}
OUTPUTS = {"mask": "mask", "paint": "stylized"}


@dataclass(frozen=True)
class Part:
    """One of the two models: a module, its example inputs, and its result for them."""

    name: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    expected: Tensor


def target_paths(path: Path, kind: str) -> list[Path]:
    """Return the two files, or folders, of an export: `NAME-mask.SUFFIX`, `NAME-paint.SUFFIX`."""
    stem = path.name.removesuffix(SUFFIXES[kind])
    return [path.with_name(f"{stem}-{part}{SUFFIXES[kind]}") for part in PARTS]


def check_size(size: tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width of the models. Raises ValueError unless they are fixed and fit."""
    if size is None or any(side % STEP for side in size):
        raise ValueError(f"models for phones need --size WxH of multiples of {STEP}: 640x368")
    return size


def build_parts(network: StyleNetwork, photo: Tensor, size: tuple[int, int]) -> list[Part]:
    """Return both models of a network, with a photograph `(1, 3, H, W)` as example.

    `size`: height and width of the models, multiples of STEP.
    """
    plain = without_padding_operators(network)
    content = F.interpolate(photo, size, mode="bilinear", antialias=True)
    alpha, strength = torch.tensor([0.25]), torch.tensor([[1.0, 0.75]])
    parts = []
    with torch.no_grad(), PlainOperators():
        inputs: tuple[Tensor, ...] = (content,)
        for name, kind in zip(PARTS, (MaskModel, PaintModel), strict=True):
            module = kind(plain).eval()
            found = module(*inputs)
            parts.append(Part(name, module, inputs, found))
            inputs = (content, found, alpha, strength)
    return parts


def export_mobile(
    network: StyleNetwork,
    path: Path,
    kind: str,
    size: tuple[int, int],
    photo: Tensor,
    fp16: bool = False,
) -> Parity | None:
    """Write both models; return their differences from PyTorch, None if they cannot run here.

    `path`: see `target_paths`, whose present files are replaced; `kind`: coreml or litert; `fp16`:
    weights, and in Core ML also the computation, in half precision. Raises ValueError, and keeps no
    file, if the converter is not installed or the differences exceed the tolerance; OSError if the
    files cannot be written.
    """
    _converter(kind)  # before any work
    convert = {"coreml": _to_core_ml, "litert": _to_litert}[kind]
    targets = target_paths(path, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    found: list[Parity] = []
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        made = [Path(folder) / target.name for target in targets]
        for part, file in zip(build_parts(network, photo, size), made, strict=True):
            print(f"converting the {part.name} model (up to 2 minutes)", file=sys.stderr)
            # The converters print their progress; standard output is for results.
            with quiet(), redirect_stdout(sys.stderr):
                result = convert(part, file, fp16)
            if result is not None:
                found.append(_difference(part, result))
        total = None
        if found:
            total = Parity(max(p.largest for p in found), max(p.mean for p in found))
            precision = "fp16" if fp16 else "fp32"
            if not total.within(precision):
                raise ValueError(f"{path}: not kept, {precision} differs from PyTorch by {total}")
        for file, target in zip(made, targets, strict=True):
            if target.is_dir():
                shutil.rmtree(target)
            file.replace(target)
    return total


def _difference(part: Part, result: np.ndarray) -> Parity:
    apart = np.abs(result - part.expected.numpy())
    if not np.isfinite(apart).all():
        raise ValueError(f"the {part.name} model gives values that are not finite")
    return Parity(float(apart.max()), float(apart.mean()))


def _to_litert(part: Part, path: Path, fp16: bool) -> np.ndarray:
    """Write a LiteRT model; return its result for the example, computed by LiteRT."""
    litert_torch = _converter("litert")
    from ai_edge_litert.interpreter import Interpreter

    with torch.no_grad(), PlainOperators():
        model = litert_torch.convert(part.module, part.inputs)
    model.export(str(path))
    if fp16:
        _halve_weights(path)
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    # Inputs are named args_0, args_1, ... in the order of the module's arguments.
    ports = sorted(interpreter.get_input_details(), key=lambda port: str(port["name"]))
    for port, value in zip(ports, part.inputs, strict=True):
        interpreter.set_tensor(port["index"], value.numpy())
    interpreter.invoke()
    found: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


def _halve_weights(path: Path) -> None:
    """Store the weights of a LiteRT model in float16; it still computes in float32."""
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    job = quantizer.Quantizer(str(path))
    job.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=half, compute_precision=qtyping.ComputePrecision.FLOAT
        ),
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    path.write_bytes(bytes(job.quantize().quantized_model))


def _to_core_ml(part: Part, path: Path, fp16: bool) -> np.ndarray | None:
    """Write a Core ML model; return its result for the example, None where Core ML cannot run."""
    coremltools = _converter("coreml")
    with torch.no_grad(), PlainOperators():
        program = torch.export.export(part.module, part.inputs).run_decompositions({})
    for node in list(program.graph.nodes):
        if node.target == torch.ops.aten.alias.default:  # the converter does not know it
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    precision = coremltools.precision
    runs = sys.platform == "darwin"
    model = coremltools.convert(
        program,
        inputs=[
            coremltools.TensorType(name, value.shape)
            for name, value in zip(INPUTS[part.name], part.inputs, strict=True)
        ],
        outputs=[coremltools.TensorType(OUTPUTS[part.name])],
        convert_to="mlprogram",
        compute_precision=precision.FLOAT16 if fp16 else precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS16,
        skip_model_load=not runs,
    )
    model.save(str(path))
    if not runs:
        return None
    arrays = [value.numpy() for value in part.inputs]
    named = dict(zip(INPUTS[part.name], arrays, strict=True))
    found: np.ndarray = model.predict(named)[OUTPUTS[part.name]]
    return found


def _converter(kind: str) -> ModuleType:
    """Import the converter of a format. Raises ValueError if it is not installed."""
    name = CONVERTERS[kind]
    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(
            f"--format {kind} needs {name}: pip install 'duostyle[{kind}]' ({error})"
        ) from error
