"""The reference solver: the per-picture optimisation that the network stands in for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from duostyle.losses.objective import ObjectiveWeights, Painting

Evaluate = Callable[[Tensor, Painting], dict[str, Tensor]]
HISTORY = 20  # updates that L-BFGS remembers
SOLVER_VERSION = 2  # one more whenever the same input would give other images

# Layers of the reference setting, before their ReLU.
REFERENCE_LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")


class Solution(NamedTuple):
    """What the solver has after a number of closures; pictures are `(1, 3, H, W)` in [0, 1]."""

    closures: int
    stylized: Tensor  # M * I1 + (1 - M) * I2
    foreground: Tensor
    background: Tensor
    terms: dict[str, float]  # weighted, by name

    @property
    def total(self) -> float:
        """The objective."""
        return sum(self.terms.values())


def reference_weights(height: int, width: int) -> ObjectiveWeights:
    """The reference method's own setting for a picture of this size, pixels.

    Style and blend on conv1_1 to conv3_1, content on conv2_2, all before their ReLU; 1e6 : 1; total
    variation 8.5e-5 on the sum of absolute differences, here as a weight of their mean.
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
    """Optimise the two images of one picture by L-BFGS; a solution for each of `marks`.

    `evaluate`: an `Objective`; `content`: `(1, 3, H, W)` in [0, 1]; `mask`: `(1, 1, H, W)` in
    [0, 1], 1 = foreground; `alpha`: in [0, 1]; `marks`: closures (the objective and its gradient,
    once), rising; `report`: takes the objective after every closure; `start`: what both images
    start at, as `content`, which is the default. Nothing is random: the same input gives the same
    images. A mark's solution is the best of the marks up to there, its values cut to [0, 1].
    Raises ValueError where the marks do not rise or the objective is not finite.
    """
    if not marks or list(marks) != sorted(set(marks)) or marks[0] < 0:
        raise ValueError(f"marks must rise from 0 or more, not {tuple(marks)}")
    start = content if start is None else start
    images = torch.cat([start, start]).detach().clone().requires_grad_()
    # One iteration a call: the same steps, and a place to look at them.
    optimizer = torch.optim.LBFGS(
        [images], max_iter=1, history_size=HISTORY, tolerance_grad=0, tolerance_change=0
    )
    best = _solution(evaluate, content, images, mask, alpha, 0)
    found: list[Solution] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        painting = _painting(images, mask, alpha)
        loss = torch.stack(list(evaluate(content, painting).values())).sum()
        loss.backward()
        return loss

    for count in range(marks[-1] + 1):
        if count in marks:
            now = _solution(evaluate, content, images, mask, alpha, count)
            best = min(best, now, key=lambda solution: solution.total)
            found.append(best._replace(closures=count))
        if count == marks[-1]:
            break
        loss = optimizer.step(closure).item()
        if not torch.isfinite(images).all():
            raise ValueError(f"the objective is not finite after {count + 1} closures")
        if report:
            report(loss)
    return found


def white_noise(content: Tensor, seed: int = 0) -> Tensor:
    """Uniform noise in [0, 1], shaped as `content`, to start at (as Johnson et al. 2016 do)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(content.shape, generator=generator).to(content)


def _painting(images: Tensor, mask: Tensor, alpha: float) -> Painting:
    first, second = images.split(1)
    share = torch.full((1,), alpha, device=images.device)
    return Painting(mask * first + (1 - mask) * second, share, mask, first, second)


@torch.no_grad()
def _solution(
    evaluate: Evaluate, content: Tensor, images: Tensor, mask: Tensor, alpha: float, count: int
) -> Solution:
    painting = _painting(images.clamp(0, 1), mask, alpha)
    terms = {name: value.item() for name, value in evaluate(content, painting).items()}
    pictures = (painting.stylized, painting.foreground, painting.background)
    return Solution(count, *pictures, terms)
