"""Losses against answers worked by hand."""

import pytest
import torch

from losses import (
    Objective,
    ObjectiveWeights,
    Painting,
    PerceptualNetwork,
    content_distance,
    gram,
    gram_distance,
    mask_distillation,
    tie,
    total_variation,
)
from losses.objective import shown


def test_gram_by_hand() -> None:
    # Two channels over 1x2 places: rows (1, 2) and (3, 4); F F^T = [[5, 11], [11, 25]].
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    expected = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / (2 * 1 * 2)
    assert torch.allclose(gram(features), expected)


def test_gram_of_ones_is_one_over_channels() -> None:
    assert torch.allclose(gram(torch.ones(2, 8, 5, 7)), torch.full((2, 8, 8), 1 / 8))


def test_gram_within_a_mask_is_the_gram_of_the_cut_out() -> None:
    features = torch.rand(1, 3, 4, 6)
    mask = torch.zeros(1, 1, 4, 6)
    mask[..., :2] = 1
    assert torch.allclose(gram(features, mask), gram(features[..., :2]))
    assert torch.allclose(gram(features, torch.ones(1, 1, 4, 6)), gram(features))


def test_gram_stays_float32_under_autocast() -> None:
    # 300^2 summed over 64x64 places overflows float16 and loses all digits in bfloat16.
    features = torch.full((1, 2, 64, 64), 300.0)
    with torch.autocast("cpu", torch.bfloat16):
        result = gram(features.to(torch.bfloat16))
    assert result.dtype == torch.float32
    assert torch.allclose(result, torch.full((1, 2, 2), 300.0**2 / 2))


def test_gram_distance_by_hand() -> None:
    grams = {"a": torch.ones(1, 2, 2), "b": torch.zeros(1, 1, 1)}
    targets = {"a": torch.zeros(1, 2, 2), "b": torch.full((1, 1, 1), 3.0)}
    assert gram_distance(grams, targets, {"a": 2.0, "b": 1.0}).item() == 2.0 * 1 + 9


def test_content_distance_by_hand() -> None:
    assert content_distance(torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2, 2), 3.0)).item() == 9


@pytest.mark.parametrize(("size", "expected"), [((4, 4), 2.0), ((7, 5), 2.0)])
def test_total_variation_of_a_checkerboard(size: tuple[int, int], expected: float) -> None:
    # Every neighbour differs by one, down and across.
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    board = ((rows + columns) % 2).float().expand(2, 3, *size)
    assert total_variation(board).tolist() == [expected, expected]


def test_total_variation_of_a_ramp_and_of_a_plain() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 4, 5)  # 1 across, 0 down
    assert total_variation(ramp).item() == 1.0
    assert total_variation(torch.full((1, 3, 8, 8), 0.3)).item() == 0.0


def test_tie_by_hand_and_its_gradient() -> None:
    foreground = torch.full((1, 3, 2, 2), 1.0, requires_grad=True)
    background = torch.zeros(1, 3, 2, 2, requires_grad=True)
    stylized = torch.full((1, 3, 2, 2), 0.75, requires_grad=True)
    value = tie(stylized, foreground, background, torch.full((1, 1, 2, 2), 0.25))
    assert value.item() == pytest.approx(0.5)
    value.sum().backward()
    assert foreground.grad is None and background.grad is None
    assert stylized.grad is not None


def test_mask_distillation_ends() -> None:
    target = torch.zeros(1, 1, 10, 10)
    target[..., :5, :] = 1
    right = torch.where(target > 0, 20.0, -20.0)
    assert mask_distillation(right, target).item() == pytest.approx(0, abs=1e-5)
    # All wrong: cross-entropy 20, Dice 1 - 1/(100 + 1) with one place of smoothing.
    assert mask_distillation(-right, target).item() == pytest.approx(20 + 1 - 1 / 101, abs=1e-3)


def test_mask_distillation_ignores_unknown_places() -> None:
    target, known = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    known[..., 2:, :] = 0
    logits = torch.full((1, 1, 4, 4), -20.0)
    logits[..., 2:, :] = 20  # wrong, but nobody knows
    assert mask_distillation(logits, target, known).item() == pytest.approx(0, abs=1e-5)


def test_mask_of_nothing_is_satisfied_by_nothing() -> None:
    target = torch.zeros(1, 1, 8, 8)
    assert mask_distillation(torch.full((1, 1, 8, 8), -20.0), target).item() < 1e-4


