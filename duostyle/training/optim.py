"""Optimizers, learning-rate schedule and weight averaging."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from duostyle.models import ConditionalNorm, StyleNetwork
from duostyle.training.settings import TrainConfig

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic iteration
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum (Jordan et al. 2024) for kernels `(out, in, h, w)` as matrices.

    `torch.optim.Muon` refuses parameters of four dimensions and iterates in bfloat16, hence this
    class. As with its `match_rms_adamw`, the root mean square of a step is 0.2 times the learning
    rate, so that Adam's learning rates apply.
    """

    def __init__(
        self, kernels: Iterable[nn.Parameter], learning_rate: float, momentum: float = 0.95
    ) -> None:
        super().__init__(kernels, {"lr": learning_rate, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every kernel that has a gradient."""
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None:
                    self._update(kernel, kernel.grad, group["lr"], group["momentum"])

    def _update(self, kernel: nn.Parameter, grad: Tensor, rate: float, momentum: float) -> None:
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        state["momentum"].lerp_(grad, 1 - momentum)
        nesterov = grad.lerp(state["momentum"], momentum)
        step = orthogonalize(nesterov.flatten(1))
        kernel.sub_(step.view(kernel.shape), alpha=rate * 0.2 * max(step.shape) ** 0.5)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return `U V^T` of a matrix `U S V^T`, approximately: singular values from 0.7 to 1.2."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)


def is_kernel(parameter: nn.Parameter) -> bool:
    """Return whether Muon updates a parameter.

    It does for kernels of full convolutions, except with few output channels.
    """
    return parameter.dim() == 4 and parameter.shape[0] > 3 and parameter.shape[1] > 1


def norm_parameters(network: StyleNetwork) -> set[nn.Parameter]:
    """Return the styles' parameters: scale and shift of the conditional norms."""
    modules = (m for m in network.modules() if isinstance(m, ConditionalNorm))
    return {parameter for module in modules for parameter in module.parameters()}


def build_optimizers(network: StyleNetwork, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return Muon for the convolutions' kernels and Adam for the rest.

    A pretrained backbone and head get Adam too: Muon's steps are equally large in all directions
    and would soon undo the pretraining.
    """
    rate, branch = config.learning_rate, network.mask_branch
    pretrained = {
        p for part in (branch.backbone, branch.head) for p in part.parameters() if p.requires_grad
    }
    rest = [p for p in network.parameters() if p.requires_grad and p not in pretrained]
    norms = norm_parameters(network)
    kernels = [p for p in rest if is_kernel(p) and p not in norms]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if not is_kernel(p) and p not in norms]},
        {"params": [p for p in rest if p in norms], "lr": rate * config.norm_rate},
    ]
    if config.train_backbone:
        groups.append({"params": list(pretrained), "lr": rate * config.backbone_rate})
    else:  # a head that starts from random weights
        kernels += [p for p in pretrained if is_kernel(p)]
        groups[0]["params"] += [p for p in pretrained if not is_kernel(p)]
    adam = torch.optim.Adam([group for group in groups if group["params"]], rate)
    return [Muon(kernels, rate), adam] if kernels else [adam]


def learning_rate_factor(config: TrainConfig, done: int, time_share: float | None = None) -> float:
    """Return the factor of --learning-rate in the step after `done` steps.

    Linear warm-up, then half a cosine down to `final_rate`. `time_share`: share of --minutes that
    will have passed at the end of that step; None: the cosine follows --steps.
    """
    step = done + 1
    if step < config.warmup:
        return step / config.warmup
    share = time_share
    if share is None:
        share = (step - config.warmup) / max(config.steps - config.warmup, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return config.final_rate + (1 - config.final_rate) * cosine


def build_schedulers(
    optimizers: Iterable[torch.optim.Optimizer],
    config: TrainConfig,
    done: int,
    time_share: Callable[[], float | None] = lambda: None,
) -> list[LambdaLR]:
    """Return a scheduler for each optimizer.

    `done`: steps of the run so far; `time_share`: returns the argument of `learning_rate_factor`
    of the same name for the next step.
    """

    def factor(done: int) -> float:
        return learning_rate_factor(config, done, time_share())

    schedulers = []
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # LambdaLR expects it in a resumed run
        schedulers.append(LambdaLR(optimizer, factor, last_epoch=done - 1))
    return schedulers


def averaged_model(network: StyleNetwork, decay: float) -> AveragedModel:
    """Return the exponential moving average (EMA) of the weights, starting at the present ones.

    The decay warms up as `min(decay, (1 + step) / (10 + step))`. Buffers are copied.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor | int) -> None:
        step = int(count)  # the initial weights count as one
        weight = 1 - min(decay, (1 + step) / (10 + step))
        for average, value in zip(averages, weights, strict=True):
            average.lerp_(value, weight)

    average = AveragedModel(network, multi_avg_fn=update)
    average.update_parameters(network)
    return average.requires_grad_(False)
