"""Conversion of the published network: the same result as its layers, written out here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.files import sha256
from duostyle.models import SIZES, load_checkpoint, read_header
from duostyle.training import convert_multistyle
from tests.conftest import ROOT

STYLES = 3
PAINTING = ROOT / "assets" / "styles" / "chaupar.jpg"


def published(styles: int = STYLES) -> dict[str, Tensor]:
    """Return random weights under the published names and in the published shapes."""
    shapes = {"contract.0": (32, 3, 9), "contract.1": (32, 32, 3), "contract.2": (32, 32, 3)}
    shapes |= {f"res.{n}.{part}": (32, 32, 3) for n in range(6) for part in (0, 1)}
    shapes |= {"expand.0": (8, 32, 3), "expand.1": (4, 8, 3), "expand.2": (3, 4, 9)}
    torch.manual_seed(0)
    weights = {}
    for name, (out, into, side) in shapes.items():
        weights[f"{name}.w"] = torch.randn(out, into, side, side) / side / into**0.5
        weights[f"{name}.norm.gamma"] = 1 + 0.3 * torch.randn(styles, out)
        weights[f"{name}.norm.beta"] = 0.3 * torch.randn(styles, out)
    return weights


def write_graph(file: Path, weights: dict[str, Tensor]) -> Path:
    import onnx
    from onnx import helper, numpy_helper

    stored = [numpy_helper.from_array(np.asarray(v), name) for name, v in weights.items()]
    onnx.save(helper.make_model(helper.make_graph([], "graph", [], [], stored)), file)
    return file


def transform(weights: dict[str, Tensor], x: Tensor, style: int) -> Tensor:
    """Return the published network's result, sides multiples of 4 (Dumoulin et al. 2017)."""

    def layer(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = weights[f"{name}.w"]
        padded = F.pad(x, (kernel.shape[-1] // 2,) * 4, mode="reflect")
        x = F.instance_norm(F.conv2d(padded, kernel, stride=stride))
        scale, shift = (weights[f"{name}.norm.{part}"][style] for part in ("gamma", "beta"))
        return x * scale[:, None, None] + shift[:, None, None]

    for number, stride in ((0, 1), (1, 2), (2, 2)):
        x = F.relu(layer(x, f"contract.{number}", stride))
    for number in range(6):
        x = x + layer(F.relu(layer(x, f"res.{number}.0")), f"res.{number}.1")
    for number in (0, 1):
        x = F.relu(layer(F.interpolate(x, scale_factor=2), f"expand.{number}"))
    return torch.sigmoid(layer(x, "expand.2"))


def test_each_region_is_the_published_networks_result(tmp_path: Path) -> None:
    weights = published()
    graph, output = write_graph(tmp_path / "styles.onnx", weights), tmp_path / "out.safetensors"
    argv = [str(graph), "--painting", f"2={PAINTING}", "--size", "small", "--output", str(output)]
    assert convert_multistyle.main(argv) == 0
    network = load_checkpoint(output).train()  # without margin and last layer
    content, mask = torch.rand(1, 3, 44, 48), torch.zeros(1, 1, 44, 48)
    mask[..., :20] = 1
    found = network(content, 0.0, mask, styles=torch.tensor([[0, 2]]))
    first, second = (transform(weights, content, style) for style in (2, 1))
    expected = torch.where(mask > 0.5, first, second)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)  # float16 weights
    header = read_header(output)
    known = {"name": "chaupar", "file": "chaupar.jpg", "sha256": sha256(PAINTING)}
    assert header["styles"] == [known, {"name": "published_0"}, {"name": "published_1"}]
    assert header["network"]["styles"] == STYLES
    assert header["network"]["scale"] == SIZES["small"].scale


@pytest.mark.parametrize("content", [None, b"not a graph"])
def test_unusable_files_are_named_in_one_line(
    content: bytes | None, tmp_path: Path, capsys
) -> None:
    graph, output = tmp_path / "styles.onnx", tmp_path / "out.safetensors"
    if content:
        graph.write_bytes(content)
    assert convert_multistyle.main([str(graph), "--output", str(output)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and str(graph) in lines[0]
    assert not output.exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("contract.0.norm.gamma", None, "contract.0.norm.gamma is missing"),
        ("res.5.1.w", None, "res.5.1.w is missing"),
        ("expand.2.w", (3, 8, 9, 9), "expand.2.w is [3, 8, 9, 9] instead of [3, 4, 9, 9]"),
        ("res.0.0.norm.beta", (3, 16), "res.0.0.norm.beta is [3, 16] instead of [3, 32]"),
    ],
)
def test_a_missing_weight_and_a_wrong_shape_are_named(
    name: str, value: tuple[int, ...] | None, message: str, tmp_path: Path, capsys
) -> None:
    weights = published()
    weights.pop(name)
    if value is not None:
        weights[name] = torch.zeros(value)
    graph, output = write_graph(tmp_path / "styles.onnx", weights), tmp_path / "out.safetensors"
    assert convert_multistyle.main([str(graph), "--output", str(output)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and not output.exists()
    assert f"convert_multistyle: {graph}: the weight {message}; name multistyle26.onnx" in lines[0]


@pytest.mark.parametrize("painting", ["3=", "-1="])
def test_an_unknown_style_number_is_refused(painting: str, tmp_path: Path, capsys) -> None:
    graph, output = write_graph(tmp_path / "s.onnx", published()), tmp_path / "out.safetensors"
    argv = [str(graph), "--painting", f"{painting}{PAINTING}", "--output", str(output)]
    try:
        code: object = convert_multistyle.main(argv)
    except SystemExit as error:
        code = error.code
    assert code == 2 and "painting" in capsys.readouterr().err
    assert not output.exists()
