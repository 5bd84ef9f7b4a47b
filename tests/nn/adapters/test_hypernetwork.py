"""Hypernetworks: zero at initialization, clips independent of each other, and the optimum of a linear problem."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audiodiff.nn.adapters.batched import batched_updates
from audiodiff.nn.adapters.hypernetwork import HypernetworkNetwork
from audiodiff.nn.adapters.update import LowRank
from audiodiff.nn.convolution import FrameConv1d

LAYERS = {"linear": nn.Linear(6, 5), "conv": FrameConv1d(4, 6, 3, padding=2, dilation=2), "fold": nn.Conv1d(4, 6, 2, 2)}
SHAPES = [list(layer.weight.shape) for layer in LAYERS.values()]


def network(rank=3, seed=0, **arguments) -> HypernetworkNetwork:
    torch.manual_seed(seed)
    made = HypernetworkNetwork(list(LAYERS), SHAPES, rank, embedding=7, hidden=8, **arguments)
    return made.requires_grad_(False)


def unit(*shape, seed=1) -> torch.Tensor:
    return nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_at_initialization_nothing_changes():
    for down, up in network()(unit(2, 7)).values():
        assert not (up @ down).any() and down.any()


def test_a_clip_does_not_depend_on_its_batch():
    made = network()
    nn.init.normal_(made.head.weight)
    together = made(unit(3, 7))
    for clip in range(3):
        for name, (down, up) in made(unit(3, 7)[clip : clip + 1]).items():
            assert torch.equal(down, together[name][0])
            torch.testing.assert_close(up[0], together[name][1][clip], rtol=1e-5, atol=1e-6)


def test_a_batched_update_is_that_of_the_weight_of_each_clip():
    made = network()
    nn.init.normal_(made.head.weight)
    factors = made(unit(3, 7))
    inputs = {"linear": unit(3, 9, 6), "conv": unit(3, 4, 12), "fold": unit(3, 4, 12)}
    with torch.no_grad():
        with batched_updates(LAYERS, factors):
            found = {name: layer(inputs[name]) for name, layer in LAYERS.items()}
        for name, layer in LAYERS.items():
            assert not layer._forward_hooks, "hooks stay behind"
            for clip in range(3):
                down, up = factors[name][0], factors[name][1][clip]
                update = LowRank.of(layer.weight.shape, {"down": down, "up": up}, 3, 3.0)
                expected = torch.func.functional_call(
                    layer, {"weight": update(layer.weight), "bias": layer.bias}, inputs[name][clip : clip + 1]
                )
                torch.testing.assert_close(found[name][clip : clip + 1], expected, rtol=1e-4, atol=1e-5)


def test_zero_factors_change_nothing():
    made, x = network(), unit(2, 5, 6)
    with batched_updates(LAYERS, made.zero_factors(2)):
        changed = LAYERS["linear"](x)
    assert torch.equal(changed, LAYERS["linear"](x))


def test_updates_end_with_an_error():
    with pytest.raises(RuntimeError), batched_updates(LAYERS, network()(unit(2, 7))):
        LAYERS["linear"](torch.zeros(2, 3, 5))
    assert not LAYERS["linear"]._forward_hooks


def test_a_linear_problem_is_solved_for_embeddings_that_were_not_trained_on():
    """Subjects differ by a matrix of rank 1 times the cosine to a direction: the least loss is 0, at that matrix."""
    torch.manual_seed(0)
    made = HypernetworkNetwork(["linear"], [[5, 6]], rank=2, embedding=3, hidden=32)
    direction, change = unit(3, seed=2), unit(5, 1, seed=3) @ unit(1, 6, seed=4)
    embeddings, unseen = unit(256, 3, seed=5), unit(64, 3, seed=6)

    def predicted(given: torch.Tensor) -> torch.Tensor:
        down, up = made(given)["linear"]
        return up @ down

    def wanted(given: torch.Tensor) -> torch.Tensor:
        return (given @ direction)[:, None, None] * change

    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        # With inputs of unit covariance the expected squared error of outputs is that of the matrices.
        (predicted(embeddings) - wanted(embeddings)).square().sum((1, 2)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        error = (predicted(unseen) - wanted(unseen)).square().sum((1, 2)).mean()
        assert error < 1e-3 * wanted(unseen).square().sum((1, 2)).mean()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"layers": []}, "0 layers"),
        ({"layers": ["a", "a"], "shapes": [[4, 4], [4, 4]]}, "distinct"),
        ({"layers": ["a"], "shapes": []}, "0 shapes"),
        ({"layers": ["a"], "shapes": [[4]]}, "layer a"),
        ({"layers": ["a"], "shapes": [[4, 4, 4, 4]]}, "layer a"),
        ({"layers": ["a"], "shapes": [[2, 8]]}, "rank 3"),
    ],
)
def test_networks_that_make_no_sense_are_refused(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        HypernetworkNetwork(**{"layers": ["a"], "shapes": [[4, 4]], "rank": 3} | arguments)


@settings(max_examples=20, deadline=None)
@given(out=st.integers(1, 12), inputs=st.integers(1, 12), taps=st.integers(1, 3), rank=st.integers(1, 12))
def test_any_layer_that_has_the_rank_is_served(out, inputs, taps, rank):
    shape = [out, inputs, taps]
    if rank > min(out, inputs * taps):
        with pytest.raises(ValueError, match="rank"):
            HypernetworkNetwork(["a"], [shape], rank, 4, 4)
        return
    made = HypernetworkNetwork(["a"], [shape], rank, 4, 4)
    down, up = made(unit(2, 4))["a"]
    assert down.shape == (rank, inputs * taps) and up.shape == (2, out, rank)
