"""Losses against answers worked by hand."""

from dataclasses import replace

import pytest
import torch
from losses.tone import Key, key

from losses import (
    Objective,
    ObjectiveWeights,
    Painting,
    PerceptualNetwork,
    content_distance,
    gram,
    gram_distance,
    imitation_distance,
    mask_distillation,
    style_matrices,
    tone_distance,
    tone_target,
    total_variation,
)
from losses.objective import STYLE_STRENGTH, presence


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


def test_style_matrices_by_hand() -> None:
    # Rows (1, 3) and (2, 2): means 2 and 2, deviations (-1, 1) and (0, 0).
    features = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]])
    second_moment, covariance = style_matrices(features, covariance_weight=4.0)[0]
    assert torch.allclose(second_moment, torch.tensor([[10.0, 8.0], [8.0, 8.0]]) / 4)
    assert torch.allclose(covariance, 2 * torch.tensor([[2.0, 0.0], [0.0, 0.0]]) / 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [True, False])
def test_style_matrices_have_autograds_gradient(dtype: torch.dtype, masked: bool) -> None:
    torch.manual_seed(0)
    f = torch.randn(2, 3, 4, 5).to(dtype).requires_grad_()
    mask = torch.rand(2, 1, 4, 5) if masked else torch.ones(2, 1, 4, 5)
    share = mask / mask.sum(dim=(2, 3), keepdim=True)
    second = torch.einsum("bchw,bdhw->bcd", f.float() * share, f.float()) / 3
    mean = (f.float() * share).sum(dim=(2, 3))
    covariance = second - mean[:, :, None] * mean[:, None, :] / 3
    expected = torch.stack([second, 2 * covariance], dim=1)
    found = style_matrices(f, mask if masked else None, 4.0)
    torch.testing.assert_close(found, expected)
    toward = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, f, toward)
    (gradient,) = torch.autograd.grad(found, f, toward)
    torch.testing.assert_close(
        gradient, wanted, atol=1e-2 if dtype == torch.bfloat16 else 1e-6, rtol=1e-2
    )


def test_style_matrices_within_a_mask_are_those_of_the_cut_out() -> None:
    features, mask = torch.rand(1, 3, 4, 6), torch.zeros(1, 1, 4, 6)
    mask[..., :2] = 1
    inside = style_matrices(features, mask, 4.0)
    assert torch.allclose(inside, style_matrices(features[..., :2], None, 4.0), atol=1e-6)
    shifted = style_matrices(features + 5, mask, 4.0)
    assert torch.allclose(inside[:, 1], shifted[:, 1], atol=1e-4)  # a mean is no deviation
    assert not torch.allclose(inside[:, 0], shifted[:, 0])


def test_gram_distance_by_hand() -> None:
    grams = {"a": torch.ones(1, 2, 2), "b": torch.zeros(1, 1, 1)}
    targets = {"a": torch.zeros(1, 2, 2), "b": torch.full((1, 1, 1), 3.0)}
    assert gram_distance(grams, targets, {"a": 2.0, "b": 1.0}).item() == 2.0 * 1 + 9
    both = {"a": torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)}  # two matrices: added
    assert gram_distance(both, {"a": torch.zeros(1, 2, 1, 1)}, {"a": 3.0}).item() == 3 * (1 + 4)


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


def test_tone_by_hand() -> None:
    painted = torch.zeros(1, 3, 16, 8)
    painted[:, :, :8] = 0.5  # one of two cells half as light as white
    assert tone_distance(painted, torch.zeros(1, 1, 2, 1)).item() == pytest.approx(0.25 / 2)
    painted[:] = 0
    painted[:, 0] = 1  # red
    black = torch.zeros(1, 1, 2, 1)
    assert tone_distance(painted, black).item() == pytest.approx(0.299**2, rel=1e-5)


