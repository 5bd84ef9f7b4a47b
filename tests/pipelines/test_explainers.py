"""Explanations: of the very clip that is generated, with effects and maps that are exact."""

import json

import pytest
import torch
from adapter_models import random_adapter

from audiodiff.audio.io import Audio
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.diffusion.trajectory import State, Trajectory
from audiodiff.errors import UserError
from audiodiff.models.adapted import AppliedAdapter
from audiodiff.nn.condition import Condition
from audiodiff.pipelines.audio_explainer import AudioExplainer
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.explanation import NOTHING, explain_states, shown_steps
from audiodiff.pipelines.speech_explainer import SpeechExplainer
from audiodiff.text.front_end import Utterance

CLIP = {"seed": 3, "steps": 3, "seconds": 0.1}
HELLO = Utterance.from_phonemes("həlˈO.")


@pytest.fixture
def model(make_prompted):
    return make_prompted().requires_grad_(False)


class Scaled:
    """D(x_t, t, c) = (1 + c) x_t, of a condition that is a number."""

    schedule = Cosine()

    def __call__(self, x_t, t, cond=None):
        return (1 + cond.global_embedding[0, 0]) * x_t


def test_the_sensitivity_is_the_relative_change_of_the_estimate():
    states = [State(t, torch.ones(1, 1, 4), torch.full((1, 1, 4), scale)) for t, scale in ((0.9, 1.0), (0.5, 4.0))]
    condition, null = (Condition(global_embedding=torch.tensor([[value]])) for value in (0.25, 0.0))
    steps = explain_states(Scaled(), torch.nn.Identity(), states, condition, {"own": null, "unused": condition})
    for step, state in zip(steps, states, strict=True):
        assert step.sensitivity["own"] == pytest.approx(0.2) and step.sensitivity["unused"] == 0.0
        assert step.log_snr == pytest.approx(Cosine().level(state.t).log_snr)
    assert steps[0].change is None and steps[1].change == pytest.approx(0.75)


def test_a_trajectory_is_that_of_the_sampler():
    sampler, x1 = presets.build("ddim", 4), torch.randn(1, 1, 8)
    condition = Condition(global_embedding=torch.tensor([[-0.5]]))
    trajectory = Trajectory(Scaled())
    assert torch.equal(sampler(trajectory, x1, condition), sampler(Scaled(), x1, condition))
    assert [state.t for state in trajectory.states] == pytest.approx(sampler.grid_for(Scaled())[:-1].tolist())
    assert torch.equal(trajectory.states[0].x_t, x1) and torch.equal(trajectory.states[0].estimate, 0.5 * x1)


@pytest.mark.parametrize(
    "options", [{}, {"guidance_scale": 3.0}, {"negative": "tap", "guidance_scale": 2.0}, {"seed": 9}]
)
def test_the_clip_that_is_explained_is_the_one_that_is_generated(model, options):
    given = CLIP | {"prompt": "loud rain", "labels": ["kick"]} | options
    found = AudioExplainer(model).explain(**given)
    assert torch.equal(found.audio.samples, AudioGenerator(model).generate(**given).samples)
    assert len(found.steps) == 3 and list(found.estimates) == [0, 1, 2]
    for step in found.steps:
        assert list(step.sensitivity) == ["labels", "prompt", "prompt, word by word", "prompt, as a whole"]
        assert min(step.sensitivity.values()) > 0
        for one in (*step.words.values(), *step.frames.values()):
            torch.testing.assert_close(one.sum(-1), torch.ones(len(one)), atol=1e-5, rtol=0)
        (words,) = step.words.values()
        assert words.shape[1] == len(found.tokens)
    assert found.tokens == ["loud", "rain", NOTHING] and found.text == ["loud", "rain"]
    assert list(found.text_attention) == ["conditioners.prompt.encoder.attention.0"]
    for one in found.text_attention.values():
        torch.testing.assert_close(one.sum(-1), torch.ones(2))
    last = found.estimates[2].samples
    assert last.shape == found.audio.samples.shape[-1:]
    assert (
        json.loads(json.dumps(found.record(), allow_nan=False))["steps"][0]["sensitivity"] == found.steps[0].sensitivity
    )


def test_what_is_read_word_by_word_and_as_a_whole_is_told_apart(model):
    with torch.no_grad():
        for layer in model.network.unet.cross_attention.values():
            layer.project.weight.zero_()
    for step in AudioExplainer(model).explain(**CLIP, prompt="loud rain").steps:
        found = step.sensitivity
        assert found["prompt, word by word"] == 0.0 < found["prompt"] == found["prompt, as a whole"]


