"""Losses against answers worked by hand."""

from dataclasses import asdict, replace

import pytest
import torch

from duostyle.losses import (
    Objective,
    ObjectiveInput,
    ObjectiveWeights,
    PerceptualNetwork,
    content_distance,
    distillation_distance,
    gram,
    gram_distance,
    mask_loss,
    palette,
    palette_distance,
    total_variation,
)
from duostyle.losses.objective import (
    FINE_LAYERS,
    STYLE_STRENGTH,
    StyleTargets,
    center_window,
    compute_grams,
    region_weight,
)
from duostyle.losses.terms import QUANTILES
from duostyle.models import read_header, shipped_checkpoints
from duostyle.training import TrainConfig


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [True, False])
def test_gram_has_autograds_gradient(dtype: torch.dtype, masked: bool) -> None:
    torch.manual_seed(0)
    f = torch.randn(2, 3, 4, 5).to(dtype).requires_grad_()
    mask = torch.rand(2, 1, 4, 5) if masked else torch.ones(2, 1, 4, 5)
    share = mask / mask.sum(dim=(2, 3), keepdim=True)
    expected = torch.einsum("bchw,bdhw->bcd", f.float() * share, f.float()) / 3
    found = gram(f, mask if masked else None)
    torch.testing.assert_close(found, expected)
    toward = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, f, toward)
    (gradient,) = torch.autograd.grad(found, f, toward)
    torch.testing.assert_close(
        gradient, wanted, atol=1e-2 if dtype == torch.bfloat16 else 1e-6, rtol=1e-2
    )


def test_gram_distance_by_hand() -> None:
    grams = {"a": torch.ones(1, 2, 2), "b": torch.zeros(1, 1, 1)}
    targets = {"a": torch.zeros(1, 2, 2), "b": torch.full((1, 1, 1), 3.0)}
    assert gram_distance(grams, targets, {"a": 2.0, "b": 1.0}).item() == 2.0 * 1 + 9
    each = {"a": torch.tensor([1.0, 2.0]).view(2, 1, 1)}  # a target for each picture
    targets = {"a": torch.tensor([0.0, 5.0]).view(2, 1, 1)}
    assert gram_distance(each, targets, {"a": 3.0}).tolist() == [3 * 1, 3 * 9]


def test_content_distance_by_hand() -> None:
    assert content_distance(torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2, 2), 3.0)).item() == 9


@pytest.mark.parametrize(("size", "expected"), [((4, 4), 2.0), ((7, 5), 2.0)])
def test_total_variation_of_a_checkerboard(size: tuple[int, int], expected: float) -> None:
    # Every neighbor differs by one, down and across.
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    board = ((rows + columns) % 2).float().expand(2, 3, *size)
    assert total_variation(board).tolist() == [expected, expected]


def test_total_variation_of_a_ramp_and_of_a_plain() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 4, 5)  # 1 across, 0 down
    assert total_variation(ramp).item() == 1.0
    assert total_variation(torch.full((1, 3, 8, 8), 0.3)).item() == 0.0


