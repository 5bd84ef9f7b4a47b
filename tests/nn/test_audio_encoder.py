"""The audio encoder: any length, batches of different lengths, gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.nn.audio_encoder import AudioEncoder
from audiodiff.nn.condition import Condition
from audiodiff.nn.text_head import TextHead


def encoder(stem=(4, 4)) -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(10, [8, 16], [1, 1], 6, stem, heads=2).eval()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(0, 9), st.booleans())
def test_a_clip_has_the_vector_that_it_has_alone(frames, padding, stem):
    network = encoder((4, 4) if stem else ())
    features = torch.rand(2, 10, frames + padding)
    alone = network(features[:1, :, :frames])
    together = network(features, torch.tensor([frames, frames + padding]))
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(network(features), network(features, torch.tensor([frames + padding] * 2)))


def test_what_is_beyond_the_end_has_no_gradient():
    features = torch.rand(1, 10, 20, requires_grad=True)
    encoder()(features, torch.tensor([13])).sum().backward()
    assert features.grad[..., :13].any() and not features.grad[..., 13:].any()


@pytest.mark.parametrize("arguments", [{"blocks": [1]}, {"channels": [], "blocks": []}, {"heads": 3}])
def test_levels_and_heads_that_do_not_fit(arguments):
    with pytest.raises(ValueError, match="channels"):
        AudioEncoder(**{"features": 8, "channels": [8, 8], "blocks": [1, 1]} | arguments)


def test_the_text_head_averages_valid_tokens_and_bounds_the_scale():
    torch.manual_seed(0)
    head = TextHead(4, 3, 5)
    tokens, sentence = torch.rand(1, 6, 4), torch.rand(1, 3)
    mask = torch.arange(6)[None] < 2
    found = head(Condition(tokens=tokens, token_mask=mask, global_embedding=sentence))
    expected = head.project(torch.cat([tokens[:, :2].mean(1), sentence], 1))
    torch.testing.assert_close(found, expected)
    nothing = Condition(tokens=tokens, token_mask=torch.zeros_like(mask), global_embedding=sentence)
    assert head(nothing).isfinite().all()
    assert float(head.scale()) == pytest.approx(1 / 0.07)
    torch.nn.init.constant_(head.log_scale, 20.0)
    assert head.scale() == 100
