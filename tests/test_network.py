"""The network's contracts: sizes, alpha, mask, one pass."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from duostyle.constants import IMAGENET_MEAN, IMAGENET_STD
from duostyle.models import SIZES, Inspection, NetworkConfig, StyleNetwork, tiling
from duostyle.models.layers import CellConv, ConditionalNorm, DoublingConv, conv, instance_norm
from duostyle.models.mask import _absorb_imagenet_statistics, backbone
from duostyle.models.network import other_style_weight
from tests.conftest import TINY

SIZES_TAKEN = [(16, 16), (17, 16), (31, 64), (33, 47), (64, 64), (61, 130), (16, 300)]


@pytest.mark.parametrize("size", SIZES_TAKEN)
def test_output_size_is_input_size(network: StyleNetwork, size: tuple[int, int]) -> None:
    content = torch.rand(2, 3, *size)
    view = network.inspect(content, torch.tensor([0.0, 1.0]))
    assert isinstance(view, Inspection)
    for picture in (network(content, 0.5), *view):
        assert picture.shape[-2:] == size
        assert picture.dtype == torch.float32
        assert picture.min() >= 0 and picture.max() <= 1


def test_inspect_blends_as_a_plain_call_does(network: StyleNetwork) -> None:
    content, mask = torch.rand(1, 3, 40, 44), torch.rand(1, 1, 40, 44)
    for given in (None, mask):
        view = network.inspect(content, 0.3, given)
        assert torch.equal(view.stylized, network(content, 0.3, given))
    assert torch.equal(view.mask, mask)


def test_mask_all_ones_is_branch_1_and_all_zeros_branch_2(network: StyleNetwork) -> None:
    content = torch.rand(1, 3, 37, 50)
    ones = torch.ones(1, 1, 37, 50)
    view = network.inspect(content, 0.2)
    assert torch.allclose(network(content, 0.2, ones), view.foreground, atol=1e-6)
    assert torch.allclose(network(content, 0.2, 1 - ones), view.background, atol=1e-6)
    assert not torch.allclose(view.foreground, view.background, atol=1e-2)


def test_away_from_the_seam_the_blend_is_the_branch_image(network: StyleNetwork) -> None:
    content = torch.rand(1, 3, 64, 96)
    mask = torch.zeros(1, 1, 64, 96)
    mask[..., :48] = 1
    view = network.inspect(content, 0.0, mask)
    # The decoder's norms share statistics over the whole picture: alike up to scale and shift.
    for part, branch in ((slice(0, 32), view.foreground), (slice(64, 96), view.background)):
        for channel in range(3):
            ours, own = (
                torch.logit(x[0, channel, :, part].flatten()) for x in (view.stylized, branch)
            )
            assert torch.corrcoef(torch.stack([ours, own]))[0, 1] > 0.9


def test_swap_exchanges_the_styles(network: StyleNetwork) -> None:
    content = torch.rand(1, 3, 32, 48)
    plain, swapped = network.inspect(content, 0.0), network.inspect(content, 0.0, swap=True)
    assert torch.equal(plain.mask, swapped.mask)
    assert torch.allclose(plain.foreground, swapped.background, atol=1e-6)
    inverted = network(content, 0.0, 1 - plain.mask)
    assert torch.allclose(network(content, 0.0, swap=True), inverted, atol=1e-5)


def test_alpha_is_one_a_picture(network: StyleNetwork) -> None:
    content = torch.rand(1, 3, 32, 32).repeat(3, 1, 1, 1)
    alphas = (0.0, 0.4, 1.0)
    together = network(content, torch.tensor(alphas))
    for picture, alpha in zip(together, alphas, strict=True):
        assert torch.allclose(picture, network(content[:1], alpha)[0], atol=1e-5)
    assert not torch.allclose(together[0], together[2], atol=1e-3)


def test_at_alpha_1_both_regions_have_the_same_even_mixture(network: StyleNetwork) -> None:
    network.branch2.load_state_dict(network.branch1.state_dict())
    content, mask = torch.rand(1, 3, 48, 40), torch.zeros(1, 1, 48, 40)
    torch.testing.assert_close(network(content, 1.0, mask), network(content, 1.0, 1 - mask))
    own = network(content, 0.0, mask), network(content, 0.0, 1 - mask)
    assert (own[0] - own[1]).abs().mean() > 0.02


def test_share_minimizes_the_distances_to_both_gram_matrices() -> None:
    own, other = torch.tensor(2.0), torch.tensor(5.0)
    for alpha in (0.0, 0.3, 1.0):
        mixtures = torch.lerp(own, other, torch.linspace(0, 1, 1001))
        losses = (mixtures - own).square() + alpha * (mixtures - other).square()
        best = torch.lerp(own, other, other_style_weight(torch.tensor(alpha)))
        torch.testing.assert_close(mixtures[losses.argmin()], best, atol=2e-3, rtol=0)


def test_one_call_runs_each_part_once(network: StyleNetwork) -> None:
    calls: Counter[str] = Counter()
    names = [n for n, m in network.named_modules() if not list(m.children()) and n]
    for name in names:
        module = network.get_submodule(name)
        if not isinstance(module, nn.Identity):
            module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    network(torch.rand(1, 3, 48, 48), 0.5)
    expected = {n for n in names if not isinstance(network.get_submodule(n), nn.Identity)}
    assert dict(calls) == dict.fromkeys(expected, 1)


def count_calls(network: StyleNetwork, *names: str) -> Counter[str]:
    """Count the calls of these parts from now on."""
    calls: Counter[str] = Counter()
    for name in names:
        part = network.get_submodule(name)
        part.register_forward_hook(lambda *_, name=name: calls.update([name]))
    return calls


@pytest.mark.parametrize("given", [False, True])
def test_several_alphas_through_one_encoding_are_separate_calls(
    network: StyleNetwork, given: bool
) -> None:
    content = torch.rand(2, 3, 41, 50)
    mask = torch.rand(2, 1, 41, 50) if given else None
    alphas = (0.0, 0.3, torch.tensor([1.0, 0.6]))
    separate = [network(content, alpha, mask, swap) for alpha in alphas for swap in (False, True)]
    view = network.inspect(content, 0.3, mask)
    calls = count_calls(network, "stem", "mask_branch", "branch1.blocks.0")
    encoded = network.encode(content, mask)
    together = [network.decode(encoded, alpha, swap) for alpha in alphas for swap in (False, True)]
    for one, other in zip(together, separate, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(network.decode_all(encoded, 0.3), view, strict=True):
        assert torch.equal(one, other)
    once = {"stem": 1, "mask_branch": 0 if given else 1}
    assert calls == Counter({**once, "branch1.blocks.0": len(together) + 1})


def test_branch_images_encode_once_and_run_the_style_branches_once(network: StyleNetwork) -> None:
    parts = ("stem", "mask_branch", "branch1.to_rgb.conv", "branch2.to_rgb.conv")
    calls = count_calls(network, *parts)
    network.inspect(torch.rand(1, 3, 40, 40), 0.5)
    assert calls == Counter(dict.fromkeys(parts, 1))


def test_context_and_styles_belong_to_the_encoding() -> None:
    torch.manual_seed(0)
    network = StyleNetwork(replace(TINY, styles=3)).eval().requires_grad_(False)
    content, mask = torch.rand(1, 3, 64, 48), torch.rand(1, 1, 64, 48)
    styles = torch.tensor([[2, 0]])
    encoded = network.encode(content, mask, context=8, styles=styles)
    assert torch.equal(encoded.mask, mask)
    painted = network.decode(encoded, 0.2)
    assert painted.shape == (1, 3, 48, 32)
    assert torch.equal(painted, network(content, 0.2, mask, context=8, styles=styles))
    assert not torch.allclose(painted, network(content, 0.2, mask, context=8), atol=1e-2)


def test_decoding_in_strips_changes_nothing(
    network: StyleNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = torch.rand(1, 3, 203, 61)
    with torch.no_grad():
        whole = network(content, 0.3)
        monkeypatch.setattr(tiling, "STRIP_PIXELS", 64 * 16)
        monkeypatch.setattr(tiling, "DECODED_PIXELS", 64 * 16)
        strips = network(content, 0.3)
    assert torch.allclose(whole, strips, atol=1e-6)


def test_a_batch_is_painted_as_its_pictures_are(network: StyleNetwork) -> None:
    content = torch.rand(2, 3, 40, 40)
    together = network(content, 0.0)
    assert torch.allclose(together[1], network(content[1:], 0.0)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("content", "alpha", "mask", "says"),
    [
        (torch.rand(3, 32, 32), 0.0, None, r"\(B, 3, H, W\)"),
        (torch.rand(1, 4, 32, 32), 0.0, None, r"\(B, 3, H, W\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 0.0, None, "float"),
        (torch.rand(1, 3, 15, 32), 0.0, None, "smallest side taken is 16"),
        (torch.rand(1, 3, 32, 32), 1.5, None, "alpha must lie in"),
        (torch.rand(1, 3, 32, 32), torch.rand(2), None, "alpha must be"),
        (torch.rand(1, 3, 32, 32), torch.tensor([-0.1]), None, "alpha must lie in"),
        (torch.rand(1, 3, 32, 32), 0.0, torch.rand(1, 1, 32, 30), "mask must be"),
    ],
)
def test_bad_arguments_are_named(network: StyleNetwork, content, alpha, mask, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        network(content, alpha, mask)


def test_instance_norm_by_hand() -> None:
    x = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(1, 1, 2, 2)  # mean 4, variance 5
    one = torch.ones(1, 1, 1, 1)
    expected = (x - 4) / 5**0.5 * 2 + 10
    assert torch.allclose(instance_norm(x, 2 * one, 10 * one, eps=0), expected)


@pytest.mark.parametrize("batch", [1, 3])  # of scale and shift
def test_instance_norm_has_autograds_gradient(batch: int) -> None:
    torch.manual_seed(0)
    leaves = [torch.randn(3, 2, 5, 4), torch.randn(batch, 2, 1, 1), torch.randn(batch, 2, 1, 1)]
    leaves = [x.requires_grad_() for x in leaves]
    x, gamma, beta = leaves
    variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
    expected = (x - mean) / (variance + 1e-5).sqrt() * gamma + beta
    toward = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, leaves, toward)
    found = torch.autograd.grad(instance_norm(x, gamma, beta), leaves, toward)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_instance_norm_keeps_its_statistics_in_float32() -> None:
    x = (1000 + torch.randn(1, 1, 512, 512)).bfloat16()
    one = torch.ones(1, 1, 1, 1)
    reference = instance_norm(x.float(), one, 0 * one)
    assert instance_norm(x, one, 0 * one).dtype == torch.bfloat16
    assert (instance_norm(x, one, 0 * one).float() - reference).abs().max() < 0.05


def test_conditional_norm_is_linear_between_its_styles() -> None:
    norm = ConditionalNorm(3)
    for weight, row in ((1.0, 0), (0.0, 1)):
        gamma, beta = norm.mixed(torch.tensor([[[[weight]]]]))
        assert torch.allclose(gamma[0], norm.scale[row])
        assert torch.allclose(beta[0], norm.shift[row])


def test_conditional_norm_takes_each_pictures_two_styles() -> None:
    norm, x = ConditionalNorm(3, styles=4), torch.rand(2, 3, 5, 6)
    styles, weight = torch.tensor([[3, 1], [0, 2]]), torch.rand(2, 1, 5, 6)
    found = norm(x, weight, styles)
    for number, (first, second) in enumerate(styles.tolist()):
        mean, variance = x[number].mean((1, 2)), x[number].var((1, 2), correction=0)
        normal = (x[number] - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        w = weight[number]
        scale = w * norm.scale[first] + (1 - w) * norm.scale[second]
        shift = w * norm.shift[first] + (1 - w) * norm.shift[second]
        torch.testing.assert_close(found[number], normal * scale + shift, atol=1e-5, rtol=1e-4)
    with torch.no_grad():  # another path, the same result
        torch.testing.assert_close(norm(x, weight, styles), found, atol=1e-5, rtol=1e-4)


def test_mask_branch_sees_sides_of_32k_plus_1(network: StyleNetwork) -> None:
    for sides, seen in {(64, 64): (97, 97), (200, 100): (129, 65), (16, 640): (33, 609)}.items():
        stages = network.mask_branch.pyramid(torch.rand(1, 3, *sides))
        assert tuple((side - 1) * 4 + 1 for side in stages[0].shape[-2:]) == seen


def test_mask_is_decided_by_gain_and_bias(network: StyleNetwork) -> None:
    network.train()  # without a margin, as `mask_logits` is for
    content = torch.rand(1, 3, 64, 48)
    expected = torch.sigmoid(3.0 * (network.mask_logits(content) + 1.0))
    torch.testing.assert_close(network.inspect(content, 0.0).mask, expected, rtol=0, atol=1e-5)


def test_context_is_read_and_not_painted(network: StyleNetwork) -> None:
    network.train()  # no margin of its own: the same picture with and without
    content, mask = torch.rand(1, 3, 112, 96), (torch.rand(1, 1, 112, 96) > 0.5).float()
    whole = network(content, 0.3, mask)
    inner = network(content, 0.3, mask, context=24)
    # Only the decoder's norms have other statistics: scale and shift of each channel.
    for channel in range(3):
        ours, own = (
            torch.logit(x[0, channel].flatten()) for x in (inner, whole[..., 24:-24, 24:-24])
        )
        assert torch.corrcoef(torch.stack([ours, own]))[0, 1] > 0.98
    with pytest.raises(ValueError, match="multiple of 4"):
        network(content, 0.3, mask, context=6)
    with pytest.raises(ValueError, match="multiple of 4"):
        network(content, 0.3, mask, context=48)


def test_nothing_of_the_content_bypasses_the_features(network: StyleNetwork) -> None:
    content, mask = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    encoded = network.encode(content, mask)
    painted = network.decode(encoded._replace(features=0 * encoded.features), 0.0)
    # Features without detail: the picture is even, but for rounding that the norms enlarge.
    assert (painted - painted.mean(dim=(2, 3), keepdim=True)).abs().max() < 0.05
    assert network.decode(encoded, 0.0).std() > 0.05


def test_doubling_is_nearest_and_a_reflecting_convolution() -> None:
    layer, plain = DoublingConv(6, 5), conv(6, 5, 3)
    plain.load_state_dict(layer.state_dict())
    for size in ((1, 2), (7, 9)):
        x = torch.rand(2, 6, *size)
        expected = plain(nn.functional.interpolate(x, scale_factor=2, mode="nearest"))
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("kernel", [3, 5, 9])
def test_convolution_on_cells_is_a_reflecting_convolution(kernel: int) -> None:
    layer, plain = CellConv(4, 3, kernel), conv(4, 3, kernel)
    plain.load_state_dict(layer.state_dict())
    for size in ((6, 8), (12, 10)):
        x = torch.rand(2, 4, *size)
        torch.testing.assert_close(layer(x), plain(x))
        layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    layer(x).square().sum().backward()
    plain(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad)


def test_backbone_has_no_batch_norm_left() -> None:
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone(16).modules())


def test_a_dilated_backbone_sees_the_same_and_twice_as_often() -> None:
    torch.manual_seed(0)
    coarse, fine = backbone(32), backbone(16)
    fine.load_state_dict(coarse.state_dict())
    x = torch.rand(1, 3, 97, 129) * 2 - 1
    with torch.no_grad():
        often, rarely = fine(x), coarse(x)
    assert often.shape[-2:] == (7, 9)
    torch.testing.assert_close(often[..., ::2, ::2], rarely)
    with pytest.raises(ValueError, match="stride of 16 or 32, not 8"):
        backbone(8)


def test_shipped_backbone_file_folds_exactly(shared) -> None:
    from safetensors.torch import load_file
    from torchvision.models import mobilenet_v2

    from duostyle.models import pretrained_backbone

    path = shared / "weights" / "mobilenet_v2_voc_features.safetensors"
    plain = mobilenet_v2(weights=None).features[:18].eval()
    state = {k.removeprefix("features."): v.float() for k, v in load_file(path).items()}
    plain.load_state_dict(state)
    x = torch.rand(1, 3, 65, 65) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(plain(x), pretrained_backbone(path)(x), atol=1e-3)


def test_imagenet_statistics_move_into_the_stem() -> None:
    stem, norm = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4).eval()
    picture = torch.rand(1, 3, 5, 5)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        expected = norm(stem((picture - mean) / std))
        _absorb_imagenet_statistics(stem, norm)
        assert torch.allclose(norm(stem(2 * picture - 1)), expected, atol=1e-5)


def test_sizes_keep_their_budget() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    budget = {"small": 4.2e9, "base": 6.2e9}  # multiply-adds at 256x256, margin included
    for name, config in SIZES.items():
        assert isinstance(config, NetworkConfig)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            StyleNetwork(config).eval()(torch.rand(1, 3, 256, 256), 0.0)
        assert counter.get_total_flops() / 2 <= budget[name]


def test_a_picture_is_painted_at_the_networks_scale(network: StyleNetwork) -> None:
    assert TINY.scale == 0.75 and TINY.margin == 24
    encoded = network.encode(torch.rand(1, 3, 64, 80))
    assert encoded.features.shape[-2:] == (48 + 48, 60 + 48)
    assert encoded.mask.shape == (1, 1, 64, 80)
    assert network.decode(encoded, 0.0).shape == (1, 3, 64, 80)
    small = network.encode(torch.rand(1, 3, 16, 16))  # no side is reduced below 16
    assert small.features.shape[-2:] == (16 + 48, 16 + 48)


def test_in_training_a_picture_is_painted_at_full_size_without_the_last_layer(
    network: StyleNetwork,
) -> None:
    plain = StyleNetwork(replace(TINY, scale=1.0, radius=0)).requires_grad_(False)
    plain.load_state_dict(network.state_dict())
    content, mask = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64)
    arguments = (content, 0.3, mask, False, 8)
    network.train()
    assert torch.equal(network(*arguments), plain.train()(*arguments))
    assert network(*arguments).shape == (1, 3, 48, 48)
    logits = network.mask_logits(content)
    assert torch.equal(logits, plain.mask_logits(content))
    network.eval()
    assert network(*arguments).shape == (1, 3, 48, 48)


def test_a_scale_below_1_needs_the_last_layer() -> None:
    with pytest.raises(ValueError, match="scale below 1 needs a radius"):
        NetworkConfig.read({"scale": 0.75, "radius": 0})
    assert NetworkConfig.read({}).scale == 1  # checkpoints of earlier versions
