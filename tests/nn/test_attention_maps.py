"""Attention maps: they are what the layers attend with, and recording changes nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.nn.attention import CrossAttention, SelfAttention
from audiodiff.nn.attention_maps import pool_map, recorded_attention

FRAMES, TOKENS, CHANNELS = 7, 3, 8


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random(layer):
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=number) / parameter.shape[-1] ** 0.5)
    return layer


def attended(weights, value):
    """Heads side by side, (B, C, F)."""
    return (weights @ value).transpose(-1, -2).flatten(1, 2)


@pytest.mark.parametrize("masked", [False, True])
def test_weights_of_self_attention_are_what_it_attends_with(masked):
    layer, x = random(SelfAttention(CHANNELS, 2)), normal(2, CHANNELS, FRAMES)
    mask = None if not masked else (torch.arange(FRAMES) < torch.tensor([[FRAMES], [4]]))[:, None].float()
    weights = layer.weights(x, mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, FRAMES))
    assert not masked or not weights[1, :, :, 4:].any()
    value = layer._parts(x, mask)[2]
    torch.testing.assert_close(x + layer.project(attended(weights, value)), layer(x, mask))


@pytest.mark.parametrize("masked", [False, True])
def test_weights_of_cross_attention_have_nothing_as_their_last_column(masked):
    layer, x, tokens = random(CrossAttention(CHANNELS, 5, 2)), normal(2, CHANNELS, FRAMES), normal(2, TOKENS, 5, seed=1)
    mask = None if not masked else torch.tensor([[True, True, False], [False, False, False]])
    weights = layer.weights(x, tokens, mask)
    assert weights.shape == (2, 2, FRAMES, TOKENS + 1)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, FRAMES))
    if masked:
        assert not weights[0, :, :, 2].any() and torch.equal(weights[1, :, :, -1], torch.ones(2, FRAMES))
    value = layer._parts(x, tokens, mask, None)[2]
    torch.testing.assert_close(x + layer.project(attended(weights, value)), layer(x, tokens, mask))
    assert torch.equal(weights, layer.weights(x, None, mask, layer.project_tokens(tokens, mask)))


def test_recording_changes_nothing_and_ends():
    layers = torch.nn.ModuleDict(
        {"own": random(SelfAttention(CHANNELS, 2)), "text": random(CrossAttention(CHANNELS, 5))}
    )
    x, tokens = normal(1, CHANNELS, FRAMES), normal(1, TOKENS, 5)
    expected = layers["text"](layers["own"](x, None), tokens)
    with recorded_attention(layers, "net.") as maps:
        for _ in range(2):
            assert torch.equal(layers["text"](layers["own"](x, None), tokens), expected)
    layers["own"](x, None)
    assert {name: [tuple(one.shape) for one in found] for name, found in maps.items()} == {
        "net.own": [(1, 2, FRAMES, FRAMES)] * 2,
        "net.text": [(1, 4, FRAMES, TOKENS + 1)] * 2,
    }


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), most=st.integers(1, 20), seed=st.integers(0, 99))
def test_rows_of_pooled_maps_still_sum_to_one(rows, columns, most, seed):
    whole = normal(rows, columns, seed=seed).softmax(-1)
    pooled = pool_map(whole, most, most)
    assert pooled.shape == (min(rows, most), min(columns, most))
    torch.testing.assert_close(pooled.sum(-1), torch.ones(len(pooled)))
    torch.testing.assert_close(pool_map(whole, most).shape[1], columns)


def test_pooling_takes_means_of_rows_and_sums_of_columns():
    whole = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [0.5, 0.0, 0.5]])
    torch.testing.assert_close(pool_map(whole, 2, 2), torch.tensor([[0.45, 0.55], [0.5, 0.5]]))
    assert torch.equal(pool_map(whole, 3, 3), whole)
