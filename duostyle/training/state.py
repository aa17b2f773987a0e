"""The state of a run that it resumes from: weights, their average, optimizers, progress."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from duostyle.files import write_atomically
from duostyle.models import NetworkConfig, StyleNetwork, build_on_meta_device, check_finite

STATE_FILE, MODEL_FILE = "state.safetensors", "model.safetensors"
PROGRESS: dict[str, type | tuple[type, ...]] = {  # entries of the file's header, with their types
    "step": int,
    "pictures": int,
    "seconds": (int, float),
    "scaler": dict,
    "network": dict,
    "earlier": (dict, type(None)),
}
MAX_COUNT = 2**48  # of steps and pictures


@dataclass
class TrainState:
    """Everything that a run needs to continue exactly."""

    network: StyleNetwork
    average: AveragedModel  # see `optim.averaged_model`
    optimizers: Sequence[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    earlier: dict[str, Any] | None = None  # training of the checkpoint that the run started from
    step: int = 0
    pictures: int = 0
    seconds: float = 0.0  # of training, over all sessions of the run

    def save(self, folder: Path) -> None:
        """Write the state into the run's folder, atomically. Raises OSError."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.module.state_dict().items()}
        names: dict[Tensor, str] = {p: name for name, p in self.network.named_parameters()}
        for optimizer in self.optimizers:
            for parameter, slots in optimizer.state.items():
                tensors |= {f"optimizer.{k}.{names[parameter]}": v for k, v in slots.items()}
        progress = {
            "step": self.step,
            "pictures": self.pictures,
            "seconds": self.seconds,
            "scaler": self.scaler.state_dict(),
            "network": asdict(self.network.config),
            "earlier": self.earlier,
        }
        # Cloned: both branches may share their weights, which the format refuses.
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        data = save(tensors, metadata={"progress": json.dumps(progress)})
        write_atomically(folder / STATE_FILE, data)

    def load(self, folder: Path) -> None:
        """Take on a saved state.

        Raises ValueError, in one line, if the file is missing, damaged or of another network.
        """
        progress, tensors = _read(folder)
        try:
            self.network.load_state_dict(_select("network.", tensors))
            self.average.module.load_state_dict(_select("average.", tensors))
            self._load_optimizers(_select("optimizer.", tensors))
            self.scaler.load_state_dict(progress["scaler"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"{folder / STATE_FILE}: of another network ({reason})") from error
        self.step, self.pictures = progress["step"], progress["pictures"]
        self.seconds = float(progress["seconds"])
        self.earlier = progress["earlier"]
        self.average.n_averaged.fill_(self.step + 1)  # the initial weights count too

    def _load_optimizers(self, tensors: dict[str, Tensor]) -> None:
        by_parameter: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            slot, _, parameter = name.partition(".")
            by_parameter.setdefault(parameter, {})[slot] = value
        names = {parameter: name for name, parameter in self.network.named_parameters()}
        for optimizer in self.optimizers:
            groups = optimizer.state_dict()["param_groups"]
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            states = {
                index: by_parameter[names[p]]
                for index, p in enumerate(parameters)
                if names[p] in by_parameter
            }
            if len({frozenset(state) for state in states.values()}) > 1:
                raise ValueError("a part of the optimizer's state is missing")
            for index, state in states.items():
                shape = parameters[index].shape
                if any(value.dim() and value.shape != shape for value in state.values()):
                    name = names[parameters[index]]
                    raise ValueError(f"the optimizer's state of {name} has another shape")
            optimizer.load_state_dict({"state": states, "param_groups": groups})


def restore_network(folder: Path) -> StyleNetwork:
    """Build the network of a saved state. Raises ValueError as `TrainState.load` does."""
    progress, tensors = _read(folder)
    state = _select("network.", tensors)
    try:
        config = NetworkConfig.read(progress["network"])
        build_on_meta_device(config, {name: value.shape for name, value in state.items()})
        network = StyleNetwork(config)
        network.load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{folder / STATE_FILE}: of another version ({error})") from error
    return network


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    path = folder / STATE_FILE
    if not path.is_file():
        raise ValueError(f"{path}: missing; this run has saved no state yet")
    try:
        with safe_open(path, framework="pt") as file:
            progress = _read_progress(file.metadata())
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        check_finite(tensors)
        return progress, tensors
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        remedy = f"start a new run with --init {MODEL_FILE} if that is intact"
        raise ValueError(f"{path}: damaged ({error}); {remedy}") from error


def _read_progress(metadata: dict[str, str] | None) -> dict[str, Any]:
    """Return the file's header. Raises ValueError if an entry is missing or of another type."""
    progress = json.loads((metadata or {}).get("progress", "null"))
    if not isinstance(progress, dict):
        raise ValueError("it holds no state of a run")
    progress.setdefault("seconds", 0.0)  # states of version 0.1 lack it
    for name, kinds in PROGRESS.items():
        value = progress.get(name)
        if name not in progress or not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{name} is missing or unreadable")
        if isinstance(value, (int, float)) and not 0 <= value < MAX_COUNT:
            raise ValueError(f"{name} is out of range")
    return progress


def _select(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
