"""Large pictures: in strips, with the statistics of the whole, they come out as the whole does."""

from dataclasses import replace

import pytest
import torch

from duostyle.models import StyleNetwork
from duostyle.models import network as network_module
from duostyle.models import tiling as large
from tests.conftest import TINY


@pytest.mark.parametrize("height", [1, 7, 8, 9, 16, 23])
def test_strips_hold_every_row_once_with_its_neighbours(height: int) -> None:
    rows = torch.arange(height)
    own = [rows[look][part] for look, part, _ in large.strips(height, size=8)]
    assert torch.cat(own).tolist() == rows.tolist()
    for look, part, place in large.strips(height, size=8):
        seen, mine = rows[look].tolist(), rows[look][part].tolist()
        assert rows[place].tolist() == mine
        assert seen[0] == max(mine[0] - 2, 0) and seen[-1] == min(mine[-1] + 2, height - 1)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    x = 5 + 3 * torch.randn(2, 4, 30, 10)
    moments = large.Moments()
    for rows in x.split([7, 20, 3], dim=2):
        moments.add(rows)
    scale, shift = moments.affine(torch.ones(1, 4, 1, 1), torch.zeros(1, 4, 1, 1))
    normed = scale * x + shift
    variance, mean = torch.var_mean(normed, dim=(2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(variance, torch.ones(2, 4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(203, 90), (67, 61)])
def test_a_picture_in_strips_is_as_the_whole(monkeypatch, size: tuple) -> None:
    torch.manual_seed(1)
    config = replace(TINY, branch_blocks=2)
    network = StyleNetwork(config).eval().requires_grad_(False)
    # Light from top to bottom: a strip's own statistics would be quite others.
    content = torch.rand(1, 3, *size) * torch.linspace(0.1, 1, size[0]).view(-1, 1)
    with torch.inference_mode():
        whole = network.inspect(content, 0.3)
        monkeypatch.setattr(network_module, "WHOLE_PIXELS", 1000)
        monkeypatch.setattr(large, "STRIP", 6)
        parts = network.inspect(content, 0.3)
        monkeypatch.setattr(network_module, "STRIP_PIXELS", 1000)
        with torch.inference_mode(False), torch.enable_grad():  # a plain call of a frozen network
            plain = network(content.clone(), 0.3)
        assert (plain - whole.stylized).abs().mean() < 0.3 / 255
        with torch.autocast("cpu", torch.bfloat16):
            rough = network.inspect(content, 0.3)
    for one, other, third in zip(whole, parts, rough, strict=True):
        assert (one - other).abs().mean() < 0.3 / 255
        assert (one - other).abs().max() < 4 / 255
        assert (one - third).abs().mean() < 2 / 255


def test_what_learns_is_never_in_strips(monkeypatch) -> None:
    monkeypatch.setattr(network_module, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(large, "encode", lambda *_: pytest.fail("in strips"))
    network = StyleNetwork(TINY)
    network(torch.rand(1, 3, 64, 64), 0.0).mean().backward()
    assert network.encoder[0].weight.grad.abs().sum() > 0
