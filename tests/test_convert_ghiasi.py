"""Conversion of the published network: the wider network paints as the narrow one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from duostyle.models import NetworkConfig, StyleNetwork
from duostyle.training import convert_ghiasi
from tests.conftest import ROOT

NARROW = NetworkConfig(width=4, branch_blocks=2, mask_size=97)
WIDE = NetworkConfig(width=6, branch_blocks=2, mask_size=97)
DESCRIPTION = 5  # length of a style vector


class Source(convert_ghiasi.PublishedNetwork):
    """The weights of one of our networks under the published names."""

    def __init__(self, network: StyleNetwork, norms: dict[str, torch.Tensor]) -> None:
        layers = {f"contract/conv{n}": network.encoder[i] for n, i in enumerate((0, 2, 4), start=1)}
        layers |= {f"expand/conv{n}/conv": up.conv for n, up in enumerate(network.ups, start=1)}
        layers["expand/conv3/conv"] = network.to_rgb.conv
        for number, block in enumerate(network.branch1, start=1):
            for part in ("conv1", "conv2"):
                layers[f"residual/residual{number}/{part}"] = getattr(block, part)
        self.weights = {}
        for name, layer in layers.items():
            self.weights[f"transformer/{name}/weights_dequant"] = layer.weight.numpy()
            self.weights[f"transformer/{name}/Conv2D_bias_dequant"] = layer.bias.numpy()
        self.weights |= {name: value.numpy() for name, value in norms.items()}


def described(network: StyleNetwork, descriptions: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """Draw the maps from description to norm parameters, and set `network`'s rows by them."""
    blocks = {
        f"residual/residual{n}/conv{i}": getattr(block, f"style{i}")
        for n, block in enumerate(network.branch1, start=1)
        for i in (1, 2)
    }
    layers = {f"expand/conv{n}/conv": up.style for n, up in enumerate(network.ups, start=1)}
    layers |= {"expand/conv3/conv": network.to_rgb.style, **blocks}
    found = {}
    for name, layer in layers.items():
        for part, table in (("Conv", layer.shift), ("Conv_1", layer.scale)):
            channels = table.shape[1]
            matrix = torch.randn(channels, DESCRIPTION, 1, 1)
            bias = torch.randn(channels)
            key = f"style_params/transformer/{name}/StyleNorm/{part}"
            found[f"{key}/weights_dequant"] = matrix
            found[f"{key}/Conv2D_bias_dequant"] = bias
            for row, vector in enumerate(descriptions):
                table[row, :, 0, 0] = matrix[:, :, 0, 0] @ torch.from_numpy(vector) + bias
    return found


def test_the_wider_network_paints_as_the_published_one() -> None:
    torch.manual_seed(0)
    narrow, wide = (StyleNetwork(c).eval().requires_grad_(False) for c in (NARROW, WIDE))
    descriptions = [np.random.default_rng(n).normal(size=DESCRIPTION).astype("f") for n in (0, 1)]
    source = Source(narrow, described(narrow, descriptions))
    narrow.branch2.load_state_dict(narrow.branch1.state_dict())
    convert_ghiasi.copy_transformer(wide, source, descriptions)
    content, mask = torch.rand(2, 3, 40, 44), torch.rand(2, 1, 40, 44)
    alpha = torch.tensor([0.0, 0.7])
    expected = narrow(content, alpha, mask)
    assert expected.std() > 0.05
    assert torch.allclose(wide(content, alpha, mask), expected, atol=1e-4)
    # The new channels hold something that training can use.
    assert wide.branch1[0].conv1.weight[-1].abs().max() > 0