@pytest.fixture(scope="module")
def objective(random_vgg) -> Objective:
    torch.manual_seed(1)
    styles = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 40, 32) * 0.3)
    return Objective(PerceptualNetwork(random_vgg), styles, ObjectiveWeights())


def painting(alpha: float, foreground: torch.Tensor, background: torch.Tensor) -> Painting:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    merged = mask * foreground + (1 - mask) * background
    return Painting(merged, foreground, background, torch.tensor([alpha]), mask)


def test_objective_names_every_term_and_alpha_scales_the_blend(objective: Objective) -> None:
    photo, one, two = (torch.rand(1, 3, 32, 32) for _ in range(3))
    half = objective(photo, painting(0.5, one, two))
    whole = objective(photo, painting(1.0, one, two))
    none = objective(photo, painting(0.0, one, two))
    assert set(half) == {"style", "blend", "content", "branch_content", "tv", "tie"}
    assert none["blend"].item() == 0
    assert whole["blend"].item() == pytest.approx(2 * half["blend"].item())
    assert whole["style"].item() == pytest.approx(none["style"].item())


def test_style_term_vanishes_for_the_paintings_and_the_blend_for_exchanged_ones(random_vgg) -> None:
    one, two = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32) * 0.3
    weights = ObjectiveWeights(guided_style=False)  # the whole of a branch image
    objective = Objective(PerceptualNetwork(random_vgg), (one, two), weights)
    right = objective(one, painting(1.0, one, two))
    crossed = objective(one, painting(1.0, two, one))
    assert right["style"].item() == pytest.approx(0, abs=1e-6)
    assert crossed["blend"].item() == pytest.approx(0, abs=1e-6)
    assert crossed["style"].item() == pytest.approx(right["blend"].item(), rel=1e-4)


def plain_features(
    mask: torch.Tensor, shown: tuple[float, float], hidden: float
) -> dict[str, torch.Tensor]:
    """Features of both branch images: plain where they are shown, plain where they are not."""
    inside, outside = mask * shown[0] + (1 - mask) * hidden, (1 - mask) * shown[1] + mask * hidden
    both = torch.cat([inside, outside])
    return {name: both.expand(-1, 2, -1, -1) for name in ObjectiveWeights().style_layers}


def test_guided_style_looks_at_what_is_shown(random_vgg) -> None:
    styles = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    vgg, mask = PerceptualNetwork(random_vgg), painting(0.0, *styles).mask
    guided = Objective(vgg, styles, ObjectiveWeights())
    whole = Objective(vgg, styles, ObjectiveWeights(guided_style=False))
    for objective in (guided, whole):
        # Gram matrices of features that are 3 and 5 everywhere, two channels: 9 / 2 and 25 / 2.
        objective.targets = [
            dict.fromkeys(objective.weights.style_layers, torch.full((1, 2, 2), value**2 / 2))
            for value in (3.0, 5.0)
        ]
    features = plain_features(mask, shown=(3.0, 5.0), hidden=0.0)
    own, crossed = guided.style_terms(features, mask)
    assert own.item() == pytest.approx(0, abs=1e-6)
    # Each layer is (25 - 9) / 2 = 8 off in every entry, for either image; the layers weigh 12.
    assert crossed.item() == pytest.approx(2 * 12 * 8**2)
    # Over the whole, half of it empty, each Gram matrix is half of its target.
    own, _ = whole.style_terms(features, mask)
    assert own.item() == pytest.approx(12 * ((4.5 / 2) ** 2 + (12.5 / 2) ** 2))


def test_a_small_region_counts_as_the_whole() -> None:
    mask = torch.zeros(2, 1, 10, 10)
    mask[0, :, 0, :9] = 1  # 9 %
    mask[1, :, :4] = 1
    places = shown(mask)
    assert places.shape == (4, 1, 10, 10)
    assert (places[0] == 1).all() and torch.equal(places[1], mask[1])
    assert torch.equal(places[2], 1 - mask[0]) and torch.equal(places[3], 1 - mask[1])


def test_content_vanishes_for_the_photograph(objective: Objective) -> None:
    photo = torch.rand(1, 3, 32, 32)
    terms = objective(photo, painting(0.0, photo, photo))
    for name in ("content", "branch_content", "tie"):
        assert terms[name].item() == pytest.approx(0, abs=1e-6)
    expected = ObjectiveWeights().tv_weight * total_variation(photo).item()
    assert terms["tv"].item() == pytest.approx(expected, rel=1e-5)
