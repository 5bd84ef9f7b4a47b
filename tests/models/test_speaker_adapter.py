"""Adapters that add a speaker to a voice: the new name speaks, and the voice's own speakers are as before."""

import math
from dataclasses import replace

import pytest
import torch
from adapter_models import random_adapter

from audiodiff.errors import UserError
from audiodiff.models import adapter as adapters
from audiodiff.models.adapted import AppliedAdapter, apply, merge
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.text.front_end import Utterance

VECTOR = torch.linspace(-1, 1, 16)
HELLO = Utterance.from_phonemes("həlˈO.")


@pytest.fixture
def voice(make_voice):
    return make_voice().requires_grad_(False)


@pytest.fixture
def say(vocoder):
    def say(model, speaker, **options):
        options = {"speaker": speaker, "steps": 2} | options
        return SpeechSynthesizer(model, vocoder=vocoder).say(HELLO, **options).audio.samples

    return say


def test_a_speaker_alone_leaves_the_others_as_they_are(voice, say):
    one = AppliedAdapter(random_adapter(voice, "", speakers={"anna": VECTOR}))
    assert torch.equal(say(voice, "bob", adapters=[one]), say(voice, "bob"))
    anna = say(voice, "anna", adapters=[one])
    assert not any(torch.allclose(anna[..., :200], say(voice, name)[..., :200], atol=1e-3) for name in ("ann", "bob"))
    with pytest.raises(UserError, match="choose one of ann, bob"):
        say(voice, "anna")
    assert voice.speakers == ("ann", "bob")


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_a_name_is_whole_at_any_scale(scale, voice, say):
    one = AppliedAdapter(random_adapter(voice, "", speakers={"anna": VECTOR}), scale)
    assert torch.equal(apply(voice, [one]).speaker_embedding(["anna"])[0], VECTOR)


def test_a_merged_voice_keeps_the_speaker(voice, say, tmp_path):
    one = AppliedAdapter(random_adapter(voice, speakers={"anna": VECTOR}))
    applied = say(voice, "anna", adapters=[one])
    merge(voice, [one]).save_pretrained(tmp_path)
    loaded = type(voice).from_pretrained(tmp_path).requires_grad_(False)
    assert loaded.speakers == ("ann", "bob", "anna")
    assert torch.equal(say(loaded, "anna"), applied)
    with pytest.raises(UserError, match="speaker anna: is known already"):
        apply(loaded, [AppliedAdapter(random_adapter(loaded, "", speakers={"anna": VECTOR}))])


def test_durations_that_are_not_finite_are_refused_in_one_line(voice):
    """Those of a speaker of huge numbers."""
    symbols = SpeechSynthesizer(voice).encode(HELLO)
    with pytest.raises(UserError, match=r"^the predicted durations: are not finite; [^\n]*adapters"):
        voice.predict_prosody(replace(symbols, hidden=symbols.hidden * math.nan))


def test_speakers_of_several_adapters_mix(voice, say):
    pair = [AppliedAdapter(random_adapter(voice, "", speakers={name: VECTOR * k})) for k, name in ((1, "x"), (2, "y"))]
    embedding = apply(voice, pair).speaker_embedding(["x:1,y:1"])[0]
    torch.testing.assert_close(embedding, 1.5 * VECTOR)
    with pytest.raises(UserError, match="speaker x: is known already; leave one of the two out"):
        apply(voice, [pair[0], pair[0]])


def test_a_speaker_is_stored_with_its_name(voice, tmp_path):
    random_adapter(voice, "", speakers={"kokoro/af.sarah": VECTOR}).save(tmp_path)
    found = adapters.load(tmp_path)
    assert list(found.speakers) == ["kokoro/af.sarah"] and torch.equal(found.speakers["kokoro/af.sarah"], VECTOR)
    assert found.numbers() == 16


def test_models_without_speakers_refuse_one(make_prompted):
    model = make_prompted().requires_grad_(False)
    one = AppliedAdapter(random_adapter(model, "", speakers={"anna": VECTOR}))
    with pytest.raises(UserError, match="has the speaker anna, and this model has no speakers"):
        apply(model, [one])


def test_vectors_of_another_width_are_refused(voice):
    one = AppliedAdapter(random_adapter(voice, "", speakers={"anna": VECTOR[:5]}))
    with pytest.raises(UserError, match=r"speaker anna: has a vector \(5,\)"):
        apply(voice, [one])
