"""Muon for convolutions: every step as large in all directions that a kernel has."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, Jordan et al. 2024
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal (Jordan et al. 2024), for kernels `(out, in, h, w)` as matrices.

    `torch.optim.Muon` takes matrices only. As there (`match_rms_adamw`), a step is scaled so that
    Adam's learning rates serve: its root mean square is 0.2 of the rate.
    """

    def __init__(
        self, kernels: Iterable[nn.Parameter], learning_rate: float, momentum: float = 0.95
    ) -> None:
        super().__init__(kernels, {"lr": learning_rate, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move every kernel that has a gradient."""
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None:
                    self._move(kernel, group["lr"], group["momentum"])

    def _move(self, kernel: nn.Parameter, rate: float, momentum: float) -> None:
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        state["momentum"].lerp_(kernel.grad, 1 - momentum)
        ahead = kernel.grad.lerp(state["momentum"], momentum)  # Nesterov's
        step = orthogonalize(ahead.flatten(1))
        kernel.sub_(step.view(kernel.shape), alpha=rate * 0.2 * max(step.shape) ** 0.5)


def orthogonalize(matrix: Tensor) -> Tensor:
    """About `U V^T` of a matrix `U S V^T`: its singular values brought to 0.7 to 1.2."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)


def is_kernel(parameter: nn.Parameter) -> bool:
    """Whether Muon moves it: a full convolution's kernel, and not of an output's few channels."""
    return parameter.dim() == 4 and parameter.shape[0] > 3 and parameter.shape[1] > 1
