"""Attention on tokens: what is masked does not exist, and no token at all is the unconditional network."""

import pytest
import torch
from torch import nn

from audiodiff.nn.attention import CrossAttention, SelfAttention
from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import IdentityFrontend
from audiodiff.nn.network import Network

TOKENS, WIDTH = 5, 6


def build(**options) -> Network:
    torch.manual_seed(0)
    options = {"token_channels": WIDTH, "attention_heads": 2, "embedding": 8} | options
    network = Network(IdentityFrontend(2), channels=[8, 12], blocks=[1, 1], **options)
    for parameter in network.parameters():  # as if it had been trained
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.3)
    return network


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(x, log_snr, tokens, mask): two clips of which the second has three valid tokens, not in a row."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(2, TOKENS, WIDTH, generator=generator)
    mask = torch.tensor([[True] * TOKENS, [True, False, True, True, False]])
    return torch.randn(2, 2, 21, generator=generator), torch.tensor([-1.0, 2.0]), tokens, mask


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_masked_tokens_change_nothing(batch, levels):
    x, log_snr, tokens, mask = batch
    network = build(attention_levels=levels)
    expected = network(x, log_snr, Condition(tokens=tokens, token_mask=mask))
    for replacement in (tokens.flip(-1), torch.full_like(tokens, torch.nan), torch.full_like(tokens, torch.inf)):
        changed = torch.where(mask[..., None], tokens, replacement)
        assert torch.equal(network(x, log_snr, Condition(tokens=changed, token_mask=mask)), expected)
    permuted = tokens.clone()
    permuted[1, [1, 4]] = tokens[1, [4, 1]]
    assert torch.equal(network(x, log_snr, Condition(tokens=permuted, token_mask=mask)), expected)
    alone = network(x[1:], log_snr[1:], Condition(tokens=tokens[1:, mask[1]]))
    torch.testing.assert_close(alone, expected[1:])


def test_order_of_tokens_is_not_seen_and_their_values_are(batch):
    x, log_snr, tokens, mask = batch
    network, order = build(), torch.tensor([3, 0, 4, 1, 2])
    expected = network(x, log_snr, Condition(tokens=tokens, token_mask=mask))
    permuted = network(x, log_snr, Condition(tokens=tokens[:, order], token_mask=mask[:, order]))
    torch.testing.assert_close(permuted, expected)
    other = network(x, log_snr, Condition(tokens=tokens + 0.1, token_mask=mask))
    assert ((other - expected).abs().amax((1, 2)) > 1e-3).all()


@pytest.mark.parametrize("levels", [0, 2])
def test_clips_without_valid_tokens_are_unconditional(batch, levels):
    x, log_snr, tokens, mask = batch
    network = build(attention_levels=levels)
    plain = build(attention_levels=levels, token_channels=0)
    state = network.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    unconditional = plain(x, log_snr)
    assert torch.equal(network(x, log_snr), unconditional)
    mask = mask & torch.tensor([[False], [True]])
    mixed = network(x, log_snr, Condition(tokens=tokens, token_mask=mask))
    assert torch.equal(mixed[:1], unconditional[:1]) and not torch.allclose(mixed[1:], unconditional[1:])
    empty = Condition(tokens=tokens[:, :0])
    assert torch.equal(network(x, log_snr, empty), unconditional)


def test_gradient_reaches_valid_tokens_only(batch):
    x, log_snr, tokens, mask = batch
    network = build(gradient_checkpointing=True)
    tokens.requires_grad_()
    network(x, log_snr, Condition(tokens=tokens, token_mask=mask)).square().sum().backward()
    assert torch.equal(tokens.grad.abs().sum(-1) > 0, mask)
    assert all(parameter.grad.any() for parameter in network.unet.cross_attention.parameters())


def test_new_cross_attention_changes_nothing_and_learns(batch):
    x, _, tokens, mask = batch
    layer = CrossAttention(2, WIDTH, heads=1)
    frames = x.requires_grad_()
    assert torch.equal(layer(frames, tokens, mask), frames)
    layer(frames, tokens, mask).square().sum().backward()
    assert layer.project.weight.grad.any()


@pytest.mark.slow
def test_cross_attention_compiles(batch):
    x, log_snr, tokens, mask = batch
    network = build()
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend="aot_eager")
    for count in (TOKENS, 3):
        cond = Condition(tokens=tokens[:, :count], token_mask=mask[:, :count])
        torch.testing.assert_close(compiled(x, log_snr, cond), network(x, log_snr, cond))


def test_heads_and_tokens_that_do_not_fit(batch):
    x, log_snr, tokens, _ = batch
    assert build(attention_levels=1, attention_heads=3).unet.attention["bottom"].heads == 3
    for layer in (lambda: SelfAttention(8, 3), lambda: CrossAttention(8, WIDTH, 3)):
        with pytest.raises(ValueError, match="heads=3"):
            layer()
    with pytest.raises(ValueError, match=f"{WIDTH} channels, got {WIDTH - 1}"):
        build()(x, log_snr, Condition(tokens=tokens[..., 1:]))
    with pytest.raises(ValueError, match=f"0 channels, got {WIDTH}"):
        build(token_channels=0)(x, log_snr, Condition(tokens=tokens))
    with pytest.raises(ValueError, match="token_mask has a batch of 1"):
        build()(x, log_snr, Condition(tokens=tokens, token_mask=torch.ones(1, TOKENS, dtype=torch.bool)))


def test_global_embedding_is_added_to_that_of_the_noise_level(batch):
    x, log_snr, _, _ = batch
    network = build(embedding=8)
    plain = network(x, log_snr)
    assert torch.equal(network(x, log_snr, Condition(global_embedding=torch.zeros(2, 8))), plain)
    offset = network(x, log_snr, Condition(global_embedding=torch.tensor([[0.0] * 8, [1.0] * 8])))
    assert torch.equal(offset[0], plain[0]) and not torch.allclose(offset[1], plain[1])
    with pytest.raises(ValueError, match="8 channels, got 7"):
        network(x, log_snr, Condition(global_embedding=torch.zeros(2, 7)))
