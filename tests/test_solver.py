"""The reference solver: known minima, exact repetition, and falling objectives."""

import pytest
import torch
from torch import Tensor

from duostyle.losses import (
    Objective,
    ObjectiveInput,
    ObjectiveWeights,
    PerceptualNetwork,
    total_variation,
)
from duostyle.losses.solver import reference_weights, solve, white_noise

CONTENT = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
MASK = torch.zeros(1, 1, 24, 32)
MASK[..., 8:20] = 1


def towards(first: float, second: float):
    """An objective whose minimum is two plain images."""

    def evaluate(content: Tensor, inputs: ObjectiveInput) -> dict[str, Tensor]:
        return {
            "first": (inputs.foreground - first).square().mean(dim=(1, 2, 3)),
            "second": 3 * (inputs.background - second).square().mean(dim=(1, 2, 3)),
        }

    return evaluate


def test_finds_a_known_minimum_and_merges_by_the_mask() -> None:
    start, end = solve(towards(0.2, 0.9), CONTENT, MASK, 0.0, marks=(0, 30))
    assert torch.equal(start.foreground, CONTENT) and torch.equal(start.background, CONTENT)
    assert start.terms["first"] == pytest.approx((CONTENT - 0.2).square().mean().item(), rel=1e-5)
    assert end.closures == 30 and end.total < 1e-6
    torch.testing.assert_close(end.stylized, (0.2 * MASK + 0.9 * (1 - MASK)).expand(1, 3, -1, -1))


def test_values_stay_within_the_pixel_range() -> None:
    (end,) = solve(towards(-0.5, 1.5), CONTENT, MASK, 0.0, marks=(20,))
    assert end.foreground.min() == 0 and end.background.max() == 1


@pytest.fixture
def objective(random_vgg) -> Objective:
    generator = torch.Generator().manual_seed(2)
    styles = tuple(torch.rand(1, 3, 32, 32, generator=generator) for _ in range(2))
    weights = ObjectiveWeights(
        style_weight=10.0, tv_weight=0.1, fine_weight=0, palette_weight=0, vgg_downscale=1
    )
    return Objective(PerceptualNetwork(random_vgg), styles, weights)


def test_takes_the_steps_of_one_long_run(objective: Objective) -> None:
    heard: list[float] = []
    marks = solve(objective, CONTENT, MASK, 0.5, marks=(0, 3, 8), report=heard.append)
    images = torch.cat([CONTENT, CONTENT]).requires_grad_()
    optimizer = torch.optim.LBFGS([images], max_iter=8, history_size=20, tolerance_change=0)
    values: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        one, two = images.split(1)
        merged = MASK * one + (1 - MASK) * two
        inputs = ObjectiveInput(merged, torch.tensor([0.5]), MASK, one, two)
        loss = sum(term.sum() for term in objective(CONTENT, inputs).values())
        loss.backward()
        values.append(loss.item())
        return loss

    optimizer.step(closure)
    assert heard == pytest.approx(values, rel=1e-4)
    totals = [solution.total for solution in marks]
    assert totals == sorted(totals, reverse=True) and totals[-1] < 0.9 * totals[0]


def test_repeats_itself_exactly(objective: Objective) -> None:
    (first,) = solve(objective, CONTENT, MASK, 1.0, marks=(4,))
    (second,) = solve(objective, CONTENT, MASK, 1.0, marks=(4,))
    assert torch.equal(first.stylized, second.stylized) and first.terms == second.terms


def test_starts_where_it_is_told() -> None:
    noise = white_noise(CONTENT)
    assert torch.equal(noise, white_noise(CONTENT)) and noise.shape == CONTENT.shape
    assert not torch.equal(noise, white_noise(CONTENT, seed=1))
    assert noise.mean().item() == pytest.approx(0.5, abs=0.05)
    start, end = solve(towards(0.2, 0.9), CONTENT, MASK, 0.0, marks=(0, 30), start=noise)
    assert torch.equal(start.foreground, noise) and end.total < 1e-6


def test_marks_and_divergence_are_refused() -> None:
    for marks in ((), (3, 1), (1, 1), (-1, 2)):
        with pytest.raises(ValueError, match="marks must ascend"):
            solve(towards(0, 1), CONTENT, MASK, 0.0, marks=marks)
    with pytest.raises(ValueError, match="not finite after 1 closures"):
        solve(lambda _, p: {"a": (p.foreground * torch.inf).sum()}, CONTENT, MASK, 0.0, marks=(2,))


def test_reference_setting() -> None:
    weights = reference_weights(64, 48)
    board = (torch.arange(64)[:, None] + torch.arange(48)) % 2
    board = board.float().expand(1, 3, -1, -1)
    summed = 3 * (63 * 48 + 64 * 47)  # every neighbor differs by one
    term = weights.tv_weight * total_variation(board)
    assert term.item() == pytest.approx(8.5e-5 * summed, rel=0.03)
    assert weights.content_layer == "conv2_2" and not weights.guided_style
    assert (weights.style_weight, weights.content_weight) == (1e6, 1)
    assert weights.style_layers == ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
    assert weights.style_layer_weights == (1.0,) * 5
