"""The architecture: models, losses and data never import one another; inference imports no loss."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Shared helpers that import nothing of ours.
BASIC = {"constants", "files", "progress", "signals"}
ALLOWED = {
    "constants": set(),
    "files": set(),
    "progress": set(),
    "signals": set(),
    "__init__": set(),  # imports lazily
    "__main__": {"cli"},
    "models": BASIC,
    "losses": BASIC,
    "io": BASIC,
    "data": BASIC | {"io"},
    "export": BASIC | {"io", "models"},
    "inference": BASIC | {"io", "models", "export"},
    "training": BASIC | {"io", "models", "losses", "data"},
    "evaluation": BASIC | {"io", "models", "losses", "data", "inference"},
    "cli": None,  # all of them
}
LISTED = subprocess.run(
    ["git", "-C", str(ROOT), "ls-files", "*.py"], capture_output=True, text=True
).stdout.split()


def part_of(path: Path) -> str | None:
    """The part of the package that a file belongs to; None for scripts and tests."""
    places = path.relative_to(ROOT).parts
    if places[0] == "duostyle":
        places = places[1:]
    elif places[0] not in ("models", "losses", "data"):
        return None
    return places[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Parts of the package that a file imports, types among them."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}: a relative import"
            module = node.module or ""
            names = [module]
            if module == "duostyle":
                names = [f"duostyle.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            root, _, rest = name.partition(".")
            assert root not in ("models", "losses", "data"), f"{path.name} imports {name}"
            if root == "duostyle" and rest:
                found.add(rest.split(".")[0])
    return found


def test_only_planned_imports() -> None:
    if not LISTED:
        pytest.skip("not a git checkout")
    seen = set()
    for name in LISTED:
        path = ROOT / name
        part = part_of(path) if path.is_file() else None
        if part is None:
            continue
        seen.add(part)
        allowed = ALLOWED[part]
        if allowed is not None:
            odd = imported(path) - allowed - {part}
            assert not odd, f"{name} imports {odd}"
    assert seen == set(ALLOWED)


def test_inference_loads_neither_vgg_nor_a_segmentation_network() -> None:
    code = (
        "import sys, torch, duostyle\n"
        "duostyle.stylize(duostyle.load(duostyle.shipped_checkpoints()[0]),\n"
        "                 torch.rand(1, 3, 32, 32))\n"
        "odd = ('duostyle.losses', 'duostyle.training', 'duostyle.evaluation')\n"
        "ours = [m for m in sys.modules if m.startswith(odd)]\n"
        "from torchvision.models import vgg, segmentation\n"
        "import gc, torch.nn as nn\n"
        "alive = [o for o in gc.get_objects() if isinstance(o, (vgg.VGG,\n"
        "         segmentation.deeplabv3.DeepLabV3))]\n"
        "assert not ours and not alive, (ours, alive)\n"
        "assert 'onnxruntime' not in sys.modules and 'duostyle.data.masks' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_no_pytorch() -> None:
    code = "import sys, duostyle; assert duostyle.__version__ and 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
