"""Parts of prompts: a model that is restricted to one reads nothing of the other."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from prompt_parts import BOTH, SENTENCE, TOKENS, restrict

from audiodiff.conditioners.prompt import Prompt
from audiodiff.pipelines.audio_generator import AudioGenerator


@pytest.fixture
def build(make_prompted):
    model = make_prompted(labels=())
    return lambda: AudioGenerator(deepcopy(model))


def estimate(generator: AudioGenerator, text: str, without: str = BOTH) -> torch.Tensor:
    """The first estimate from a prompt, or from one without a part."""
    model = generator.model
    noise = torch.randn(1, model.channels, model.samples, generator=torch.Generator().manual_seed(0))
    condition, null = (model.embed_condition({"prompt": [one]}) for one in (text, ""))
    if without == TOKENS:
        condition = replace(condition, tokens=null.tokens, token_mask=null.token_mask)
    return model.denoiser(noise, 0.9, condition)


@torch.no_grad()
def test_words_alone_have_no_sentence_vector_and_the_vector_alone_no_words(build):
    whole = estimate(build(), "low tone")
    for part in (TOKENS, SENTENCE):
        assert not torch.allclose(estimate(restrict(build(), part), "low tone"), whole, atol=1e-5)
    words = restrict(build(), TOKENS)
    (prompt,) = (one for one in words.model.conditioners if isinstance(one, Prompt))
    assert not prompt({"prompt": ["low tone"]}).global_embedding.any()
    found = estimate(restrict(build(), SENTENCE), "low tone")
    assert torch.allclose(found, estimate(build(), "low tone", without=TOKENS), atol=1e-6)
    assert torch.equal(estimate(restrict(build(), BOTH), "low tone"), whole)
