"""The audio-text pair: unit vectors, level and rate do not matter, gradients, arguments that do not fit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_audio_text

from audiodiff.conditioners.prompt import Prompt
from audiodiff.errors import UserError
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.nn.text_head import TextHead


@pytest.fixture(scope="module")
def model() -> AudioTextModel:
    return make_audio_text().requires_grad_(False)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3000), st.sampled_from([4000, 8000, 11025, 44100]), st.integers(1, 2))
def test_any_length_rate_and_channels_is_a_unit_vector(samples, rate, channels):
    found = make_audio_text().embed_audio(noise(2, channels, samples), rate)
    assert found.shape == (2, 12)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_level_does_not_matter_and_silence_is_an_embedding(model):
    wave = noise(1, 1, 2000)
    torch.testing.assert_close(model.embed_audio(0.01 * wave, 8000), model.embed_audio(wave, 8000), rtol=0, atol=1e-4)
    assert model.embed_audio(torch.zeros(1, 1, 2000), 8000).isfinite().all()


def test_padding_is_not_part_of_a_clip(model):
    wave = noise(2, 1, 3000)
    together = model.embed_audio(wave, 8000, torch.tensor([1100, 3000]))
    torch.testing.assert_close(together[:1], model.embed_audio(wave[:1, :, :1100], 8000), rtol=0, atol=1e-4)
    torch.testing.assert_close(together[1:], model.embed_audio(wave[1:], 8000), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 12000])
def test_the_similarity_has_a_gradient_in_the_waveform(model, rate):
    wave = noise(1, 1, 1500).double().float().requires_grad_()
    text = model.embed_text(["rain"])
    similarity = (model.embed_audio(wave, rate) * text).sum()
    (gradient,) = torch.autograd.grad(similarity, wave)
    direction = gradient / gradient.norm()
    step = 1e-2
    with torch.no_grad():
        ends = [(model.embed_audio(wave + sign * step * direction, rate) * text).sum() for sign in (1, -1)]
    assert float(ends[0] - ends[1]) / (2 * step) == pytest.approx(float(gradient.norm()), rel=0.05)
    silence = torch.zeros(1, 1, 1500, requires_grad=True)
    assert torch.autograd.grad((model.embed_audio(silence, rate) * text).sum(), silence)[0].isfinite().all()


def test_texts_are_unit_vectors_whatever_stands_beside_them(model):
    texts = ["A loud KICK drum", "rain", "", "a very long description of a sound with many words in it"]
    found = model.embed_text(texts)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    for text, vector in zip(texts, found, strict=True):
        torch.testing.assert_close(model.embed_text([text])[0], vector, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.embed_text(["a loud kick  drum"])[0], found[0])


@pytest.mark.parametrize(
    ("waveform", "rate", "word"),
    [
        (torch.zeros(2, 100), 8000, "shape"),
        (torch.zeros(1, 1, 0), 8000, "shape"),
        (torch.zeros(1, 1, 9, dtype=torch.int16), 8000, "floating point"),
        ([[[0.0]]], 8000, "floating point"),
        (torch.zeros(1, 1, 9), 0, "sample rate"),
        (torch.zeros(1, 1, 9), 10**9, "sample rate"),
    ],
)
def test_bad_waveforms_are_one_line(model, waveform, rate, word):
    with pytest.raises(UserError, match=word) as caught:
        model.embed_audio(waveform, rate)
    assert "\n" not in str(caught.value)


def test_parts_that_do_not_fit(model):
    parts = model.arguments()
    for change, word in (
        ({"head": TextHead(16, 8, 11)}, "widths"),
        ({"conditioners": []}, "prompt"),
        ({"conditioners": {"a": Prompt(16, 8), "b": None}, "head": TextHead(16, 9, 12)}, "widths"),
        ({"mel_spec": make_audio_text(20).mel_spec}, "bands"),
    ):
        with pytest.raises(ValueError, match=word):
            AudioTextModel(**parts | change)


def test_weights_of_other_static_embeddings_are_refused():
    own, other = make_audio_text(), make_audio_text()
    other.prompt._digest = "0" * 64
    with pytest.raises(UserError, match="pip install"):
        own.load_initial_weights(other.weights(), other.arguments())
    own.load_initial_weights(own.weights(), own.arguments())
