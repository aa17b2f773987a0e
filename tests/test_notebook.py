"""The notebook: free of outputs, and executed with two steps of training."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT

NOTEBOOK = ROOT / "notebooks" / "train_your_pair.ipynb"


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code and all(not cell["outputs"] and not cell["execution_count"] for cell in code)


def test_the_notebook_trains_a_pair_and_paints(
    random_vgg: Path, astronaut: Path, tmp_path: Path, monkeypatch
) -> None:
    reason = "nbclient, nbformat and ipykernel come with the extra 'test'"
    for module in ("ipykernel", "nbclient"):
        pytest.importorskip(module, reason=reason)
    nbformat = pytest.importorskip("nbformat", reason=reason)
    from nbclient import NotebookClient

    monkeypatch.setenv("DUOSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    options = ["--size", "small", "--photos", "bundled", "--steps", "2", "--device", "cpu"]
    options += ["--vgg-weights", str(random_vgg), "--style-size", "64", "--photo-size", "112"]
    options += ["--crop-size", "64", "--late-crop-size", "64", "--workers", "0"]
    styles = ROOT / "assets" / "styles"
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    cell.source = "\n".join(
        [
            f"FOREGROUND = {str(styles / 'thangka.jpg')!r}",
            f"BACKGROUND = {str(styles / 'cypresses.jpg')!r}",
            f"PHOTO = {str(astronaut)!r}",
            "RUN = 'runs/mine'",
            f"OPTIONS = {options!r}",
        ]
    )
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert (tmp_path / "runs" / "mine" / "sheet.jpg").is_file()
    with Image.open(tmp_path / "painted.png") as painted, Image.open(astronaut) as photo:
        assert painted.size == photo.size
    shown = [output for c in notebook.cells for output in c.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown)
    printed = "".join(output.get("text", "") for output in shown)
    assert "next: duostyle paint" in printed
