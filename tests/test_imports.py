"""The house plan: models, losses and data never import one another; inference imports no loss."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FOLDERS = ("models", "losses", "data", "metrics", "training", "painting", "engines")
FILES = "duostyle_files"
ALLOWED = {
    "duostyle_files.py": set(),  # what the folders share: files written whole
    "models": {FILES},
    "losses": {FILES},
    "data": {FILES},
    "engines": {"models", "data", FILES},
    "metrics": {"models", "losses", "data", "painting"},
    "training": {"models", "losses", "data", FILES},
    "painting": {"models", "data", "engines"},
    "infer.py": {"models", "data", "engines", "painting", FILES},
    "export.py": {"models", "data", "engines", FILES},
    "train.py": {"models", "losses", "data", "training", FILES},
    "evaluate.py": {"models", "losses", "data", "metrics", FILES},
    "web": {"models", "data", "engines"},
    "demo.py": {"models", "data", "infer", "train"},
}


def imports(path) -> tuple[set[str], set[str]]:
    """Our folders that a file imports from absolutely, and the roots of its relative imports."""
    absolute, relative = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            absolute |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                relative.add("." * node.level + (node.module or ""))
            else:
                absolute.add(node.module.split(".")[0])
    return absolute & {*FOLDERS, FILES, "train", "infer", "evaluate", "export", "tests"}, relative


@pytest.mark.parametrize("place", sorted(ALLOWED))
def test_only_planned_imports(place: str) -> None:
    path = ROOT / place
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    assert files
    for file in files:
        absolute, relative = imports(file)
        assert absolute <= ALLOWED[place], f"{file.name} imports {absolute - ALLOWED[place]}"
        assert not any(name.startswith("..") for name in relative), f"{file.name} leaves its folder"


def test_every_root_file_and_folder_is_in_the_plan() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "*.py"], capture_output=True, text=True
    ).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    places = {name.split("/")[0] for name in listed}
    assert places - {"tests"} == set(ALLOWED)


def test_inference_loads_neither_vgg_nor_a_segmentation_network() -> None:
    code = (
        "import sys, infer, models\n"
        "if models.shipped_checkpoints():\n"
        "    import torch\n"
        "    infer.stylize(models.load_checkpoint(models.shipped_checkpoints()[0]),\n"
        "                  torch.rand(1, 3, 32, 32))\n"
        "ours = [m for m in sys.modules if m.split('.')[0] in ('losses', 'training', 'metrics')]\n"
        "from torchvision.models import vgg, segmentation\n"
        "import gc, torch.nn as nn\n"
        "alive = [o for o in gc.get_objects() if isinstance(o, (vgg.VGG,\n"
        "         segmentation.deeplabv3.DeepLabV3))]\n"
        "assert not ours and not alive, (ours, alive)\n"
        "assert 'onnxruntime' not in sys.modules and 'data.masks' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
