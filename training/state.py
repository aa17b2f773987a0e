"""What a run carries from step to step, and how it is kept: weights, average, optimizers."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models import NetworkConfig, StyleNetwork

STATE_FILE = "state.safetensors"


class Average:
    """Exponential moving average of a network's weights, in float32."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network's weights; faster in the first steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)


def save_state(
    folder: Path,
    step: int,
    pictures: int,
    network: StyleNetwork,
    average: Average,
    optimizers: Sequence[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
    earlier: dict[str, Any] | None,
) -> None:
    """Write everything needed to go on exactly, whole or not at all."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.weights.items()}
    names = {parameter: name for name, parameter in network.named_parameters()}
    for optimizer in optimizers:
        for parameter, slots in optimizer.state.items():
            tensors |= {f"optimizer.{k}.{names[parameter]}": v for k, v in slots.items()}
    progress = {
        "step": step,
        "pictures": pictures,
        "scaler": scaler.state_dict(),
        "network": asdict(network.config),
        "earlier": earlier,
    }
    part = folder / f".{STATE_FILE}.part"
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    save_file(tensors, part, metadata={"progress": json.dumps(progress)})
    part.replace(folder / STATE_FILE)


def load_state(
    folder: Path,
    network: nn.Module,
    average: Average,
    optimizers: Sequence[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
) -> tuple[int, int]:
    """Take up a saved state; returns (steps done, pictures seen).

    Raises ValueError where the file is missing, damaged or of another network.
    """
    progress, tensors = _read(folder)
    try:
        network.load_state_dict(_under("network.", tensors))
    except RuntimeError as error:
        raise ValueError(f"{folder / STATE_FILE}: of another network ({error})") from error
    for name, value in _under("average.", tensors).items():
        average.weights[name].copy_(value)
    moments: dict[str, dict[str, Tensor]] = {}
    for name, value in _under("optimizer.", tensors).items():
        key, _, parameter = name.partition(".")
        moments.setdefault(parameter, {})[key] = value
    names = {parameter: name for name, parameter in network.named_parameters()}
    for optimizer in optimizers:
        groups = optimizer.state_dict()["param_groups"]
        held = [names[p] for group in optimizer.param_groups for p in group["params"]]
        slots = {index: moments[name] for index, name in enumerate(held) if name in moments}
        optimizer.load_state_dict({"state": slots, "param_groups": groups})
    scaler.load_state_dict(progress["scaler"])
    return progress["step"], progress["pictures"]


def restore_network(folder: Path) -> tuple[StyleNetwork, dict[str, Any] | None]:
    """The network of a saved state, and the `earlier` that was saved with it.

    Raises ValueError as `load_state` does.
    """
    progress, tensors = _read(folder)
    try:
        network = StyleNetwork(NetworkConfig(**progress["network"]))
        network.load_state_dict(_under("network.", tensors))
        return network, progress["earlier"]
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{folder / STATE_FILE}: of another version ({error})") from error


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    path = folder / STATE_FILE
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            return progress, {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path}: missing; this run made no checkpoint yet") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error})") from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
