"""Prompts: embedding, the empty prompt, dropout, unknown words, and the frozen embeddings that a checkpoint names."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.conditioners.prompt import Prompt, WordByWord
from audiodiff.data.manifest import Clip
from audiodiff.errors import UserError
from audiodiff.models.checkpoint import build, describe
from audiodiff.training.batch_random import BatchRandom

CLIPS = [
    Clip(str(i), f"{i}.flac", 1.0, 8000, caption=caption) for i, caption in enumerate(("Low tones", "high tone", ""))
]


def make(**options) -> Prompt:
    torch.manual_seed(0)
    prompt = Prompt(16, 8, heads=2, max_tokens=6, **options)
    for parameter in prompt.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.3)
    return prompt.eval()


@pytest.fixture(scope="module")
def prompt() -> Prompt:
    conditioner = make()
    conditioner.fit(CLIPS)
    return conditioner


def test_prompts_are_tokens_and_an_embedding_and_an_empty_one_is_neither(prompt):
    condition = prompt({"prompt": ["low tone", "", "high tone"]})
    assert condition.tokens.shape == (3, 6, 16) and condition.global_embedding.shape == (3, 8)
    assert condition.token_mask.sum(1).tolist() == [2, 0, 2]
    assert not condition.global_embedding[1].any() and not condition.tokens[1].any()
    assert not torch.allclose(condition.global_embedding[0], condition.global_embedding[2], atol=1e-3)
    alone = prompt({"prompt": ["high tone"]})
    for name in ("tokens", "global_embedding"):
        torch.testing.assert_close(getattr(alone, name)[0], getattr(condition, name)[2])
    assert not prompt({}).tensors()


def test_a_new_model_is_not_changed_by_the_embedding():
    assert not Prompt(16, 8)({"prompt": ["low tone"]}).global_embedding.any()


def test_case_and_spaces_do_not_matter(prompt):
    assert prompt.parse({"prompt": "  Low\n TONE "}) == "low tone"
    assert prompt.parse({}) == prompt.parse({"prompt": ""}) == prompt.parse({"prompt": " \t"}) == ""


def test_dropout_is_of_whole_prompts(prompt):
    dropped = prompt.drop(["tone"] * 4000, torch.arange(4000) < 1000, 0.25, BatchRandom(0))
    assert set(dropped[:1000]) == {""} and set(dropped[1000:]) == {"", "tone"}
    assert abs(dropped[1000:].count("") / 3000 - 0.25) < 0.03


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_dropout_of_the_sentence_vector_is_of_so_many_prompts_that_are_left_in_training(rate):
    prompt, texts, none = make(sentence_dropout=rate), ["tone"] * 4000, torch.arange(4000) < 1000
    random, plain = BatchRandom(0), BatchRandom(0)
    dropped = prompt.train().drop(texts, none, 0.25, random)
    assert dropped == make().drop(texts, none, 0.25, plain)  # the same captions are lost, whatever the rate
    remaining = [text for text in dropped if text]
    assert abs(sum(isinstance(text, WordByWord) for text in remaining) / len(remaining) - rate) < 0.03
    # Without it no number is drawn, so that what follows is as it always was.
    assert torch.equal(random.uniform(4), plain.uniform(4)) == (rate == 0)
    assert not any(isinstance(text, WordByWord) for text in prompt.eval().drop(texts, none, 0.25, BatchRandom(0)))


@given(st.lists(st.sampled_from(["low tone", "a high tone", ""]), min_size=1, max_size=4))
def test_what_is_read_word_by_word_has_its_tokens_and_no_sentence_vector(prompt, texts):
    whole, words = prompt({"prompt": texts}), prompt({"prompt": list(map(WordByWord, texts))})
    assert torch.equal(words.tokens, whole.tokens) and torch.equal(words.token_mask, whole.token_mask)
    assert not words.global_embedding.any()
    mixed = prompt({"prompt": [*texts, WordByWord("low tone")]})
    assert torch.allclose(mixed.global_embedding[:-1], whole.global_embedding) and not mixed.global_embedding[-1].any()


def test_a_new_word_is_learned_through_its_tokens_alone_where_the_sentence_vector_is_dropped():
    prompt = make()
    prompt.learn("<bell>", torch.randn(2, 256))
    found = prompt({"prompt": [WordByWord("a <bell>"), "a <bell>"]}).global_embedding
    assert not found[0].any() and found[1].any()
    found.sum().backward()
    assert prompt.vectors["<bell>"].grad.any()  # of the second one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("low sitar", r"'sitar' \(nearest: '(low|tone|tones|high)'\).*no training caption"),
        ("xyzzy Ёж 音", r"xyzzy.*no training caption"),
        ("tone " * 2000, r"9999 characters: only its first 6 tokens .*'tone tone"),
    ],
)
def test_what_a_model_does_not_know_is_said_in_one_line(prompt, text, message):
    with pytest.warns(UserWarning, match=message) as caught:
        prompt.parse({"prompt": text})
    assert all("\n" not in str(warning.message) and len(str(warning.message)) < 300 for warning in caught)


def test_known_words_and_their_plurals_are_not_warned_of(prompt):
    assert prompt.words == ("high", "low", "tone", "tones")
    with warnings.catch_warnings(action="error"):
        prompt.parse({"prompt": "a low tone and highs"})
        make().parse({"prompt": "sitar"})  # not trained yet: nothing is known


def test_a_prompt_is_a_text(prompt):
    with pytest.raises(UserError, match=r"prompt 3: .*text"):
        prompt.parse({"prompt": 3})
    with pytest.raises(UserError, match=r"prompt of 10001 characters: too long; use at most 10000"):
        prompt.parse({"prompt": "a" * 10001})


@given(st.text(st.characters(codec=None), max_size=20), st.text(st.characters(categories=["Cs"]), max_size=2))
def test_any_text_is_a_prompt_or_one_line(prompt, text, surrogates):
    with warnings.catch_warnings(action="ignore"):
        prompt.parse({"prompt": text.encode("utf-8", "ignore").decode()})
        if surrogates:
            with pytest.raises(UserError, match=r"^prompt .*: is not valid Unicode; .*UTF-8") as error:
                prompt.parse({"prompt": text + surrogates})
            assert "\n" not in str(error.value) and str(error.value).encode()


def test_training_needs_captions():
    with pytest.raises(UserError, match=r"model.conditioners.prompt: no training clip has a caption; .*model=audio"):
        make().fit(CLIPS[2:])


def test_a_checkpoint_names_the_embeddings_and_refuses_others(prompt):
    described = describe(prompt)
    assert described["digest"] == prompt.table.digest and described["words"] == ["high", "low", "tone", "tones"]
    assert "table" not in dict(prompt.state_dict()) and sum(p.numel() for p in prompt.parameters()) < 20_000
    assert describe(build(described)) == described
    with pytest.raises(UserError, match=r"wordllama-l2-256: .*hash differs.*pip install wordllama==") as error:
        build(described | {"digest": "0" * 64}).parse({"prompt": "tone"})
    assert "\n" not in str(error.value)


def test_weights_of_a_model_with_other_embeddings_are_refused(prompt):
    prompt.check_initial(build(describe(prompt)))
    prompt.check_initial(make())  # of a model that was never trained
    with pytest.raises(UserError, match=r"wordllama-l2-256: .*hash differs.*pip install wordllama=="):
        prompt.check_initial(make(digest="0" * 64))
    with pytest.raises(UserError, match=r"differs from .*glove; set model.conditioners.prompt.source=glove"):
        prompt.check_initial(make(digest="0" * 64, source="glove"))


def test_training_draws_a_caption_of_the_clip(prompt):
    class Crop:
        clip, random = CLIPS[0], np.random.default_rng(0)

    assert prompt.from_crop(Crop) == "low tones"
    assert prompt.collate(["low tones", ""]) == ["low tones", ""]


def test_words_of_a_checkpoint_are_valid_unicode():
    with pytest.raises(ValueError, match="surrogates"):
        Prompt(16, 8, words=["low", "\ud800"])


def test_vectors_of_placeholders_are_counted_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr(Prompt, "learn", None)
    with pytest.raises(ValueError, match="placeholder_tokens 1000000000000 is above max_tokens, 8"):
        Prompt(16, 16, layers=1, heads=2, max_tokens=8, placeholders=["<a>"], placeholder_tokens=[10**12])
