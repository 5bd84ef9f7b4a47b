"""Building blocks over frames."""

import pytest
import torch
from torch import nn

from audiodiff.nn.attention import SelfAttention
from audiodiff.nn.layers import ChannelNorm, Downsample, NoiseLevelEmbedding, ResidualBlock, Upsample, apply_mask


def fourier_features(log_snr: torch.Tensor) -> torch.Tensor:
    """What the perceptron of the embedding is fed: its first layer replaced by the identity."""
    embedding = NoiseLevelEmbedding(64, frequencies=32)
    embedding.mlp = nn.Sequential(nn.Linear(64, 64, bias=False))
    nn.init.eye_(embedding.mlp[0].weight)
    return embedding(log_snr).detach()


def test_noise_levels_a_hundredth_apart_are_distinguished():
    levels = torch.linspace(-20, 20, 4001)
    features = fourier_features(levels)
    steps = (features[1:] - features[:-1]).norm(dim=1)
    assert steps.min() > 0.1


def test_noise_levels_far_apart_are_never_mistaken():
    levels = torch.linspace(-20, 20, 801)
    distance = torch.cdist(fourier_features(levels), fourier_features(levels))
    apart = (levels[:, None] - levels).abs()
    assert distance[apart > 0.5].min() > 1


def test_embedding_of_a_level_does_not_depend_on_the_batch():
    torch.manual_seed(0)
    embedding = NoiseLevelEmbedding(16)
    levels = torch.tensor([-20.0, 0.0, 3.0])
    assert embedding(levels).shape == (3, 16)
    torch.testing.assert_close(embedding(levels)[1:2], embedding(levels[1:2]), atol=1e-6, rtol=1e-6)


def test_channel_norm_sets_the_level_of_every_frame_by_itself():
    x = torch.randn(2, 8, 5) * torch.tensor([0.1, 1.0, 10.0, 100.0, 1e-2])
    result = ChannelNorm()(x)
    torch.testing.assert_close(result.square().mean(1), torch.ones(2, 5), atol=1e-2, rtol=0)
    alone = ChannelNorm()(x[..., 2:3])
    torch.testing.assert_close(result[..., 2:3], alone)
    assert torch.isfinite(ChannelNorm()(torch.zeros(1, 8, 3))).all()


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_residual_block_reaches_as_far_as_its_dilation(dilation):
    torch.manual_seed(0)
    block = ResidualBlock(6, embedding=4, condition=0, dilation=dilation)
    x = torch.randn(1, 6, 31)
    changed = x.clone()
    changed[..., 15] += 1
    embedding = torch.randn(1, 4)
    difference = (block(x, embedding, None, None) - block(changed, embedding, None, None)).abs().sum((0, 1))
    assert difference.nonzero().flatten().tolist() == [15 - dilation, 15, 15 + dilation]


def test_residual_block_masks_what_lies_beyond_the_end():
    torch.manual_seed(0)
    block = ResidualBlock(6, embedding=4, condition=3, dilation=2)
    x, embedding, condition = torch.randn(1, 6, 20), torch.randn(1, 4), torch.randn(1, 3, 20)
    mask = (torch.arange(20) < 12).float()[None, None]
    alone = block(x[..., :12], embedding, condition[..., :12], None)
    torch.testing.assert_close(block(x, embedding, condition, mask)[..., :12], alone, atol=1e-6, rtol=1e-5)


def test_residual_block_starts_unmodulated():
    torch.manual_seed(0)
    block = ResidualBlock(6, embedding=4, condition=0, dilation=1)
    x = torch.randn(1, 6, 9)
    assert torch.equal(block(x, torch.randn(1, 4), None, None), block(x, torch.randn(1, 4), None, None))


def test_downsample_and_upsample_change_rate_and_width():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 10)
    halved = Downsample(4, 6)(x, None)
    assert halved.shape == (2, 6, 5)
    doubled = Upsample(6, 4)(halved)
    assert doubled.shape == (2, 4, 10)


def test_upsample_fills_pairs_in_order():
    upsample = Upsample(1, 1)
    with torch.no_grad():
        upsample.project.weight.copy_(torch.tensor([[[1.0]], [[-1.0]]]))
        upsample.project.bias.zero_()
    assert upsample(torch.tensor([[[1.0, 2.0, 3.0]]])).tolist() == [[[1, -1, 2, -2, 3, -3]]]


def test_no_mask_changes_nothing():
    x = torch.randn(1, 2, 3)
    assert apply_mask(x, None) is x
    assert apply_mask(x, torch.tensor([[[1.0, 0.0, 1.0]]]))[..., 1].tolist() == [[0.0, 0.0]]


def attention() -> SelfAttention:
    torch.manual_seed(0)
    layer = SelfAttention(8, heads=2)
    nn.init.normal_(layer.project.weight)
    return layer


def test_attention_does_not_see_beyond_the_end():
    layer = attention()
    x = torch.randn(2, 8, 20)
    mask = (torch.arange(20) < torch.tensor([[12], [20]])).float()[:, None]
    result = layer(x, mask)
    torch.testing.assert_close(result[:1, :, :12], layer(x[:1, :, :12], None), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(result[1:], layer(x[1:], None), atol=1e-6, rtol=1e-5)
    garbage = x.clone()
    garbage[0, :, 12:] = 1e4
    torch.testing.assert_close(layer(garbage, mask)[0, :, :12], result[0, :, :12])


def test_attention_carries_from_any_frame_to_any_other():
    layer = attention()
    x = torch.randn(1, 8, 30)
    changed = x.clone()
    changed[..., 29] *= -1
    assert (layer(x, None) - layer(changed, None))[..., 0].abs().max() > 1e-4


def test_attention_is_the_identity_at_initialization():
    x = torch.randn(1, 8, 7)
    assert torch.equal(SelfAttention(8)(x, None), x)


def test_attention_equals_the_formula():
    layer = attention()
    x = torch.randn(1, 8, 6)
    query, key, value = layer.qkv(layer.norm(x))[0].reshape(3, 2, 4, 6)
    weights = torch.einsum("hcq,hck->hqk", query, key).div(2).softmax(-1)
    attended = torch.einsum("hqk,hck->hcq", weights, value).reshape(1, 8, 6)
    torch.testing.assert_close(layer(x, None), x + layer.project(attended), atol=1e-5, rtol=1e-5)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="channels=10 is not a multiple of heads=4"):
        SelfAttention(10, heads=4)
