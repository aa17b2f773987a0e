"""Tiling: a large picture in strips, with statistics of the whole, equals the whole picture."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from duostyle.models import StyleNetwork, tiling
from duostyle.models.tiling import Strips, Sums
from tests.conftest import TINY


@pytest.mark.parametrize("height", [1, 7, 8, 9, 16, 23])
def test_strips_cover_every_row_once_with_its_neighbors(height: int) -> None:
    rows = torch.arange(height, dtype=torch.float32).view(1, 1, height, 1)
    seen = []

    def double(cells: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[2] == 4 * cells.shape[2]
        seen.append(cells.flatten().tolist())
        return cells.repeat_interleave(2, dim=2)

    apply = Strips(height, rows=8)
    result, (mean, variance) = apply(double, rows, rows.repeat_interleave(4, dim=2))
    assert torch.equal(result, rows.repeat_interleave(2, dim=2))
    torch.testing.assert_close(mean, rows.mean().view(1, 1, 1, 1))
    torch.testing.assert_close(variance, rows.var(correction=0).view(1, 1, 1, 1))
    for number, strip in enumerate(seen):
        first, last = 8 * number, min(8 * number + 7, height - 1)
        assert strip == list(range(max(first - 2, 0), min(last + 2, height - 1) + 1))


def test_a_convolution_in_strips_is_the_whole_ones() -> None:
    layer, x = nn.Conv2d(5, 6, 3, padding=1, padding_mode="reflect"), torch.rand(2, 5, 29, 13)
    with torch.no_grad():
        whole, none = tiling.WHOLE(layer, x)
        parts, moments = Strips(29, rows=8)(layer, x)
        half, _ = Strips(29, rows=8, half=True)(layer, x.half())
    assert none is None
    torch.testing.assert_close(parts, whole)
    variance, mean = torch.var_mean(whole, dim=(2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(moments, (mean, variance))
    with torch.no_grad():
        torch.testing.assert_close(Strips(29, rows=8).moments(layer, x), (mean, variance))
    assert half.dtype == torch.half
    torch.testing.assert_close(half.float(), whole, atol=2e-3, rtol=2e-3)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    x = 5 + 3 * torch.randn(2, 4, 30, 10)
    sums = Sums()
    for rows in x.split([7, 20, 3], dim=2):
        sums.add(rows)
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(sums.moments(), (mean, variance), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(203, 90), (67, 61)])
def test_a_picture_in_strips_is_the_whole_one(monkeypatch, size: tuple) -> None:
    torch.manual_seed(1)
    config = replace(TINY, branch_blocks=2)
    network = StyleNetwork(config).eval().requires_grad_(False)
    # Bright towards the bottom: the statistics of a strip alone would differ much.
    content = torch.rand(1, 3, *size) * torch.linspace(0.1, 1, size[0]).view(-1, 1)
    with torch.inference_mode():
        whole = network.inspect(content, 0.3)
    rows = []
    monkeypatch.setattr(tiling, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(tiling, "STRIP_PIXELS", 1000)
    monkeypatch.setattr(tiling, "BRANCH_PIXELS", 1000)
    monkeypatch.setattr(tiling, "DECODED_PIXELS", 1000)
    monkeypatch.setattr(
        tiling, "Strips", lambda *args, **kw: rows.append(args) or Strips(*args, **kw)
    )
    with torch.inference_mode():
        parts = network.inspect(content, 0.3)
    # The mask branch's edges; whether the first convolution is put off; branches; decoders.
    assert len(rows) == 4 and all(height > 2 * strip for height, strip in rows)
    plain = network(content, 0.3)  # a frozen network, gradients enabled
    assert len(rows) == 8
    assert (plain - whole.stylized).abs().mean() < 0.3 / 255
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        rough = network.inspect(content, 0.3)
    for one, other, third in zip(whole, parts, rough, strict=True):
        assert other.dtype == torch.float32
        assert (one - other).abs().mean() < 0.3 / 255
        assert (one - other).abs().max() < 4 / 255
        assert (one - third).abs().mean() < 2 / 255


def test_training_is_never_in_strips(monkeypatch) -> None:
    monkeypatch.setattr(tiling, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(tiling, "BRANCH_PIXELS", 100)
    monkeypatch.setattr(tiling, "DECODED_PIXELS", 100)
    monkeypatch.setattr(tiling, "Strips", lambda *_: pytest.fail("in strips"))
    network = StyleNetwork(TINY)
    network(torch.rand(1, 3, 64, 64), 0.0).mean().backward()
    assert network.stem.weight.grad.abs().sum() > 0