def test_palette_by_hand() -> None:
    # Half black, half white: along every direction two steps, of 0 and of the direction's sum.
    halves = torch.zeros(1, 3, 16, 32)
    halves[..., 16:] = 1
    found = palette(halves)
    assert found.shape[-1] == QUANTILES and (found.diff(dim=2) >= 0).all()
    light = found[0, 0]  # (0.299, 0.587, 0.114), of length 1
    top = 1 / (0.299**2 + 0.587**2 + 0.114**2) ** 0.5
    assert light[QUANTILES // 4].item() == pytest.approx(0, abs=1e-6)
    assert light[-QUANTILES // 4].item() == pytest.approx(top, rel=1e-5)


def test_a_palette_does_not_tell_where_its_colors_are() -> None:
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    whole, target = torch.ones(1, 1, 64, 64), palette(picture)
    turned = picture.flip(2, 3)
    assert palette_distance(turned, whole, target).item() == pytest.approx(0, abs=1e-5)
    # Lighter by 0.1 in every channel: 0.1 times each direction's sum, squared, on average.
    brighter = palette_distance(picture + 0.1, whole, target).item()
    assert 0.005 < brighter < 0.03


def test_the_palette_of_a_region_is_that_of_the_cut_out() -> None:
    torch.manual_seed(0)
    picture, place = torch.rand(2, 3, 32, 64), torch.zeros(2, 1, 32, 64)
    place[..., :32] = 1
    targets = torch.cat([palette(torch.rand(1, 3, 32, 32)), palette(torch.rand(1, 3, 32, 32))])
    inside = palette_distance(picture, place, targets)
    cut = palette_distance(picture[..., :32], torch.ones(2, 1, 32, 32), targets)
    assert torch.allclose(inside, cut)
    nothing = palette_distance(picture, torch.zeros_like(place), targets)
    assert nothing.tolist() == [0, 0]


def test_palette_pulls_towards_the_paintings_colors() -> None:
    gray = torch.full((1, 3, 64, 64), 0.5) + 0.01 * torch.rand(1, 3, 64, 64)
    orange = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    picture, target = gray.clone().requires_grad_(), palette(orange)
    palette_distance(picture, torch.ones(1, 1, 64, 64), target).sum().backward()
    red, _, blue = (picture.grad[0, channel].mean().item() for channel in range(3))
    assert red < 0 < blue  # downhill: more red, less blue


def test_mask_loss_ends() -> None:
    target = torch.zeros(1, 1, 10, 10)
    target[..., :5, :] = 1
    right = torch.where(target > 0, 20.0, -20.0)
    assert mask_loss(right, target).item() == pytest.approx(0, abs=1e-5)
    # All wrong: cross-entropy 20, Dice 1 - 1/(100 + 1) with one place of smoothing.
    assert mask_loss(-right, target).item() == pytest.approx(20 + 1 - 1 / 101, abs=1e-3)


def test_mask_loss_ignores_unknown_places() -> None:
    target, known = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    known[..., 2:, :] = 0
    logits = torch.full((1, 1, 4, 4), -20.0)
    logits[..., 2:, :] = 20  # wrong, but nobody knows
    assert mask_loss(logits, target, known).item() == pytest.approx(0, abs=1e-5)


def test_mask_of_nothing_is_satisfied_by_nothing() -> None:
    target = torch.zeros(1, 1, 8, 8)
    assert mask_loss(torch.full((1, 1, 8, 8), -20.0), target).item() < 1e-4


@pytest.fixture(scope="module")
def objective(random_vgg) -> Objective:
    torch.manual_seed(1)
    styles = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 40, 32) * 0.3)
    return Objective(PerceptualNetwork(random_vgg), styles, ObjectiveWeights())


def inputs(alpha: float, foreground: torch.Tensor, background: torch.Tensor) -> ObjectiveInput:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    merged = mask * foreground + (1 - mask) * background
    return ObjectiveInput(merged, torch.tensor([alpha]), mask, foreground, background)


def test_objective_names_every_term_and_alpha_scales_the_blend(objective: Objective) -> None:
    photo, one, two = (torch.rand(1, 3, 32, 32) for _ in range(3))
    half = objective(photo, inputs(0.5, one, two))
    whole = objective(photo, inputs(1.0, one, two))
    none = objective(photo, inputs(0.0, one, two))
    assert set(half) == {"style", "blend", "content", "palette", "tv"}
    assert none["blend"].item() == 0
    assert whole["blend"].item() == pytest.approx(2 * half["blend"].item())
    assert whole["style"].item() == pytest.approx(none["style"].item())


