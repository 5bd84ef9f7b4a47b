"""A voice in use: times, controls, streaming, and what it refuses. The voice is random; what it says is not judged."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import audiodiff
from audiodiff.audio.io import Audio, read
from audiodiff.audio.mel.time_scale import scale_time
from audiodiff.errors import UserError
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.setting import Setting
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.speech_synthesizer import FIRST_CLAUSE_CHARACTERS, PARAGRAPH_PAUSE, SpeechSynthesizer
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.text.front_end import Utterance

TEXT = "The file is ready. Is it, though? Yes, and the next one, too."
LONG = "When the rain had stopped, the children ran out to the river, and nobody called them back. Then came night."
QUICK = SpeechOptions(steps=2)


@pytest.fixture(scope="module")
def voice(voice_folder, model_folder):
    return SpeechSynthesizer.from_pretrained(voice_folder, vocoder=model_folder)


def check_times(speech):
    """Words are ordered and inside of the audio, which the phonemes tile."""
    assert speech.seconds == pytest.approx(speech.audio.seconds)
    edges = [0.0, *itertools.chain.from_iterable((word.start, word.end) for word in speech.words), speech.seconds]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(edges))
    assert speech.phonemes[0].start == 0 and speech.phonemes[-1].end == pytest.approx(speech.seconds)
    assert all(a.end == pytest.approx(b.start) for a, b in itertools.pairwise(speech.phonemes))
    assert all(one.start <= one.end for one in (*speech.phonemes, *speech.sentences))


def test_a_voice_loads_by_its_type_with_the_vocoder_that_it_names(voice_folder, vocoder, monkeypatch):
    names = []
    monkeypatch.setattr(Vocoder, "from_pretrained", classmethod(lambda cls, name, *_: names.append(name) or vocoder))
    assert isinstance(audiodiff.load(voice_folder, "cpu"), audiodiff.SpeechSynthesizer)
    assert names == ["speech-16k"]


def test_a_text_is_encoded_once(voice, monkeypatch):
    calls, encoder = [], voice.model.encoder.text
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda *inputs: calls.append(inputs) or forward(*inputs))
    voice.say("The file is ready.", QUICK)
    assert len(calls) == 1
    utterance = voice.front.phonemize("The file is ready.")
    parts = {"symbols": voice.encode(utterance, QUICK), "prosody": voice.prosody(utterance, QUICK)}
    assert torch.equal(voice.mel(utterance, QUICK), voice.mel(utterance, QUICK, **parts))


def test_words_and_phonemes_have_their_times(voice):
    speech = voice.say(TEXT, QUICK)
    check_times(speech)
    assert " ".join(word.text for word in speech.words) == "The file is ready Is it though Yes and the next one too"
    assert len(speech.sentences) == 3 and speech.text == TEXT
    assert speech.audio.samples.ndim == 1 and speech.audio.sample_rate == 16000


@given(
    st.lists(
        st.sampled_from(["a", "file,", "is", "ready.", "Is", "1st;", "go!", "(you)"]),
        min_size=1,
        max_size=12,
    ),
    st.floats(0.5, 2),
)
@settings(max_examples=12, deadline=None)
def test_times_fit_whatever_is_said_at_any_rate(voice, words, rate):
    check_times(voice.say(" ".join(words), steps=1, rate=rate))


def test_a_seed_is_repeatable_and_another_differs(voice):
    first, again, other = (voice.say("Hello.", QUICK, seed=seed).audio.samples for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_parts_that_stream_are_what_is_said(voice):
    said, parts = voice.say(TEXT, QUICK, seed=2), list(voice.stream(TEXT, QUICK, seed=2))
    assert len(parts) == 3
    assert torch.equal(torch.cat([part.audio.samples for part in parts]), said.audio.samples)


def test_the_first_part_of_a_stream_is_short_and_later_sentences_are_as_said(voice):
    parts = list(voice.stream(LONG, QUICK))
    assert len(parts[0].text) <= FIRST_CLAUSE_CHARACTERS < len(LONG)
    last, said = parts[-1].audio.samples, voice.say(LONG, QUICK).audio.samples
    assert torch.equal(last, said[-len(last) :])  # its noise depends on its sentence, not on how the first was cut


def test_parts_meet_in_silence(voice):
    for part in voice.stream(LONG, QUICK):
        samples = part.audio.samples
        assert samples[[0, -1]].abs().max() < 0.05 * samples.abs().max()


def test_a_rate_changes_the_time_and_nothing_else(voice):
    utterance = voice.front.phonemize("The file is ready.")
    usual = voice.mel(utterance, QUICK)
    for rate in (0.5, 1, 1.5, 2):
        assert torch.equal(voice.mel(utterance, replace(QUICK, rate=rate)), scale_time(usual, rate))


def test_rate_scales_the_duration(voice):
    usual = voice.say(TEXT, QUICK).seconds
    for rate in (0.5, 0.8, 1.25, 2):
        assert voice.say(TEXT, QUICK, rate=rate).seconds == pytest.approx(usual / rate, rel=0.05)


def test_paragraphs_are_parted_by_more_silence_at_any_rate(voice):
    for rate in (1, 2):
        together, parted = (voice.say(f"One two.{gap}Three.", QUICK, rate=rate) for gap in (" ", "\n\n"))
        assert parted.seconds - together.seconds == pytest.approx(PARAGRAPH_PAUSE / rate, abs=0.017)
        assert parted.words[1].end == pytest.approx(together.words[1].end)
        assert [one.text for one in parted.sentences] == ["One two.", "Three."]
        check_times(parted)


def test_words_are_timed_as_they_are_written(voice):
    speech = voice.say("Dr. No paid $5.", QUICK)
    assert [word.text for word in speech.words] == ["Dr.", "No", "paid", "$5"]
    assert speech.words[3].spoken == "five dollars"
    spoken = voice.say("Doctor No paid five dollars.", QUICK)
    assert speech.words[3].start == spoken.words[3].start and speech.words[3].end == spoken.words[4].end


def test_a_long_text_is_not_sped_up(voice):
    one = voice.say("The file is ready.", QUICK).seconds
    assert voice.say("The file is ready. " * 10, QUICK).seconds == pytest.approx(10 * one, rel=1e-6)


def test_the_vocoder_takes_the_fewest_steps_that_it_was_validated_with(voice, monkeypatch):
    generate, steps = voice.vocoder.generate, []
    monkeypatch.setattr(voice.vocoder, "generate", lambda *a, **o: steps.append(o["steps"]) or generate(*a, **o))
    for validated, fewest in (((2, 4), 2), (None, voice.vocoder.model.default_steps)):
        monkeypatch.setattr(voice.vocoder.model, "validated", validated)
        voice.say("Yes.", QUICK)
        assert steps.pop() == fewest
    monkeypatch.setattr(voice.vocoder.model, "settings", (Setting("fast", 3), Setting("good", 4)))
    monkeypatch.setattr(voice.vocoder.model, "validated", (2, 4))
    voice.say("Yes.", QUICK)
    assert steps.pop() == 3


def test_pitch_shifts_every_voiced_symbol(voice):
    utterance = voice.front.phonemize("Good morning.")
    usual = voice.prosody(utterance).pitch
    for semitones in (-6, 6):
        shifted = voice.prosody(utterance, SpeechOptions(pitch=semitones)).pitch
        torch.testing.assert_close(shifted, usual * 2 ** (semitones / 12))


def test_energy_is_in_decibels(voice):
    utterance = voice.front.phonemize("Good morning.")
    usual, louder = (voice.mel(utterance, SpeechOptions(steps=2, energy=db)) for db in (0, 6))
    torch.testing.assert_close(louder - usual, torch.full_like(usual, 6 * math.log(10) / 20), rtol=0, atol=1e-4)


def test_steps_sampler_and_guidance_reach_the_model(voice):
    mels = [
        voice.mel(voice.front.phonemize("Yes."), SpeechOptions(**options))
        for options in ({"steps": 2}, {"steps": 3}, {"steps": 2, "guidance_scale": 2}, {"steps": 2, "sampler": "ddpm"})
    ]
    assert all(not torch.equal(mels[0], other) for other in mels[1:])


def test_without_temperature_the_seed_does_not_matter(voice):
    utterance = voice.front.phonemize("Yes.")

    def mel(**options):
        return voice.mel(utterance, SpeechOptions(steps=2, sampler="ddpm", **options))

    assert torch.equal(mel(temperature=0, seed=1), mel(temperature=0, seed=2))
    assert not torch.equal(mel(temperature=0.5, seed=1), mel(temperature=0.5, seed=2))
    assert torch.equal(mel(temperature=1, seed=1), mel(seed=1))  # the model's own


def test_speakers_differ_and_mix(voice):
    utterance = voice.front.phonemize("Yes.")
    ann, bob, both = (
        voice.prosody(utterance, SpeechOptions(speaker=name)).durations for name in ("ann", "bob", "ann:0.5,bob:0.5")
    )
    assert not torch.equal(ann, bob) and not torch.equal(both, ann) and not torch.equal(both, bob)
    assert torch.equal(ann, voice.prosody(utterance).durations)  # the first is the default


@pytest.fixture(scope="module")
def imitator(reference_voice_folder, model_folder):
    return SpeechSynthesizer.from_pretrained(reference_voice_folder, vocoder=model_folder)


def test_a_reference_clip_takes_the_place_of_a_speaker(imitator, reference_clips):
    low, high = (imitator.say("Yes.", QUICK, reference=path).audio.samples for path in reference_clips)
    ann = imitator.say("Yes.", QUICK).audio.samples
    assert not torch.equal(low, high) and not torch.equal(low, ann)
    clip = read(reference_clips[0])
    assert torch.equal(imitator.say("Yes.", QUICK, reference=clip).audio.samples, low)
    assert torch.equal(imitator.say("Yes.", QUICK, reference=str(reference_clips[0])).audio.samples, low)


def test_a_reference_is_embedded_once_for_a_text(imitator, reference_clips, monkeypatch):
    embedded, embed = [], AcousticModel.speaker_embedding
    monkeypatch.setattr(AcousticModel, "speaker_embedding", lambda *given: embedded.append(given) or embed(*given))
    imitator.say(TEXT, QUICK, reference=reference_clips[0])
    assert len(embedded) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reference": Audio(torch.ones(800), 8000), "speaker": "ann"}, "use one of the two"),
        ({"reference": Audio(torch.zeros(800), 8000)}, "silent"),
        ({"reference": Audio(torch.ones(2, 1, 800), 8000)}, "one clip"),
        ({"reference": "missing.wav"}, "missing.wav"),
        ({"reference": 3}, "Audio"),
    ],
)
def test_a_bad_reference_is_one_line_before_any_work(imitator, monkeypatch, options, words):
    monkeypatch.setattr(AcousticModel, "embed_text", None)
    with pytest.raises(UserError) as error:
        imitator.say("Hello.", **options)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_voice_without_references_refuses_them(voice):
    with pytest.raises(UserError, match=r"^reference: .*ann, bob"):
        voice.say("Hello.", reference=Audio(torch.ones(800), 8000))


@pytest.mark.parametrize("text", ["One two. [pause 0.5]", "[pause 0.5] One two.", "One [pause 0.5] two."])
def test_a_pause_is_as_long_as_asked_at_any_rate(voice, text):
    for rate in (1, 2):
        pauses = voice.prosody(utterance := voice.front.phonemize(text), SpeechOptions(rate=rate)).durations
        plain = voice.prosody(Utterance(utterance.text, utterance.phonemes, utterance.words), SpeechOptions(rate=rate))
        spec = voice.model.mel_spec
        longer = (pauses - plain.durations).sum() / rate * spec.hop_length / spec.sample_rate
        assert float(longer) == pytest.approx(0.5, abs=1e-4)


def test_a_long_pause_is_silence_and_the_rest_does_not_know_of_it(voice):
    short, long = (voice.say(f"One [pause {seconds}] two.", QUICK) for seconds in (0.5, 30))
    longer = long.audio.samples.shape[-1] - short.audio.samples.shape[-1]
    assert longer / 16000 == pytest.approx(29.5, abs=0.01)
    check_times(long)
    first, second = long.words
    start, end = round((first.end + 0.5) * 16000), round((second.start - 0.5) * 16000)
    assert not long.audio.samples[start:end].any()
    assert second.end - second.start == pytest.approx(short.words[1].end - short.words[1].start, abs=1e-4)


def test_phonemes_of_any_length_are_spoken_in_parts(voice):
    phonemes = "həlˈO wˈɜɹld. " * 100 + "... " * 100
    utterance = Utterance.from_phonemes(phonemes)
    parts = list(voice.stream(utterance, QUICK, steps=1))
    assert len(parts) > 5 and all(len(part.text) <= 200 for part in parts)
    assert sum(len(part.words) for part in parts) == 200
    alone = voice.say(Utterance.from_phonemes(parts[0].text), QUICK, steps=1)
    assert torch.equal(alone.audio.samples, parts[0].audio.samples)


def test_phonemes_are_spoken_as_given(voice):
    speech = voice.say(Utterance.from_phonemes("həlˈO wˈɜɹld."), QUICK)
    assert "".join(one.symbol for one in speech.phonemes) == "həlˈO wˈɜɹld." and len(speech.words) == 2
    check_times(speech)


def test_a_hundred_thousand_characters_are_read_as_they_are_spoken(voice, monkeypatch):
    text = "".join(f"This is sentence {number} of a long book. " for number in range(3000))
    assert len(text) > 100_000
    front, calls = voice.front, []
    phonemize = front.phonemize
    monkeypatch.setattr(front, "phonemize", lambda sentence: calls.append(sentence) or phonemize(sentence))
    parts = list(itertools.islice(voice.stream(text, QUICK), 3))
    assert len(parts) == 3 and len(calls) == 3


@pytest.mark.parametrize("text", ["", " \n", "...?!", "\N{GRINNING FACE}\N{PARTY POPPER}", "\x00\x07\x1b[0m"[:3], "—"])
def test_nothing_to_say_is_one_line(voice, text):
    for speak in (voice.say, lambda given: list(voice.stream(given))):
        with pytest.raises(UserError) as error:
            speak(text)
        assert "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize(
    "text", ["Say \x00this\x07.", "Say this \N{GRINNING FACE}.", "Say this, Привет.", "Say this 你好."]
)
def test_what_can_be_said_of_a_text_is_said(voice, text):
    assert "say" in [word.text.lower() for word in voice.say(text, QUICK).words]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speaker": "eve"}, "ann, bob"),
        ({"speaker": "ann:0.5,eve:0.5"}, "ann, bob"),
        ({"speaker": "ann:-1"}, "A:0.7"),
        ({"rate": 0}, "rate 0"),
        ({"rate": math.nan}, "rate nan"),
        ({"pitch": 1000}, "semitones"),
        ({"energy": 1000}, "dB"),
        ({"steps": 0}, "steps 0"),
        ({"sampler": "best"}, "sampler"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"speed": 2}, "speed"),
    ],
)
def test_a_bad_option_is_one_line_before_any_work(voice, monkeypatch, options, words):
    monkeypatch.setattr(type(voice.model), "embed_text", None)
    for speak in (voice.say, lambda *given, **named: next(voice.stream(*given, **named))):
        with pytest.raises(UserError) as error:
            speak("Hello.", **options)
        assert words in str(error.value) and "\n" not in str(error.value)


def test_a_vocoder_of_other_mels_is_refused_by_field(voice_folder, tiny):
    with pytest.raises(UserError, match=r"sample_rate.*center"):
        SpeechSynthesizer.from_pretrained(voice_folder, vocoder=Vocoder(tiny(spec="hifigan_22k")))


def test_a_model_of_another_type_is_refused(model_folder):
    with pytest.raises(UserError):
        SpeechSynthesizer.from_pretrained(model_folder)
