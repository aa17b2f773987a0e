"""The last layer, on pictures whose result is known."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.models import kuwahara
from duostyle.models.kuwahara import SECTORS, KuwaharaUpsample, sector_weights


@pytest.mark.parametrize("radius", [1, 3, 4])
def test_sectors_sum_to_one_and_are_turned_copies(radius: int) -> None:
    weights = sector_weights(radius)
    assert weights.shape == (SECTORS, 2 * radius + 1, 2 * radius + 1)
    assert torch.allclose(weights.sum(dim=(1, 2)), torch.ones(SECTORS))
    # A quarter turn makes the sector after next out of each.
    turned = torch.rot90(weights, -1, dims=(1, 2))
    assert torch.allclose(turned, weights.roll(-SECTORS // 4, dims=0), atol=1e-6)


def test_an_even_picture_stays_as_it_is() -> None:
    color = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 12, 17)
    enlarged = KuwaharaUpsample(4)(color, 18, 25)
    assert enlarged.shape == (1, 3, 18, 25)
    assert torch.allclose(enlarged, color[..., :1, :1].expand_as(enlarged), atol=1e-6)


def steps(row: Tensor) -> int:
    """Return how many values lie between black and white."""
    return int(((row > 0.1) & (row < 0.9)).sum())


def test_an_edge_stays_sharp_when_it_is_enlarged() -> None:
    edge = (torch.arange(32) >= 16).float().expand(1, 3, 32, 32)
    enlarged = KuwaharaUpsample(4)(edge, 96, 96)[0, 0, 48]
    bilinear = F.interpolate(edge, (96, 96), mode="bilinear")[0, 0, 48]
    assert steps(enlarged) <= 1 < steps(bilinear)
    assert enlarged[:47].max() < 0.05 and enlarged[49:].min() > 0.95


def test_grain_vanishes_within_a_region_and_its_color_stays() -> None:
    generator = torch.Generator().manual_seed(1)
    grain = 0.5 + 0.05 * torch.randn((1, 3, 64, 64), generator=generator)
    smooth = KuwaharaUpsample(4)(grain, 64, 64)
    assert smooth.std() < 0.4 * grain.std()
    assert abs(float(smooth.mean() - grain.mean())) < 0.005


def test_values_stay_within_those_of_the_picture() -> None:
    picture = torch.rand((2, 3, 21, 16), generator=torch.Generator().manual_seed(2))
    enlarged = KuwaharaUpsample(3)(picture, 33, 40)
    assert picture.amin() <= enlarged.amin() and enlarged.amax() <= picture.amax()


def test_strips_give_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand((2, 3, 50, 61), generator=torch.Generator().manual_seed(3))
    layer = KuwaharaUpsample(4)
    with torch.no_grad():
        whole = layer(picture, 77, 91)
        monkeypatch.setattr(kuwahara, "STRIP_PIXELS", 7 * 91)
        strips = layer(picture, 77, 91)
    assert torch.allclose(whole, strips, atol=1e-5)


def test_filtering_alone_is_enlarging_to_the_same_size(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand((2, 3, 50, 61), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = KuwaharaUpsample(4)(picture, 50, 61)
        layer = KuwaharaUpsample(4, enlarges=False)
        torch.testing.assert_close(layer(picture, 50, 61), expected, atol=1e-5, rtol=0)
        monkeypatch.setattr(kuwahara, "STRIP_PIXELS", 7 * 61)
        torch.testing.assert_close(layer(picture, 50, 61), expected, atol=1e-5, rtol=0)


def test_half_precision_is_computed_in_float32() -> None:
    picture = torch.rand((1, 3, 24, 24), generator=torch.Generator().manual_seed(4))
    layer = KuwaharaUpsample(2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(picture, 36, 36), layer(picture, 36, 36).float())
    expected = layer(picture, 36, 36)
    assert (layer(picture.half(), 36, 36) - expected).abs().mean() < 5e-3
