"""The reference solver: per-picture optimization by L-BFGS, which the network approximates."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from duostyle.losses.objective import ObjectiveInput, ObjectiveWeights

Evaluate = Callable[[Tensor, ObjectiveInput], dict[str, Tensor]]
HISTORY = 20  # updates that L-BFGS remembers
SOLVER_VERSION = 2  # increment when the same input gives other images: it invalidates caches

# Layers of the reference setting, before their ReLU.
REFERENCE_LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")


class Solution(NamedTuple):
    """The solver's result after a number of closures; images are `(1, 3, H, W)` in [0, 1]."""

    closures: int  # evaluations of the objective and its gradient
    stylized: Tensor  # M * I1 + (1 - M) * I2
    foreground: Tensor
    background: Tensor
    terms: dict[str, float]  # weighted, by name

    @property
    def total(self) -> float:
        """Return the objective."""
        return sum(self.terms.values())


def reference_weights(height: int, width: int) -> ObjectiveWeights:
    """Return the weights of the reference method for a picture of this size, pixels.

    Style and blend compare conv1_1 to conv3_1 and content compares conv2_2, all before the ReLU,
    with weights 1e6 and 1. The weight of total variation, 8.5e-5, is of the sum of absolute
    differences; `total_variation` returns their mean.
    """
    return ObjectiveWeights(
        style_weight=1e6,
        content_weight=1.0,
        fine_weight=0.0,
        palette_weight=0.0,
        tv_weight=8.5e-5 * 3 * height * width,
        style_layers=REFERENCE_LAYERS,
        style_layer_weights=(1.0,) * len(REFERENCE_LAYERS),
        content_layer="conv2_2",
        vgg_downscale=1,
        guided_style=False,
    )


def solve(
    evaluate: Evaluate,
    content: Tensor,
    mask: Tensor,
    alpha: float,
    marks: Sequence[int] = (300,),
    report: Callable[[float], None] | None = None,
    start: Tensor | None = None,
) -> list[Solution]:
    """Optimize the two branch images of one picture by L-BFGS; return a solution for each mark.

    `evaluate`: an `Objective`; `content`: `(1, 3, H, W)` in [0, 1]; `mask`: `(1, 1, H, W)` in
    [0, 1], 1 = foreground; `alpha`: in [0, 1]; `marks`: numbers of closures, ascending; `report`:
    called with the objective after every closure; `start`: initial value of both images, of the
    shape of `content`, which is the default. Deterministic. The solution of a mark is the best of
    the marks up to it, clamped to [0, 1]. Raises ValueError if the marks do not ascend or the
    objective is not finite.
    """
    if not marks or list(marks) != sorted(set(marks)) or marks[0] < 0:
        raise ValueError(f"marks must ascend from 0 or more, not {tuple(marks)}")
    start = content if start is None else start
    images = torch.cat([start, start]).detach().clone().requires_grad_()
    # One iteration per call takes the same steps, and the images can be read in between.
    optimizer = torch.optim.LBFGS(
        [images], max_iter=1, history_size=HISTORY, tolerance_grad=0, tolerance_change=0
    )
    best = _solution(evaluate, content, images, mask, alpha, 0)
    solutions: list[Solution] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        terms = evaluate(content, _blend(images, mask, alpha))
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()
        return loss

    for count in range(marks[-1] + 1):
        if count in marks:
            current = _solution(evaluate, content, images, mask, alpha, count)
            best = min(best, current, key=lambda solution: solution.total)
            solutions.append(best._replace(closures=count))
        if count == marks[-1]:
            break
        loss = optimizer.step(closure).item()
        if not torch.isfinite(images).all():
            raise ValueError(f"the objective is not finite after {count + 1} closures")
        if report:
            report(loss)
    return solutions


def white_noise(content: Tensor, seed: int = 0) -> Tensor:
    """Return uniform noise in [0, 1], shaped as `content`, to start from (Johnson et al. 2016)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(content.shape, generator=generator).to(content)


def _blend(images: Tensor, mask: Tensor, alpha: float) -> ObjectiveInput:
    foreground, background = images.split(1)
    stylized = mask * foreground + (1 - mask) * background
    alphas = torch.full((1,), alpha, device=images.device)
    return ObjectiveInput(stylized, alphas, mask, foreground, background)


@torch.no_grad()
def _solution(
    evaluate: Evaluate, content: Tensor, images: Tensor, mask: Tensor, alpha: float, count: int
) -> Solution:
    inputs = _blend(images.clamp(0, 1), mask, alpha)
    terms = {name: value.item() for name, value in evaluate(content, inputs).items()}
    foreground, background = images.clamp(0, 1).split(1)
    return Solution(count, inputs.stylized, foreground, background, terms)
