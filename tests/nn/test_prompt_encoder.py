"""The prompt encoder: padding changes nothing, order does, and an empty prompt has a gradient."""

import torch

from audiodiff.nn.prompt_encoder import PromptEncoder


def encoder(layers=2):
    torch.manual_seed(0)
    encoder = PromptEncoder(6, 8, layers, 2, 5)
    for parameter in encoder.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def test_tokens_do_not_depend_on_what_is_masked():
    vectors, mask = torch.randn(2, 5, 6), torch.tensor([[True, True, False, False, False], [True] * 5])
    tokens = encoder()(vectors, mask)
    alone = encoder()(vectors[:1, :2], mask[:1, :2])
    assert tokens.shape == (2, 5, 8)
    torch.testing.assert_close(tokens[:1, :2], alone)


def test_the_order_matters():
    vectors, mask = torch.randn(1, 2, 6), torch.ones(1, 2, dtype=torch.bool)
    one, other = encoder()(vectors, mask), encoder()(vectors.flip(1), mask)
    assert not torch.allclose(one, other.flip(1), atol=1e-2)


def test_an_empty_prompt_has_finite_gradients():
    model = encoder()
    vectors, mask = torch.zeros(2, 5, 6), torch.tensor([[False] * 5, [True] * 5])
    tokens = model(vectors, mask).masked_fill(~mask[..., None], 0)
    tokens.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
