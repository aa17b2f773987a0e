"""Fixtures: shared material if it is available, and small files made at test time."""

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import vgg16

from duostyle.losses import ObjectiveWeights
from duostyle.models import NetworkConfig, StyleNetwork, save_checkpoint

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
TINY = NetworkConfig(
    channels=8,
    branch_blocks=1,
    width=2,
    mask_size=97,
    edge_width=2,
    scale=0.75,
    radius=2,
    margin=24,
)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Weights, photographs and clips that are not part of the repository; skips without them."""
    if not (SHARED / "design.md").exists():
        pytest.skip("needs ../shared (weights, photographs), which is not here")
    return SHARED


@pytest.fixture(scope="session")
def astronaut() -> Path:
    return ROOT / "assets" / "photos" / "astronaut.jpg"


@pytest.fixture
def network() -> StyleNetwork:
    torch.manual_seed(0)
    network = StyleNetwork(TINY).eval().requires_grad_(False)
    # The refinement starts at zero; with random weights the mask depends on the edges.
    torch.nn.init.normal_(network.mask_branch.refine[2].weight, std=0.1)
    return network


@pytest.fixture
def checkpoint(network: StyleNetwork, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    header = {
        "styles": [
            {"name": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in (ROOT / "assets/styles/straw_hat.jpg", ROOT / "assets/styles/cypresses.jpg")
        ],
        "training": {"style_size": 64, "foreground": ""},
        "objective": asdict(ObjectiveWeights()),
        "git_revision": "",
    }
    save_checkpoint(path, network, header)
    return path


@pytest.fixture(scope="session")
def random_vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VGG16 with random weights, for tests that do not need pretrained ones."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    state = vgg16(weights=None).features[:23].state_dict()
    save_file({f"features.{k}": v.contiguous() for k, v in state.items()}, path)
    return path


@pytest.fixture
def photo_folder(tmp_path: Path) -> tuple[Path, Path]:
    """Six photographs of noise with labels; five have a person in the middle."""
    photos, labels = tmp_path / "photos", tmp_path / "labels"
    photos.mkdir()
    labels.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (80, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
        label = np.zeros((80, 96), dtype=np.uint8)
        if number:
            label[20:60, 24:72] = 15
        Image.fromarray(label).save(labels / f"{number}.png")
    return photos, labels


@pytest.fixture(scope="session")
def brightness_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX segmentation model: bright pixels are a person, dark ones background."""
    weight = np.zeros((21, 3, 1, 1), dtype=np.float32)
    bias = np.full(21, -100, dtype=np.float32)
    weight[15], bias[15], bias[0] = 1, 0, 1.5  # red + green + blue against 1.5
    shape = ["b", 3, "h", "w"]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"])],
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 21, "h", "w"])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    path = tmp_path_factory.mktemp("model") / "brightness.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path
