"""Checkpoints: one safetensors file with a JSON header, and the list of those that ship.

Nothing is unpickled.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from duostyle.files import ROOT, write_atomically
from duostyle.models.config import NetworkConfig
from duostyle.models.network import StyleNetwork

SHIPPED = ROOT / "checkpoints"
LIST = "pairs.json"  # in SHIPPED; lists the pairs in order
SMALL = "-small"  # suffix of a pair's smaller network
FORMAT_VERSION = 9  # the only version that is read
Header = dict[str, Any]


@dataclass(frozen=True)
class Artwork:
    """A painting's caption."""

    title: str
    artist: str
    year: str

    def __str__(self) -> str:
        return f"{self.title} ({self.artist}, {self.year})"


def shipped_checkpoints() -> list[str]:
    """Return the names of the shipped pairs; the first is the default.

    The foundations, which pairs are trained from, are not included.
    """
    names = (name for pair in _paintings() for name in (pair, pair + SMALL))
    return [name for name in names if (SHIPPED / f"{name}.safetensors").exists()]


def describe(name: str) -> tuple[Artwork, Artwork]:
    """Return the foreground's and the background's painting of a shipped pair.

    Raises KeyError for a name that is not in `shipped_checkpoints`.
    """
    first, second = _paintings()[_pair(name)]
    return Artwork(**first), Artwork(**second)


def _pair(name: str) -> str:
    return name.removesuffix(SMALL)


def _paintings() -> dict[str, list[dict[str, str]]]:
    pairs: dict[str, list[dict[str, str]]] = json.loads((SHIPPED / LIST).read_text("utf-8"))
    return pairs


class CheckpointError(Exception):
    """A checkpoint that cannot be used, in one line that names the file and the remedy."""


def resolve(path_or_name: str | Path) -> Path:
    """Return the path of a checkpoint file, or of a shipped checkpoint by its name.

    Raises CheckpointError if neither exists.
    """
    path = Path(path_or_name)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{path_or_name}.safetensors"
    if shipped.is_file():
        return shipped
    known = ", ".join(shipped_checkpoints()) or "none"
    raise CheckpointError(f"{path_or_name}: no such checkpoint file or name (shipped: {known})")


def read_header(path_or_name: str | Path) -> Header:
    """Read a checkpoint's header; see `save_checkpoint`.

    Raises CheckpointError for a missing, foreign or damaged file, or one of another format.
    """
    path = resolve(path_or_name)
    try:
        with safe_open(path, framework="pt") as file:
            return _header(path, file.metadata())
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def load_checkpoint(path_or_name: str | Path, device: str | torch.device = "cpu") -> StyleNetwork:
    """Load a network in float32 on `device`, ready to run (`eval`, no gradients).

    `path_or_name`: a file, or the name of a shipped pair. Raises CheckpointError for a missing,
    foreign or damaged file, before memory for its tensors is allocated.
    """
    path = resolve(path_or_name)
    header = read_header(path)
    try:
        config = NetworkConfig.read(header["network"])
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            shapes = {name: file.get_slice(name).get_shape() for name in names}
            network = build_on_meta_device(config, shapes)
            state = {name: file.get_tensor(name).float() for name in names}
        check_finite(state)
        network.load_state_dict(state, assign=True)
        network.header = {k: v for k, v in header.items() if k not in ("format_version", "network")}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from error
    network = network.eval().requires_grad_(False)
    return network.to(device).to(memory_format=torch.channels_last)


def build_on_meta_device(
    config: NetworkConfig, shapes: Mapping[str, Sequence[int]]
) -> StyleNetwork:
    """Build a network on PyTorch's `meta` device, without memory for its weights.

    `shapes`: the tensors' shapes by name in a file. Raises ValueError if they do not match.
    """
    with torch.device("meta"):
        network = StyleNetwork(config)
    wanted = {name: list(value.shape) for name, value in network.state_dict().items()}
    odd = sorted(wanted.keys() ^ shapes.keys())
    if odd:
        raise ValueError(f"the tensor {odd[0]} is {'missing' if odd[0] in wanted else 'unknown'}")
    for name, shape in wanted.items():
        if list(shapes[name]) != shape:
            raise ValueError(f"the tensor {name} is {list(shapes[name])} instead of {shape}")
    return network


def check_finite(state: Mapping[str, Tensor]) -> None:
    """Raise ValueError if a tensor holds a value that is not finite."""
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"the tensor {broken[0]} is not finite")


def load_pair(path_or_name: str | Path, device: str | torch.device = "cpu") -> StyleNetwork:
    """Load the network of a pair: as `load_checkpoint`, but refuse a foundation."""
    network = load_checkpoint(path_or_name, device)
    if network.config.styles != 2:
        raise CheckpointError(
            f"{path_or_name}: a foundation of {network.config.styles} paintings, not a pair; train "
            f"one from it (duostyle train --init {path_or_name}), or name a pair"
        )
    return network


def git_revision() -> str:
    """Return the checkout's commit; empty for an installed package or without git."""
    # An installed package may lie inside the repository of another project.
    if not ((ROOT / "pyproject.toml").is_file() and (ROOT / ".git").exists()):
        return ""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def save_checkpoint(
    path: Path, network: StyleNetwork, header: Header, state: dict[str, Tensor] | None = None
) -> None:
    """Write a network's weights in float16 with a header, atomically.

    `header`: JSON values; training writes `styles` (name and SHA-256 of each image), `training`
    (settings), `objective` (weights), `seed`, `git_revision`, `pictures_seen` (pictures that this
    run has trained on) and `earlier` (the same for the run that it started from, or None). Format
    version and network config are added. `state`: weights to write instead of the network's own,
    such as their average.
    Raises ValueError if a weight overflows in float16, OSError if the file cannot be written.
    """
    half = {
        k: v.detach().cpu().half().contiguous() for k, v in (state or network.state_dict()).items()
    }
    broken = [name for name, value in half.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"{path}: not saved, {broken[0]} is not finite in float16")
    full = {"format_version": FORMAT_VERSION, "network": asdict(network.config), **header}
    write_atomically(path, save(half, metadata={"duostyle": json.dumps(full)}))


def _header(path: Path, metadata: dict[str, str] | None) -> Header:
    if not metadata or "duostyle" not in metadata:
        raise CheckpointError(f"{path}: not a Duostyle checkpoint; name one made by duostyle train")
    header = json.loads(metadata["duostyle"])
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    version = header.get("format_version")
    if not isinstance(version, int):
        raise ValueError("its header names no format")
    if version != FORMAT_VERSION:
        remedy = "train it again" if version < FORMAT_VERSION else "update Duostyle"
        raise CheckpointError(
            f"{path}: format {version}, this version reads {FORMAT_VERSION}; {remedy}"
        )
    NetworkConfig.read(header.get("network"))
    styles = header.get("styles", [])
    if not isinstance(styles, list) or not all(map(_is_style, styles)):
        raise ValueError("its list of styles is unreadable")
    for name in ("training", "objective", "earlier"):
        if not isinstance(header.get(name) or {}, dict):
            raise ValueError(f"its {name} is no object")
    return header


def _is_style(style: object) -> bool:
    """Return whether an entry of the header describes a painting: strings only."""
    return isinstance(style, dict) and all(isinstance(value, str) for value in style.values())


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, RecursionError):
        reason = "its header is nested too deeply"
    return CheckpointError(f"{path}: damaged checkpoint ({reason}); fetch or train it again")