def test_tone_leaves_strokes_within_a_cell_alone() -> None:
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(24), indexing="ij")
    board = ((rows + columns) % 2).float().expand(1, 3, 16, 24)
    grey = torch.full((1, 1, 2, 3), 0.5)
    assert tone_distance(board, grey).item() == pytest.approx(0, abs=1e-9)
    odd = torch.ones(1, 3, 17, 9)
    assert tone_distance(odd, torch.zeros(1, 1, 3, 2)).item() == pytest.approx(1)


def test_a_painting_has_a_key() -> None:
    plain = key(torch.full((1, 3, 16, 16), 0.7))
    assert plain.mean == pytest.approx(0.7) and plain.contrast == pytest.approx(0, abs=1e-3)
    halves = torch.zeros(1, 3, 16, 16)
    halves[..., 8:] = 1  # four cells, two white: a spread of 0.577
    assert key(halves) == pytest.approx((0.5, (0.57735 / 0.2) ** 0.5), rel=1e-4)


def test_tone_is_asked_for_in_the_key_of_the_place() -> None:
    photo, mask = torch.full((2, 3, 8, 16), 0.65), torch.zeros(2, 1, 8, 16)
    mask[..., :8] = 1
    keys = (Key(0.6, 0.5), Key(0.4, 1.0))
    target = tone_target(photo, mask, torch.tensor([0.0, 1.0]), keys)
    assert target[0].flatten().tolist() == pytest.approx([0.6 + 0.5 * 0.2, 0.4 + 0.2])
    assert target[1].flatten().tolist() == pytest.approx([0.65, 0.65])  # alpha 1: an even mixture


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
    return Painting(merged, torch.tensor([alpha]), mask, foreground, background)


def test_objective_names_every_term_and_alpha_scales_the_blend(objective: Objective) -> None:
    photo, one, two = (torch.rand(1, 3, 32, 32) for _ in range(3))
    half = objective(photo, painting(0.5, one, two))
    whole = objective(photo, painting(1.0, one, two))
    none = objective(photo, painting(0.0, one, two))
    assert set(half) == {"style", "blend", "content", "tone", "tv"}
    assert none["blend"].item() == 0
    assert whole["blend"].item() == pytest.approx(2 * half["blend"].item())
    assert whole["style"].item() == pytest.approx(none["style"].item())


def test_style_term_vanishes_for_the_paintings_and_the_blend_for_exchanged_ones(random_vgg) -> None:
    one, two = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32) * 0.3
    weights = ObjectiveWeights(guided_style=False)  # the whole of both branch images
    objective = Objective(PerceptualNetwork(random_vgg), (one, two), weights)
    right = objective(one, painting(1.0, one, two))
    crossed = objective(one, painting(1.0, two, one))
    assert right["style"].item() == pytest.approx(0, abs=1e-6)
    assert crossed["blend"].item() == pytest.approx(0, abs=1e-6)
    assert crossed["style"].item() == pytest.approx(right["blend"].item(), rel=1e-4)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_guided_style_judges_either_region_of_the_blended_picture(random_vgg, share) -> None:
    weights = ObjectiveWeights(foreground_style_weight=share)
    layers = weights.style_layers
    styles = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    guided = Objective(PerceptualNetwork(random_vgg), styles, weights)
    # Gram matrices of features that are 3 and 5 everywhere, two channels: 9 / 2 and 25 / 2.
    guided.targets = [
        dict.fromkeys(layers, torch.full((1, 2, 2, 2), value**2 / 2)) for value in (3.0, 5.0)
    ]
    for target in guided.targets:
        for matrices in target.values():
            matrices[:, 1] = 0  # plain: no deviations
    view = painting(0.0, *styles)
    features = (view.mask * 3.0 + (1 - view.mask) * 5.0).expand(-1, 2, -1, -1)
    own, crossed = guided.style_terms(view, dict.fromkeys(layers, features))
    assert own.item() == pytest.approx(0, abs=1e-6)
    # Each layer is (25 - 9) / 2 = 8 off in every entry, in either region; the layers weigh 12.03.
    assert crossed.item() == pytest.approx((share + 1) * 12.03 * 8**2)
    foreground_off = torch.full_like(features, 5.0)
    own, _ = guided.style_terms(view, dict.fromkeys(layers, foreground_off))
    assert own.item() == pytest.approx(share * 12.03 * 8**2)


