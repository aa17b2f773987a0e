"""Optimizers, learning rate and weight average, against known answers."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from duostyle.models import StyleNetwork
from duostyle.training import TrainConfig
from duostyle.training.optim import (
    Muon,
    averaged_model,
    build_optimizers,
    build_schedulers,
    is_kernel,
    learning_rate_factor,
    norm_parameters,
    orthogonalize,
)
from tests.conftest import TINY


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_singular_values_come_close_to_one_and_the_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(shape[0], min(shape)))
    right, _ = torch.linalg.qr(torch.randn(shape[1], min(shape)))
    values = torch.linspace(0.05, 3, min(shape))
    result = orthogonalize(left @ torch.diag(values) @ right.T)
    inner = left.T @ result @ right
    assert (inner.diagonal() > 0.6).all() and (inner.diagonal() < 1.3).all()
    assert (inner - torch.diag(inner.diagonal())).abs().max() < 1e-4


def test_a_step_has_the_size_of_adams() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.zeros(16, 8, 3, 3))
    kernel.grad = torch.randn_like(kernel) * 1e-3  # however small
    Muon([kernel], learning_rate=0.1).step()
    assert kernel.detach().square().mean().sqrt().item() == pytest.approx(0.02, rel=0.2)
    assert (kernel * kernel.grad).sum() < 0


def test_finds_the_minimum_of_an_ill_conditioned_bowl() -> None:
    torch.manual_seed(0)
    target, scale = torch.randn(8, 4, 3, 3), torch.logspace(-2, 1, 36).view(1, 4, 3, 3)
    kernel = nn.Parameter(torch.zeros_like(target))
    optimizer = Muon([kernel], learning_rate=0.1)
    start = (scale * (kernel - target).square()).sum().item()
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
        optimizer.zero_grad()
        loss = (scale * (kernel - target).square()).sum()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-2 * start


def test_only_kernels_of_full_convolutions_are_matrices() -> None:
    assert is_kernel(nn.Conv2d(8, 16, 3).weight)
    assert not is_kernel(nn.Conv2d(8, 8, 3, groups=8).weight)  # depthwise
    assert not is_kernel(nn.Conv2d(8, 3, 9).weight)  # a picture's three channels
    assert not is_kernel(nn.Conv2d(8, 16, 3).bias)
    assert not is_kernel(nn.Parameter(torch.ones(2, 16, 1, 1)))  # scales of two styles


def test_norm_parameters_of_a_foundation_are_moved_by_adam_at_their_own_rate() -> None:
    # Five rows of eight channels have a kernel's four dimensions.
    network = StyleNetwork(replace(TINY, styles=5))
    config = replace(TrainConfig(), learning_rate=0.1, norm_rate=4.0)
    muon, adam = build_optimizers(network, config)
    norms = norm_parameters(network)
    kernels = {p for group in muon.param_groups for p in group["params"]}
    assert not kernels & norms and network.branch1.blocks[0].conv1.weight in kernels
    rates = {p: g["lr"] for g in adam.param_groups for p in g["params"]}
    assert {rates[p] for p in norms} == {0.4}
    assert {rate for p, rate in rates.items() if p not in norms} == {0.1}


def test_learning_rate_warms_up_and_falls_and_continues_anywhere() -> None:
    config = replace(TrainConfig(), steps=100, warmup=10)
    factors = [learning_rate_factor(config, step - 1) for step in (5, 10, 55, 100)]
    assert factors == pytest.approx([0.5, 1.0, 0.02 + 0.98 / 2, 0.02])
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (1.0, 0.5)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    (scheduler,) = build_schedulers([optimizer], config, 0)
    rates = []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert [rates[step - 1][0] for step in (5, 10, 55, 100)] == factors
    assert all(second == pytest.approx(first / 2) for first, second in rates)
    for done in (0, 7, 54, 99):
        fresh = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))]}], lr=1.0)
        (resumed,) = build_schedulers([fresh], config, done)
        assert resumed.get_last_lr() == [rates[done][0]]


def test_weight_average_by_hand() -> None:
    network = StyleNetwork(TINY)
    weight = network.branch1.to_rgb.conv.weight
    average = averaged_model(network, 0.25)
    expected = weight.detach().clone()
    for step in (1, 2, 3):
        with torch.no_grad():
            weight += 1
        average.update_parameters(network)
        decay = min(0.25, (1 + step) / (10 + step))  # 2/11, 3/12, 0.25
        expected = decay * expected + (1 - decay) * weight.detach()
    found = average.module.branch1.to_rgb.conv.weight
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