def test_style_term_vanishes_for_the_paintings_and_the_blend_for_exchanged_ones(random_vgg) -> None:
    one, two = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32) * 0.3
    weights = ObjectiveWeights(guided_style=False, fine_weight=0)  # both branch images as wholes
    objective = Objective(PerceptualNetwork(random_vgg), (one, two), weights)
    right = objective(one, inputs(1.0, one, two))
    crossed = objective(one, inputs(1.0, two, one))
    assert right["style"].item() == pytest.approx(0, abs=1e-6)
    assert crossed["blend"].item() == pytest.approx(0, abs=1e-6)
    # Either distance has the weight of the painting that is asked for.
    assert crossed["style"].item() == pytest.approx(right["blend"].item(), rel=1e-4)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_guided_style_judges_either_region_of_the_blended_picture(random_vgg, share) -> None:
    weights = ObjectiveWeights(style_weight=2.0, foreground_style_weight=share, fine_weight=0)
    layers = weights.style_layers
    styles = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    guided = Objective(PerceptualNetwork(random_vgg), styles, weights)
    # Gram matrices of features that are 3 and 5 everywhere, two channels: 9 / 2 and 25 / 2.
    targets = [dict.fromkeys(layers, torch.full((1, 2, 2), value**2 / 2)) for value in (3.0, 5.0)]
    guided.style_targets = StyleTargets(targets, guided.style_targets.layers, weights.style_weight)
    view = inputs(0.0, *styles)
    features = (view.mask * 3.0 + (1 - view.mask) * 5.0).expand(-1, 2, -1, -1)
    own, crossed = guided.style_terms(view, dict.fromkeys(layers, features))
    assert own.item() == pytest.approx(0, abs=1e-6)
    # Each layer is (25 - 9) / 2 = 8 off in every entry, in either region; the layers weigh 33.
    assert crossed.item() == pytest.approx(2.0 * (share + 1) * 33 * 8**2)
    foreground_off = torch.full_like(features, 5.0)
    own, _ = guided.style_terms(view, dict.fromkeys(layers, foreground_off))
    assert own.item() == pytest.approx(2.0 * share * 33 * 8**2)
    turned = view._replace(styles=torch.tensor([[1, 0]]))  # the styles exchanged
    own, _ = guided.style_terms(turned, dict.fromkeys(layers, features))
    assert own.item() == pytest.approx(2.0 * (share + 1) * 33 * 8**2)


def test_fine_style_is_of_the_middle_at_full_size(random_vgg) -> None:
    vgg, weights = PerceptualNetwork(random_vgg), ObjectiveWeights(style_weight=1.0)
    styles = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    with_fine = Objective(vgg, styles, weights)
    without = Objective(vgg, styles, replace(weights, fine_weight=0))
    view = inputs(0.0, *styles)._replace(mask=torch.ones(1, 1, 32, 32))
    found = compute_grams(vgg(view.stylized[center_window(view.stylized)], FINE_LAYERS))
    expected = gram_distance(found, compute_grams(vgg(styles[0], FINE_LAYERS)), FINE_LAYERS)
    blended = vgg(view.stylized, weights.style_layers)
    more, less = (o.style_terms(view, blended)[0] for o in (with_fine, without))
    assert (more - less).item() == pytest.approx(weights.fine_weight * expected.item(), rel=1e-4)
    assert view.stylized[center_window(view.stylized)].shape == (1, 3, 16, 16)


def test_guided_style_needs_no_branch_images_and_whole_style_judges_them_alone(random_vgg) -> None:
    vgg, photo = PerceptualNetwork(random_vgg), torch.rand(1, 3, 32, 32)
    styles = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    guided = Objective(vgg, styles, ObjectiveWeights())
    whole = Objective(vgg, styles, ObjectiveWeights(guided_style=False))
    view = inputs(0.5, *styles)
    bare = view._replace(foreground=None, background=None)
    assert guided(photo, bare)["style"] == guided(photo, view)["style"]
    other = view._replace(stylized=torch.rand(1, 3, 32, 32))
    assert whole(photo, other)["style"] == whole(photo, view)["style"]
    assert guided(photo, other)["style"] != guided(photo, view)["style"]


def test_a_small_region_counts_for_what_it_is() -> None:
    mask = torch.zeros(3, 1, 10, 10)
    mask[1, :, 0, :5] = 1  # 5 %
    mask[2, :, :4] = 1
    assert region_weight(mask).tolist() == pytest.approx([0, 0.5, 1])