def test_a_condition_that_is_not_used_or_not_given_has_no_effect(model):
    with torch.no_grad():
        for layer in model.network.unet.cross_attention.values():
            layer.project.weight.zero_()
        (prompt,) = (one for one in model.conditioners if one.name == "prompt")
        prompt.sentence[-1].weight.zero_()
    for given, zero, above in (
        ({"prompt": "rain", "labels": ["kick"]}, ["prompt", "prompt, word by word", "prompt, as a whole"], ["labels"]),
        ({"prompt": "rain"}, ["prompt", "labels"], []),
    ):
        for step in AudioExplainer(model).explain(**CLIP, **given).steps:
            assert [step.sensitivity[name] for name in zero] == [0.0] * len(zero)
            assert all(step.sensitivity[name] > 0 for name in above)


def test_without_a_prompt_nothing_is_read(model):
    found = AudioExplainer(model).explain(**CLIP, labels=["kick"])
    (words,) = found.steps[0].words.values()
    assert found.tokens == [NOTHING] and torch.equal(words, torch.ones_like(words)) and not found.text_attention


def test_a_new_word_has_a_column_for_each_of_its_vectors(model):
    one = AppliedAdapter(random_adapter(model, words={"<my-drum>": torch.randn(2, 256)}))
    found = AudioExplainer(model).explain(**CLIP, prompt="a <my-drum> hit", adapters=[one])
    assert found.tokens == ["a", "<my-drum>", "<my-drum>", "hit", NOTHING]
    expected = AudioGenerator(model).generate(**CLIP, prompt="a <my-drum> hit", adapters=[one])
    assert torch.equal(found.audio.samples, expected.samples)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"seconds": 60}, "^60 seconds: too long to explain"),
        ({"prompt": "rain | tap"}, "^prompt: is of several parts"),
        ({"loop": True}, "^loop: cannot be explained"),
        ({"continue_from": Audio(torch.ones(1, 8000), 8000)}, "^continue_from: cannot be explained"),
        ({"tempo": 120}, "^tempo 120: this model has no tempo condition"),
    ],
)
def test_what_cannot_be_explained_is_one_line(model, options, match):
    with pytest.raises(UserError, match=match) as error:
        AudioExplainer(model).explain(**CLIP | options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{}, {"guidance_scale": 2.0, "speaker": "bob", "temperature": 0.5}])
def test_a_sentence_is_explained_as_it_is_spoken(make_voice, vocoder, options):
    voice = SpeechExplainer(make_voice().requires_grad_(False), vocoder=vocoder)
    found = voice.explain(HELLO, steps=3, seed=2, **options)
    said = voice.say(HELLO, steps=3, seed=2, **options)
    assert torch.equal(found.audio.samples, said.audio.samples)
    assert [one.symbol for one in found.phonemes] == ["", *HELLO.phonemes, ""] == ["", *found.text[1:-1], ""]
    (attention,) = found.text_attention.values()
    torch.testing.assert_close(attention.sum(-1), torch.ones(len(found.text)))
    for step in found.steps:
        assert step.sensitivity["text"] > 0 and step.sensitivity["speaker"] > 0 and not step.words
    mels = list(found.estimates.values())
    assert len(mels) == 3 and all(mel.shape == mels[0].shape and mel.isfinite().all() for mel in mels)


def test_a_voice_that_does_not_read_its_speaker_shows_it(make_voice, vocoder):
    model = make_voice().requires_grad_(False)
    model.speaker.projection.weight.zero_()
    for step in SpeechExplainer(model, vocoder=vocoder).explain(HELLO, steps=2).steps:
        assert step.sensitivity["speaker"] == 0.0 < step.sensitivity["text"]


@pytest.mark.parametrize(
    ("text", "options", "match"),
    [
        ("Hello. Good morning.", {}, "^text: is of several sentences"),
        (HELLO, {"rate": 2.0}, "^rate 2: changes the mel"),
        (HELLO, {"speaker": "eve"}, "unknown; choose one of ann, bob"),
    ],
)
def test_what_cannot_be_said_is_one_line(make_voice, vocoder, text, options, match):
    with pytest.raises(UserError, match=match) as error:
        SpeechExplainer(make_voice().requires_grad_(False), vocoder=vocoder).explain(text, steps=2, **options)
    assert "\n" not in str(error.value)


def test_shown_steps_begin_and_end_as_sampling_does():
    for count in range(1, 60):
        shown = shown_steps(count)
        assert shown[0] == 0 and shown[-1] == count - 1 and len(set(shown)) == len(shown) == min(count, 5)