def test_guided_style_needs_no_branch_images_and_whole_style_judges_them_alone(random_vgg) -> None:
    vgg, photo = PerceptualNetwork(random_vgg), torch.rand(1, 3, 32, 32)
    styles = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    guided = Objective(vgg, styles, ObjectiveWeights())
    whole = Objective(vgg, styles, ObjectiveWeights(guided_style=False))
    view = painting(0.5, *styles)
    bare = view._replace(foreground=None, background=None)
    assert guided(photo, bare)["style"] == guided(photo, view)["style"]
    other = view._replace(stylized=torch.rand(1, 3, 32, 32))
    assert whole(photo, other)["style"] == whole(photo, view)["style"]
    assert guided(photo, other)["style"] != guided(photo, view)["style"]


def test_a_small_region_counts_for_what_it_is() -> None:
    mask = torch.zeros(3, 1, 10, 10)
    mask[1, :, 0, :5] = 1  # 5 %
    mask[2, :, :4] = 1
    assert presence(mask).tolist() == pytest.approx([0, 0.5, 1])


def test_an_empty_region_adds_nothing(objective: Objective) -> None:
    photo, view = torch.rand(1, 3, 32, 32), painting(1.0, *torch.rand(2, 1, 3, 32, 32))
    everywhere = view._replace(mask=torch.ones_like(view.mask))
    terms = objective(photo, everywhere)
    features = objective.vgg(view.stylized, objective.weights.style_layers)
    grams = objective.grams(features)
    own, crossed = (gram_distance(grams, t, objective.scales) for t in objective.targets)
    weight = objective.weights.style_weight
    assert terms["style"].item() == pytest.approx(weight * own.item(), rel=1e-4)
    assert terms["blend"].item() == pytest.approx(weight * crossed.item(), rel=1e-4)


def test_without_a_style_weight_the_paintings_strength_decides(random_vgg) -> None:
    vgg, layers = PerceptualNetwork(random_vgg), ("chroma",)
    weights = ObjectiveWeights(
        style_layers=layers, style_layer_weights=(1.0,), covariance_weight=0.0
    )
    # Grey's matrix is 1/3 for the constant channel and nothing else: a mean square of 1/81.
    grey, red = torch.full((1, 3, 32, 32), 0.5), torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1
    objective = Objective(vgg, (grey, grey), weights)
    assert objective.weights.style_weight == pytest.approx(STYLE_STRENGTH * 81, rel=1e-4)
    assert Objective(vgg, (grey, red), weights).weights.style_weight < STYLE_STRENGTH * 81
    named = Objective(vgg, (grey, red), replace(weights, style_weight=7.0))
    assert named.weights.style_weight == 7


def test_content_vanishes_for_the_photograph(objective: Objective) -> None:
    photo = torch.rand(1, 3, 32, 32)
    terms = objective(photo, painting(0.0, photo, photo))
    assert terms["content"].item() == pytest.approx(0, abs=1e-6)
    expected = ObjectiveWeights().tv_weight * total_variation(photo).item()
    assert terms["tv"].item() == pytest.approx(expected, rel=1e-5)


def test_imitation_is_the_mean_absolute_difference() -> None:
    one = torch.zeros(2, 3, 4, 4)
    two = torch.stack([torch.full((3, 4, 4), 0.5), torch.zeros(3, 4, 4)])
    two[1, 0, 0, 0] = -0.48
    assert imitation_distance(one, two).tolist() == pytest.approx([0.5, 0.01])
