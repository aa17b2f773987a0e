"""The example scripts."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from duostyle import load, stylize_image
from duostyle.models import StyleNetwork, save_checkpoint
from tests.conftest import ROOT


@pytest.fixture
def script():
    path = ROOT / "examples" / "stylize_folder_ray.py"
    spec = importlib.util.spec_from_file_location("stylize_folder_ray", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "more/a.png")):
        Image.linear_gradient("L").rotate(90 * number).resize((48, 32)).convert("RGB").save(
            folder / name
        )
    return folder


def painted_as_by(network: StyleNetwork, photo: Path, result: Path) -> bool:
    expected = stylize_image(network, photo, 0.5)
    with Image.open(result) as image:
        return image.tobytes() == expected.tobytes()


def test_the_painter_maps_a_row_and_reports_errors(
    script, checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    painter = script.PicturePainter(str(checkpoint), 0.5, "cpu", threads)
    rows = script.find_pictures(pictures, tmp_path / "out")
    assert [Path(row["target"]).relative_to(tmp_path / "out") for row in rows] == [
        Path("a.png.png"), Path("b.png.png"), Path("more/a.png.png")
    ]  # fmt: skip
    assert painter(rows[0])["error"] == ""
    assert painted_as_by(load(checkpoint), pictures / "a.png", tmp_path / "out" / "a.png.png")
    assert len(script.find_pictures(pictures, tmp_path / "out")) == 2  # the first one is done
    (pictures / "b.png").write_bytes(b"no picture")
    assert "b.png" in painter(rows[1])["error"]


def test_without_ray_one_line_names_the_package(
    script, pictures: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert script.main([str(pictures), str(pictures / "out")]) == 2
    says = "stylize_folder_ray: Ray is not installed; pip install 'ray[data]'\n"
    assert capsys.readouterr().err == says


def test_a_local_ray_paints_a_folder(
    script, network: StyleNetwork, pictures: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    checkpoint, output = tmp_path / "pair.safetensors", tmp_path / "out"
    save_checkpoint(checkpoint, network, {"styles": [{"name": "a"}, {"name": "b"}]})
    (pictures / "c.png").write_bytes(b"no picture")
    argv = [str(pictures), str(output), "--checkpoint", str(checkpoint), "--alpha", "0.5"]
    try:
        ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
        assert script.main([*argv, "--workers", "1"]) == 1
        said = capsys.readouterr()
        assert "3 pictures painted into" in said.out and "c.png" in said.err
        (pictures / "c.png").unlink()
        assert script.main(argv) == 0
        assert "0 pictures painted: all of them are done" in capsys.readouterr().out
    finally:
        ray.shutdown()
    for name in ("a.png", "b.png", "more/a.png"):
        assert painted_as_by(load(checkpoint), pictures / name, output / f"{name}.png")
