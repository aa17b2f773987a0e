"""What a run carries from step to step, and how it is kept: weights, average, optimizers."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from duostyle.files import write_whole
from duostyle.models import NetworkConfig, StyleNetwork, check_finite, outline

STATE_FILE, MODEL_FILE = "state.safetensors", "model.safetensors"
PROGRESS = {  # what a state says of itself, by type
    "step": int,
    "pictures": int,
    "scaler": dict,
    "network": dict,
    "earlier": (dict, type(None)),
}
MOST_COUNT = 2**48  # of steps or pictures


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
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    data = save(tensors, metadata={"progress": json.dumps(progress)})
    write_whole(folder / STATE_FILE, data)


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
        _load_average(average, _under("average.", tensors))
        _load_optimizers(network, optimizers, _under("optimizer.", tensors))
        scaler.load_state_dict(progress["scaler"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{folder / STATE_FILE}: of another network ({reason})") from error
    return progress["step"], progress["pictures"]


def _load_average(average: Average, tensors: dict[str, Tensor]) -> None:
    odd = sorted(tensors.keys() ^ average.weights.keys())
    if odd:
        raise ValueError(f"the average of {odd[0]} is missing or unknown")
    for name, value in tensors.items():
        if value.shape != average.weights[name].shape:
            raise ValueError(f"the average of {name} has another shape")
        average.weights[name].copy_(value)


def _load_optimizers(
    network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    moments: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        key, _, parameter = name.partition(".")
        moments.setdefault(parameter, {})[key] = value
    names = {parameter: name for name, parameter in network.named_parameters()}
    for optimizer in optimizers:
        groups = optimizer.state_dict()["param_groups"]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        slots = {i: moments[names[p]] for i, p in enumerate(parameters) if names[p] in moments}
        if len({frozenset(slot) for slot in slots.values()}) > 1:
            raise ValueError("a part of the optimizer's state is missing")
        for index, slot in slots.items():
            shape = parameters[index].shape
            if any(value.dim() and value.shape != shape for value in slot.values()):
                raise ValueError(f"the optimizer's state of {names[parameters[index]]}: its shape")
        optimizer.load_state_dict({"state": slots, "param_groups": groups})


def restore_network(folder: Path) -> tuple[StyleNetwork, dict[str, Any] | None]:
    """The network of a saved state, and the `earlier` that was saved with it.

    Raises ValueError as `load_state` does.
    """
    progress, tensors = _read(folder)
    state = _under("network.", tensors)
    try:
        config = NetworkConfig.read(progress["network"])
        outline(config, {name: value.shape for name, value in state.items()})
        network = StyleNetwork(config)
        network.load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{folder / STATE_FILE}: of another version ({error})") from error
    return network, progress["earlier"]


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    path = folder / STATE_FILE
    if not path.is_file():
        raise ValueError(f"{path}: missing; this run made no checkpoint yet")
    try:
        with safe_open(path, framework="pt") as file:
            progress = _progress(file.metadata())
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        check_finite(tensors)
        return progress, tensors
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        remedy = f"start again, from {MODEL_FILE} by --init if it is whole"
        raise ValueError(f"{path}: damaged ({error}); {remedy}") from error


def _progress(metadata: dict[str, str] | None) -> dict[str, Any]:
    """What a state says of itself. Raises ValueError where a part is missing or of another type."""
    progress = json.loads((metadata or {}).get("progress", "null"))
    if not isinstance(progress, dict):
        raise ValueError("it says nothing of a run")
    for name, kinds in PROGRESS.items():
        value = progress.get(name)
        if name not in progress or not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{name} is missing or unreadable")
        if isinstance(value, int) and not 0 <= value < MOST_COUNT:
            raise ValueError(f"{name} is out of range")
    return progress


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