def test_dequantizes_each_channel_by_its_own_scale(tmp_path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    values = {
        "kernel": np.array([[1, 2], [3, 4]], dtype=np.int8),
        "scale": np.array([0.5, 2], dtype=np.float32),
        "zero": np.array([0, 1], dtype=np.int8),
    }
    node = helper.make_node("DequantizeLinear", list(values), ["layer/weights_dequant"], axis=0)
    output = helper.make_tensor_value_info("layer/weights_dequant", onnx.TensorProto.FLOAT, [2, 2])
    stored = [numpy_helper.from_array(value, name) for name, value in values.items()]
    model = helper.make_model(helper.make_graph([node], "graph", [], [output], stored))
    onnx.save(model, tmp_path / "painter.onnx")
    found = convert_ghiasi.read_weights(tmp_path / "painter.onnx")["layer/weights_dequant"]
    assert found.tolist() == [[0.5, 1.0], [4.0, 6.0]]


@pytest.mark.parametrize("content", [None, b"not a graph"])
def test_unusable_files_are_named_in_one_line(
    content: bytes | None, tmp_path: Path, capsys
) -> None:
    graph, output = tmp_path / "painter.onnx", tmp_path / "pair.safetensors"
    if content:
        graph.write_bytes(content)
    styles = [str(ROOT / "assets" / "styles" / name) for name in ("irises.jpg", "chaupar.jpg")]
    argv = [str(graph), str(graph), "--styles", *styles, "--output", str(output)]
    assert convert_ghiasi.main(argv) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and str(graph) in lines[0]
    assert not output.exists()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 3, 9, 9), "conv2/weights is missing; name arbitrary_transform.onnx"),
        ((8, 3, 9), "conv1/weights is [8, 3, 9] instead of [up to 12, up to 3, 9, 9]; name"),
        ((8, 3, 3, 3), "conv1/weights is [8, 3, 3, 3] instead of"),
        ((13, 3, 9, 9), "conv1/weights is [13, 3, 9, 9] instead of"),
        ((8, 4, 9, 9), "conv1/weights is [8, 4, 9, 9] instead of"),
    ],
)
def test_a_missing_weight_and_a_wrong_shape_are_named(
    shape: tuple[int, ...], message: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    import onnx
    from onnx import helper, numpy_helper

    name = "transformer/contract/conv1/weights_dequant"  # it has this one only
    kernel = numpy_helper.from_array(np.zeros(shape, dtype=np.float32), name)
    graph = tmp_path / "painter.onnx"
    onnx.save(helper.make_model(helper.make_graph([], "graph", [], [], [kernel])), graph)
    monkeypatch.setattr(convert_ghiasi, "predict", lambda *_: np.zeros(100, dtype=np.float32))
    styles = [str(ROOT / "assets" / "styles" / name) for name in ("irises.jpg", "chaupar.jpg")]
    output = tmp_path / "pair.safetensors"
    argv = [str(graph), str(graph), "--styles", *styles, "--output", str(output)]
    assert convert_ghiasi.main(argv) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "convert_ghiasi:" in line]
    assert len(lines) == 1 and not output.exists()
    assert f"convert_ghiasi: {graph}: " in lines[0]
    assert f"the weight transformer/contract/{message}" in lines[0]


@pytest.mark.parametrize("wrong", ["weights", "Conv2D_bias"])
def test_norm_weights_of_a_wrong_shape_are_named(wrong: str) -> None:
    narrow, wide = StyleNetwork(NARROW), StyleNetwork(WIDE)
    vector = np.zeros(DESCRIPTION, dtype=np.float32)
    with torch.no_grad():
        source = Source(narrow, described(narrow, [vector, vector]))
    name = f"style_params/transformer/residual/residual1/conv1/StyleNorm/Conv/{wrong}"
    stored = source.weights[f"{name}_dequant"]
    source.weights[f"{name}_dequant"] = stored[:, 1:] if stored.ndim > 1 else stored[1:]
    source.file = Path("other.onnx")
    with pytest.raises(ValueError, match=rf"^other\.onnx: the weight style_params/.*/{wrong} is"):
        convert_ghiasi.copy_transformer(wide, source, [vector, vector])


def test_a_scale_of_a_wrong_length_is_named(tmp_path: Path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    values = {"kernel": np.zeros((2, 2)), "scale": np.zeros(3), "zero": np.zeros(3)}
    node = helper.make_node("DequantizeLinear", list(values), ["layer/weights_dequant"], axis=0)
    stored = [numpy_helper.from_array(value, name) for name, value in values.items()]
    model = helper.make_model(helper.make_graph([node], "graph", [], [], stored))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx: the weight layer/weights_dequant cannot"):
        convert_ghiasi.read_weights(tmp_path / "other.onnx")