def test_an_empty_region_adds_nothing(random_vgg) -> None:
    vgg, styles = PerceptualNetwork(random_vgg), torch.rand(2, 1, 3, 32, 32)
    weights = ObjectiveWeights(style_weight=3.0, fine_weight=0, vgg_downscale=1)
    objective = Objective(vgg, list(styles), weights)
    photo, view = torch.rand(1, 3, 32, 32), inputs(1.0, *torch.rand(2, 1, 3, 32, 32))
    terms = objective(photo, view._replace(mask=torch.ones_like(view.mask)))
    found = compute_grams(vgg(view.stylized, weights.style_layers))
    own, crossed = (
        gram_distance(
            found, compute_grams(vgg(style, weights.style_layers)), objective.style_targets.layers
        )
        for style in styles
    )
    assert terms["style"].item() == pytest.approx(3 * own.item(), rel=1e-4)
    assert terms["blend"].item() == pytest.approx(3 * crossed.item(), rel=1e-4)


def test_without_a_style_weight_the_paintings_strength_decides() -> None:
    # Nothing is 1/3 off the first matrix and 2/3 off the second, in every entry.
    targets = [{"a": torch.full((1, 3, 3), value / 3)} for value in (1.0, 2.0)]
    free = StyleTargets(targets, {"a": 1.0}, None)
    assert free.weights.tolist() == pytest.approx([STYLE_STRENGTH * 9, STYLE_STRENGTH * 9 / 4])
    assert StyleTargets(targets, {"a": 1.0}, 7.0).weights.tolist() == [7, 7]
    zero = {"a": torch.zeros(2, 3, 3)}
    both = free.distance(zero, torch.tensor([1, 0])) * free.weights[[1, 0]]
    assert both.tolist() == pytest.approx([STYLE_STRENGTH] * 2)


def test_pictures_are_reduced_for_vgg(random_vgg) -> None:
    vgg, weights = PerceptualNetwork(random_vgg), ObjectiveWeights(vgg_downscale=2)
    small, photo = torch.rand(2, 1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    large = [x.repeat_interleave(2, 2).repeat_interleave(2, 3) for x in small]
    objective = Objective(vgg, large, weights)
    expected = compute_grams(vgg(small[0], weights.style_layers))
    for layer, found in objective.style_targets.grams.items():
        torch.testing.assert_close(found[:1], expected[layer])
    still = objective(photo, inputs(0.0, photo, photo))
    assert still["content"].item() == pytest.approx(0, abs=1e-6)


def test_content_vanishes_for_the_photograph(objective: Objective) -> None:
    photo = torch.rand(1, 3, 32, 32)
    terms = objective(photo, inputs(0.0, photo, photo))
    assert terms["content"].item() == pytest.approx(0, abs=1e-6)
    expected = ObjectiveWeights().tv_weight * total_variation(photo).item()
    assert terms["tv"].item() == pytest.approx(expected, rel=1e-5)


def test_distillation_is_the_mean_absolute_difference() -> None:
    one = torch.zeros(2, 3, 4, 4)
    two = torch.stack([torch.full((3, 4, 4), 0.5), torch.zeros(3, 4, 4)])
    two[1, 0, 0, 0] = -0.48
    assert distillation_distance(one, two).tolist() == pytest.approx([0.5, 0.01])


def test_weights_of_former_versions_are_read() -> None:
    saved = {
        "style_weight": 0.0,
        "steady_weight": 2.0,
        "imitation_weight": 3.0,
        "style_layers": ["a"],
    }
    weights = ObjectiveWeights.read(saved)
    assert weights.style_weight is None and weights.style_layers == ("a",)
    assert (weights.temporal_weight, weights.distillation_weight) == (2.0, 3.0)
    assert ObjectiveWeights.read(asdict(weights)) == weights
    with pytest.raises(ValueError, match="has no 'other'"):
        ObjectiveWeights.read({"other": 1})


def test_shipped_headers_hold_readable_weights_and_settings() -> None:
    for name in shipped_checkpoints():
        header = read_header(name)
        weights = ObjectiveWeights.read(header["objective"])
        assert weights.style_weight is None and weights.temporal_weight == 0
        earlier = ObjectiveWeights.read(header["earlier"]["objective"])
        assert earlier.style_weight is None and weights.content_weight == 1.5
        settings = TrainConfig.read(header["training"])
        assert settings.context == 24 and settings.mask_size is None and settings.foreground is None
        assert settings.objective_weights() == weights
