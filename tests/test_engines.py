"""Exported graphs paint what the network paints, whatever runs them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from duostyle.cli import export
from duostyle.cli import paint as infer
from duostyle.export import parity
from duostyle.export.browser import for_browsers
from duostyle.export.graph import GraphSignature, export_graph
from duostyle.export.half_precision import to_fp16
from duostyle.export.parity import Parity, compare
from duostyle.inference import engine, stylize
from duostyle.inference.engine import GraphEngine
from duostyle.models import StyleNetwork
from tests.conftest import ROOT, TINY

FULL = GraphSignature(mask_output=True, strength=True)
ONES = torch.ones(1, 2)  # strength of foreground and background


def build(config) -> StyleNetwork:
    torch.manual_seed(0)
    network = StyleNetwork(config).eval().requires_grad_(False)
    torch.nn.init.normal_(network.mask_branch.refine[2].weight, std=0.1)
    return network


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[StyleNetwork, Path]:
    """A network and its graph, which takes the strength and gives the mask too."""
    network = build(TINY)
    path = tmp_path_factory.mktemp("graph") / "network.onnx"
    export_graph(network, path, FULL, header={"name": "tiny"})
    return network, path


def run(path: Path, *given: torch.Tensor) -> list[torch.Tensor]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    arrays = (value.numpy() for value in given)
    return [torch.from_numpy(r) for r in session.run(None, dict(zip(names, arrays, strict=True)))]


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (64, 97), (130, 48), (201, 203)])
def test_any_batch_and_size_is_as_in_pytorch(exported, size: tuple[int, int]) -> None:
    network, path = exported
    for batch in (1, 3):
        content, alpha = torch.rand(batch, 3, *size), torch.rand(batch)
        encoded = network.encode(content)
        expected = network.decode(encoded, alpha), encoded.mask
        for found, right in zip(run(path, content, alpha, ONES), expected, strict=True):
            assert found.shape == right.shape
            assert (found - right).abs().max() < 1e-4


def test_alpha_and_the_header_are_in_the_graph(exported) -> None:
    _, path = exported
    content = torch.rand(1, 3, 32, 32)
    own, blended = (run(path, content, torch.tensor([alpha]), ONES)[0] for alpha in (0.0, 1.0))
    assert (own - blended).abs().mean() > 1e-3
    model = onnx.load(path)
    assert json.loads({p.key: p.value for p in model.metadata_props}["duostyle"])["name"] == "tiny"
    axes = {
        port.name: [axis.dim_param or axis.dim_value for axis in port.type.tensor_type.shape.dim]
        for port in [*model.graph.input, *model.graph.output]
    }
    assert axes == {
        "content": ["batch", 3, "height", "width"],
        "alpha": ["alpha_batch"],
        "strength": ["strength_batch", 2],
        "stylized": ["batch", 3, "height", "width"],
        "mask": ["batch", 1, "height", "width"],
    }


@pytest.mark.parametrize("alphas", [[0.3], [0.0, 0.5, 1.0]])
@pytest.mark.parametrize("strengths", [[[0.4, 1.0]], [[0.0, 0.0], [0.5, 0.2], [1.0, 0.7]]])
def test_alpha_and_strength_are_one_for_all_or_one_for_each(exported, alphas, strengths) -> None:
    network, path = exported
    content = torch.rand(3, 3, 41, 58)
    alpha, strength = torch.tensor(alphas), torch.tensor(strengths)
    found, mask = run(path, content, alpha, strength)
    for number in range(3):
        one = slice(number, number + 1)
        foreground, background = strength.expand(3, 2)[number].tolist()
        wanted = stylize(
            network,
            content[one],
            alpha.expand(3)[number],
            foreground_strength=foreground,
            background_strength=background,
        )["stylized"]
        assert (found[one] - wanted).abs().max() < 1e-4
        assert (mask[one] - network.encode(content[one]).mask).abs().max() < 1e-4
        if foreground == background == 0:
            assert torch.equal(found[one], content[one])


def test_a_mask_of_ones_is_branch_1_and_swap_branch_2(tmp_path: Path) -> None:
    network = build(TINY)
    content, alpha = torch.rand(2, 3, 33, 50), torch.tensor([0.0, 0.3])
    ones = torch.ones(2, 1, 33, 50)
    view = network.inspect(content, alpha)
    for swap, expected in ((False, view.foreground), (True, view.background)):
        path = tmp_path / f"{swap}.onnx"
        export_graph(network, path, GraphSignature(mask_input=True, swap=swap))
        assert (run(path, content, alpha, ones)[0] - expected).abs().max() < 1e-4


def test_two_graphs_find_and_paint_as_one_network_does(tmp_path: Path) -> None:
    network = build(TINY)
    network.half().float()  # as a shipped checkpoint holds it
    # Enlarged for the mask branch, which needs no antialiasing.
    content, alpha = torch.rand(2, 3, 60, 75), torch.tensor([0.0, 0.6])
    finds, paints = tmp_path / "finds.onnx", tmp_path / "paints.onnx"
    for path, signature in (
        (finds, GraphSignature(mask_only=True)),
        (paints, GraphSignature(mask_input=True)),
    ):
        export_graph(network, path, signature)
        before = path.stat().st_size
        for_browsers(path)
        assert path.stat().st_size < 0.95 * before  # little of so small a graph is weights
        assert not any("antialias" in str(node) for node in onnx.load(path).graph.node)
    (mask,) = run(finds, content)
    (stylized,) = run(paints, content, alpha, mask)
    encoded = network.encode(content)
    expected = network.decode(encoded, alpha), encoded.mask
    for found, right in zip((stylized, mask), expected, strict=True):
        # Sums of weights are rounded to half precision, not their parts.
        assert (found - right).abs().max() < 0.5 / 255
        assert (found - right).abs().mean() < 2e-4


def test_a_graph_of_one_size_refuses_others(tmp_path: Path) -> None:
    network, path = build(TINY), tmp_path / "fixed.onnx"
    export_graph(network, path, size=(24, 40))
    content, alpha = torch.rand(1, 3, 24, 40), torch.zeros(1)
    assert (run(path, content, alpha)[0] - network(content, alpha)).abs().max() < 1e-4
    with pytest.raises(Exception, match="invalid dimensions"):
        run(path, torch.rand(1, 3, 24, 44), alpha)


def test_half_precision_stays_close(exported, tmp_path: Path, astronaut: Path) -> None:
    network, path = exported
    with Image.open(astronaut) as image:
        photo = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
    half = tmp_path / "half.onnx"
    half.write_bytes(path.read_bytes())
    to_fp16(half)
    assert half.stat().st_size < 0.6 * path.stat().st_size
    assert compare(network, half, FULL, [photo], (300, 300)).mean < 1 / 255


def test_parity_knows_another_network(exported) -> None:
    network, path = exported
    other = build(network.config)
    other.branch1.to_rgb.style.shift += 0.1
    found = compare(other, path, FULL, [torch.rand(1, 3, 40, 40)], (40, 40))
    assert found.largest > 0.005 and not found.within("fp32")
    assert Parity(9e-4, 9e-5).within("fp32") and not Parity(2e-3, 0).within("fp32")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> Path:
    """A folder of graphs that several engines share."""
    return tmp_path_factory.mktemp("graphs")


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_an_engine_is_called_as_the_network_is(backend: str, graphs: Path, monkeypatch) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    network = build(TINY)
    painter = GraphEngine(network, backend, "fp32", graphs, any_size=False)

    def paint(content, alpha, mask=None, swap=False, painter=painter):
        return painter.decode(painter.encode(content, mask), alpha, swap)

    content, mask = torch.rand(1, 3, 41, 60), torch.rand(1, 1, 41, 60)
    cases = ((content, 0.0), (content, torch.tensor([0.7]), mask), (content, 1.0, None, True))
    for case in cases:
        assert (paint(*case) - network(*case)).abs().max() < 1e-4
    for found, right in zip(
        painter.decode_all(painter.encode(content), 0.2),
        network.inspect(content, 0.2),
        strict=True,
    ):
        assert (found - right).abs().max() < 1e-4
    for given in (None, mask):  # in one pass, with the strength of a region outside the graph
        found = painter.decode_with_mask(painter.encode(content, given), 0.2)
        right = network.decode_with_mask(network.encode(content, given), 0.2)
        assert all((a - b).abs().max() < 1e-4 for a, b in zip(found, right, strict=True))
    found, right = (
        stylize(each, content, 0.2, background_strength=0.3)["stylized"]
        for each in (painter, network)
    )
    assert (found - right).abs().max() < 1e-4
    for bad in ((content[..., :9], 0.0), (content, 2.0), (content, 0.0, mask[..., 1:])):
        with pytest.raises(ValueError, match=r"smallest side|alpha must|mask must"):
            paint(*bad)
    alphas = torch.tensor([0.0, 0.5, 1.0, 0.2, 0.7])
    for count in (3, 5, 2):  # other batches with the same engine, side by side in OpenVINO
        several, alpha = torch.rand(count, 3, 41, 60), alphas[:count]
        assert (paint(several, alpha) - network(several, alpha)).abs().max() < 1e-4
    # Graphs are kept: another engine of the same network makes none.
    monkeypatch.setattr(engine, "export_graph", lambda *_: pytest.fail("exported again"))
    again = GraphEngine(network, backend, "fp32", graphs, any_size=False)
    assert torch.equal(paint(content, 0.0, painter=again), paint(content, 0.0))


def test_openvino_reports_to_nobody() -> None:
    pytest.importorskip("openvino_telemetry")
    code = (
        "import sys, multiprocessing\n"
        "multiprocessing.Process.start = lambda self: sys.exit('a process was started')\n"
        "from duostyle.inference.engine import openvino_loader\n"
        "openvino_loader('fp32')\n"
        "assert sys.modules['openvino_telemetry'] is None and 'openvino' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_openvino_in_bf16_is_close(graphs: Path) -> None:
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    network, content = build(TINY), torch.rand(1, 3, 41, 60)
    rough = GraphEngine(network, "openvino", "bf16", graphs, any_size=False)(content, 0.0)
    assert 0 < (rough - network(content, 0.0)).abs().mean() < 1 / 255


@pytest.mark.parametrize(("backend", "precision"), [("onnx", "bf16"), ("openvino", "fp16")])
def test_a_precision_that_a_backend_lacks_is_one_line(
    checkpoint: Path, astronaut: Path, tmp_path: Path, capsys, monkeypatch, backend, precision
) -> None:
    monkeypatch.setenv("DUOSTYLE_CACHE", str(tmp_path))
    monkeypatch.setattr(engine, "export_graph", lambda *_: None)
    argv = [str(astronaut), "-o", str(tmp_path / "o.png"), "--checkpoint", str(checkpoint)]
    assert infer.main([*argv, "--backend", backend, "--precision", precision]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and precision in lines[0]


def test_infer_paints_the_same_by_another_backend(
    checkpoint: Path, astronaut: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("DUOSTYLE_CACHE", str(tmp_path / "cache"))
    for backend in ("torch", "onnx"):
        argv = ["-o", str(tmp_path / f"{backend}.png"), "--checkpoint", str(checkpoint)]
        argv += ["--size", "96", "--backend", backend, "--precision", "fp32"]
        assert infer.main([str(astronaut), *argv]) == 0
    one, two = (
        np.array(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("torch", "onnx")
    )
    assert abs(one - two).max() <= 1
    assert list((tmp_path / "cache" / "graphs").glob("*.onnx"))


def test_export_keeps_what_exists_and_nothing_that_differs(
    checkpoint: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    path = tmp_path / "model.onnx"
    assert export.main([str(checkpoint), "-o", str(path), "--size", "64x48"]) == 0
    assert "against PyTorch" in capsys.readouterr().out
    before = path.read_bytes()
    assert export.main([str(checkpoint), "-o", str(path)]) == 2
    assert "--force" in capsys.readouterr().err
    monkeypatch.setitem(parity.TOLERANCES, "fp32", (0.0, 0.0))
    assert export.main([str(checkpoint), "-o", str(path), "--force", "--size", "64x48"]) == 2
    assert "not kept" in capsys.readouterr().err
    assert path.read_bytes() == before and list(tmp_path.glob("*.part")) == []
    assert export.main(["nothing", "-o", str(tmp_path / "new.onnx")]) == 2
    argv = [str(checkpoint), "-o", str(tmp_path / "new.onnx"), "--photos", str(tmp_path / "none")]
    assert export.main(argv) == 2
    assert "no pictures in this folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        export.main([str(checkpoint), "--size", "12x300"])
    assert stop.value.code == 2


def test_the_readme_script_needs_numpy_and_onnxruntime_alone(exported, tmp_path: Path) -> None:
    network, path = exported
    blocks = (ROOT / "docs" / "options.md").read_text().split("```python\n")[1:]
    script = next(b.split("```")[0] for b in blocks if "onnxruntime.InferenceSession" in b)
    assert len(script.strip().splitlines()) <= 15
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.ppm")
    (tmp_path / "paint.py").write_text(
        script + "assert not {'torch', 'PIL', 'onnx'} & sys.modules.keys()\n"
    )
    command = [sys.executable, "paint.py", str(path), "photo.ppm", "painted.ppm", "0.5"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with Image.open(tmp_path / "painted.ppm") as image:
        found = np.array(image).astype(int)
    expected = network(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255, 0.5)[0]
    assert abs(found - (expected.permute(1, 2, 0) * 255).round().numpy()).max() <= 1
