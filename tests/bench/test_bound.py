"""The products that `bench/bound.py` counts, and what it times."""

import time

import bound
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import StftFrontend, StridedFrontend
from audiodiff.nn.network import Network


def build(frontend: nn.Module) -> tuple[Network, tuple]:
    torch.manual_seed(0)
    network = Network(frontend, 5, 16, channels=(8, 12), blocks=(1, 2), embedding=8)
    return network, (torch.randn(2, 1, 16 * 40), torch.randn(2), Condition(torch.randn(2, 5, 40)))


@pytest.mark.parametrize("frontend", [StftFrontend(1, 64, 16), StridedFrontend(1, 6, 16)])
def test_products_are_those_that_pytorch_counts(frontend):
    network, arguments = build(frontend)
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        network(*arguments)
    counted = sum(2 * rows * inner * columns for rows, inner, columns in bound.product_shapes(network, arguments))
    assert counted == counter.get_total_flops()


def test_parts_are_within_the_whole_and_leave_nothing_behind():
    network, arguments = build(StftFrontend(1, 64, 16))
    started = time.perf_counter()
    with bound.timed_parts(network, time.perf_counter) as parts:
        network(*arguments)
    whole = time.perf_counter() - started
    assert set(parts) == set(bound.PARTS) and 0 < sum(parts.values()) < whole
    before = dict(parts)
    network(*arguments)
    assert parts == before


def test_gradients_are_two_more_products_of_each(monkeypatch):
    monkeypatch.setattr(bound, "Factor", lambda matrix: lambda rows: rows @ matrix)  # PyTorch counts no packed ones
    with FlopCounterMode(display=False) as counter:
        bound.products([(3, 4, 5)], gradients=False)()
    assert counter.get_total_flops() == 2 * 3 * 4 * 5
    with FlopCounterMode(display=False) as counter:
        bound.products([(3, 4, 5)], gradients=True)()
    assert counter.get_total_flops() == 3 * 2 * 3 * 4 * 5
