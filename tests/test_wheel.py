"""Build the wheel and use it without the checkout, from a folder with a `models` of its own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from duostyle import load, shipped_checkpoints, stylize
from duostyle.data.bundled import LABELS
from duostyle.io.images import read_picture
from tests.conftest import ROOT

PHOTO = ROOT / "assets" / "photos" / "astronaut.jpg"


def run(folder: Path, site: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run `python ...` in a folder with the packages of `site` alone before the environment's."""
    env = os.environ | {"PYTHONPATH": str(site), "DUOSTYLE_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, *argv], cwd=folder, env=env, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the tracked files."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True
    ).stdout.split("\0")
    if listed == [""]:
        pytest.skip("not a git checkout")
    for name in filter(None, listed):
        if name.startswith(("tests/", "web/", "docs/")) or not (ROOT / name).is_file():
            continue
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*build, "--wheel-dir", str(folder), str(folder / "source")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("duostyle-*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    """Unpack the wheel as an installer does."""
    place = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(place)
    return place


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a user's folder whose `models`, `losses` and `data` must never be imported."""
    for name in ("models", "losses", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('imported {name}')\n")
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    return tmp_path


def test_only_one_package_is_installed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    tops = {name.split("/")[0] for name in names}
    assert "duostyle" in tops and all(top.startswith("duostyle") for top in tops)
    for name in shipped_checkpoints():
        assert f"duostyle/checkpoints/{name}.safetensors" in names
    assert {"duostyle/py.typed", "duostyle/training/recipes/pair.json"} <= set(names)
    labels = {f"duostyle/assets/labels/{path.name}" for path in LABELS.iterdir()}
    assert labels | {"duostyle/io/__init__.py"} <= set(names)


def test_the_wheel_paints_without_the_checkout(site: Path, elsewhere: Path) -> None:
    code = "import duostyle, duostyle.models as m; print(duostyle.__file__, m.__file__)"
    done = run(elsewhere, site, "-c", code)
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(site)) for path in done.stdout.split())
    options = ("--backend", "torch", "--precision", "fp32", "--alpha", "0.5")
    done = run(elsewhere, site, "-m", "duostyle", "paint", "photo.jpg", "-o", "out.png", *options)
    assert done.returncode == 0, done.stderr
    with Image.open(elsewhere / "out.png") as image:
        painted = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).float()
    content = read_picture(PHOTO).pixels[None]
    wanted = stylize(load(shipped_checkpoints()[0]), content, 0.5)["stylized"][0]
    wanted = (255 * wanted.permute(1, 2, 0)).round()
    assert (painted - wanted).abs().max() <= 1


def test_the_wheel_exports_and_lists(site: Path, elsewhere: Path) -> None:
    name = shipped_checkpoints()[1]
    done = run(elsewhere, site, "-m", "duostyle", "list")
    assert done.returncode == 0 and name in done.stdout, done.stderr
    argv = ("export", name, "-o", "out.onnx", "--size", "64x48")
    done = run(elsewhere, site, "-m", "duostyle", *argv)
    assert done.returncode == 0, done.stderr
    import onnxruntime

    session = onnxruntime.InferenceSession(elsewhere / "out.onnx")
    content = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(3))
    feeds = {"content": content.numpy(), "alpha": np.array([0.25], np.float32)}
    feeds["strength"] = np.ones((1, 2), np.float32)
    (stylized,) = session.run(None, feeds)
    with torch.inference_mode():
        wanted = load(name)(content, 0.25)
    assert np.abs(stylized - wanted.numpy()).max() < 1e-3
