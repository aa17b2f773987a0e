"""Models for phones: the modules without padding operators, and both converters."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.cli.export import main
from duostyle.export.mobile import build_parts, target_paths
from duostyle.export.mobile_modules import SlicedReflection, without_padding_operators
from duostyle.models import StyleNetwork, apply_strength, strength_map

SIZE = (64, 96)


@pytest.fixture
def photo() -> Tensor:
    torch.manual_seed(3)
    return F.interpolate(torch.rand(1, 3, 9, 11), SIZE, mode="bicubic").clamp(0, 1)


def test_sliced_reflection_is_reflection_padding() -> None:
    x = torch.rand(2, 3, 9, 7)
    assert torch.equal(SlicedReflection(4)(x), F.pad(x, (4,) * 4, mode="reflect"))


def test_painter_gives_the_networks_picture(network: StyleNetwork, photo: Tensor) -> None:
    mask_part, paint_part = build_parts(network, photo, SIZE)
    content, mask, alpha, strength = paint_part.inputs
    assert torch.equal(mask, mask_part.expected)
    expected = network(content, alpha, mask)
    strengths = strength_map(mask, strength[:, :1, None, None], strength[:, 1:, None, None])
    expected = apply_strength(content, expected, strengths)
    torch.testing.assert_close(paint_part.expected, expected, atol=1e-4, rtol=0)


def test_mask_is_the_networks_mask(network: StyleNetwork, photo: Tensor) -> None:
    # The mask model reduces without antialiasing; this picture is enlarged.
    network.config = replace(network.config, mask_gain=1.0, mask_bias=-2.8)  # not saturated
    found = build_parts(network, photo, SIZE)[0].expected
    expected = network.encode(photo).mask
    assert expected.std() > 0.01
    # At the border its edges read reflected pixels, the network's a wider margin.
    torch.testing.assert_close(found[..., 8:-8, 8:-8], expected[..., 8:-8, 8:-8], atol=1e-3, rtol=0)


def test_modules_hold_no_padding_operators(network: StyleNetwork, photo: Tensor) -> None:
    for part in build_parts(network, photo, SIZE):
        with torch.no_grad():
            graph = torch.export.export(part.module, part.inputs).graph
        names = {str(node.target) for node in graph.nodes}
        assert any("cat" in name for name in names)
        assert not any(re.search(r"pad|pixel_(un)?shuffle", name) for name in names), names


def test_original_network_is_left_as_it_was(network: StyleNetwork) -> None:
    before = str(network)
    without_padding_operators(network)
    assert str(network) == before


@pytest.mark.parametrize("kind, module", [("litert", "litert_torch"), ("coreml", "coremltools")])
def test_missing_converter_is_one_line(
    kind: str,
    module: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    folder = tmp_path / "new"
    arguments = [str(checkpoint), "--format", kind, "--size", "96x64", "-o", str(folder / "m")]
    assert main(arguments) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert f"pip install 'duostyle[{kind}]'" in error
    assert not folder.exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "--size"),
        (["--size", "100x64"], "multiples of 16"),
        (["--size", "96x64", "--mask-input"], "--mask-input is for --format onnx"),
    ],
)
def test_unfit_options_are_one_line(
    options: list[str],
    message: str,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(checkpoint), "--format", "litert", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("fp16", [False, True])
def test_litert_agrees_with_pytorch(
    fp16: bool, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("litert_torch", reason="LiteRT's converter is not installed")
    path = tmp_path / "tiny.tflite"
    arguments = [str(checkpoint), "--format", "litert", "--size", "96x64", "-o", str(path)]
    # The command keeps the files only if both models agree with PyTorch.
    assert main([*arguments, *["--fp16"] * fp16]) == 0
    assert "difference against PyTorch" in capsys.readouterr().out
    assert all(file.stat().st_size > 10_000 for file in target_paths(path, "litert"))


def test_core_ml_converts(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("coremltools", reason="Core ML's converter is not installed")
    path = tmp_path / "tiny.mlpackage"
    arguments = [str(checkpoint), "--format", "coreml", "--size", "96x64", "-o", str(path)]
    assert main([*arguments, "--fp16"]) == 0
    written = capsys.readouterr().out
    assert (sys.platform == "darwin") == ("difference against PyTorch" in written)
    assert all((file / "Manifest.json").is_file() for file in target_paths(path, "coreml"))
