"""The tab of voices, called by its API."""

import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from audiodiff.demo import preview


@pytest.fixture(scope="module")
def voice(voice_url):
    return Client(voice_url, verbose=False)


def speak(voice, text, **options):
    """(samples, sample rate, settings) of a text."""
    files, settings = voice.predict(text=text, **{"steps": 2} | options, api_name="/say")
    return *soundfile.read(files[0], dtype="int16"), settings


def test_a_text_is_spoken_with_the_times_of_its_words(voice):
    clip, rate, settings = speak(voice, "Hello there.", speaker="bob", seed=3)
    assert rate == 16000 and len(clip) and clip.any()
    assert [word["text"] for word in settings["words"]] == ["Hello", "there"]
    assert "".join(phoneme["symbol"] for phoneme in settings["phonemes"]) == "həlˈO ðˈɛɹ."
    assert settings["phonemes"][-1]["end"] == pytest.approx(len(clip) / rate, abs=1e-3)
    assert (settings["speaker"], settings["steps"], settings["seed"]) == ("bob", 2, 3)
    assert (speak(voice, "Hello there.", speaker="bob", seed=3)[0] == clip).all()


def test_options_and_lexicon_reach_the_speech(voice):
    plain = speak(voice, "The gif.")[0]
    assert len(speak(voice, "The gif.", rate=0.5)[0]) > 1.5 * len(plain)
    listed = speak(voice, "The gif.", lexicon="gif,dʒɪf")[2]
    assert "".join(phoneme["symbol"] for phoneme in listed["phonemes"]) == "ðə ʤɪf."


def test_what_is_left_out_of_a_text_is_shown(voice):
    assert speak(voice, "Hello.")[2]["warnings"] == []
    (message,) = speak(voice, "Hello 💩. П you.")[2]["warnings"]
    assert "'💩' (U+1F4A9), 'П' (U+041F); left out" in message


def test_words_are_shown_as_they_are_written(voice):
    words = speak(voice, "Dr. No has $5.")[2]["words"]
    assert [(word["text"], word.get("spoken")) for word in words] == [
        ("Dr.", "Doctor"),
        ("No", None),
        ("has", None),
        ("$5", "five dollars"),
    ]


def test_a_reference_clip_takes_the_place_of_the_speaker(voice, recording):
    plain = speak(voice, "Hello.", speaker="bob")[0]
    clip, _, settings = speak(voice, "Hello.", speaker="bob", reference=handle_file(recording))
    assert settings["speaker"] is None and len(settings["reference"]) == 64
    assert len(clip) != len(plain) or (clip != plain).any()


def test_a_voice_without_references_has_no_control_for_them(voice_folder, tabs):
    tab = tabs(voice_folder)["say"]
    options = tab.task.options(tab.offers[0])
    assert "speaker" in options and "reference" not in options


def test_the_mel_forms_step_by_step(tabs, voice_folder, monkeypatch):
    monkeypatch.setattr(preview, "PAUSE", 0.0)
    monkeypatch.setattr(preview, "SHARE", 1.0)
    tab = tabs(voice_folder)["say"]
    values = tab.defaults | {"text": "Hello.", "steps": 4}
    outputs = list(tab.run(*values.values(), lambda *_, **__: None))
    forming = [clips["forming"] for clips, *_ in outputs if clips.get("forming")]
    assert [one["done"] for one in forming] == [1, 2, 3] and all("picture" in one for one in forming)
    shown = outputs[-1][0]["clips"][0]
    assert [mark[2] for mark in shown["marks"]] == ["Hello"] and shown["seconds"] > 0


def test_several_clips_have_consecutive_seeds(voice):
    files, settings = voice.predict(text="Hello.", steps=2, seed=5, count=2, api_name="/say")
    alone = voice.predict(text="Hello.", steps=2, seed=6, api_name="/say")[0][0]
    second = soundfile.read(files[1])[0]
    assert settings["seed"] == 5 and (second == soundfile.read(alone)[0]).all()


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        ({"text": ""}, "text: is empty"),
        ({"text": "💩"}, "text '💩'"),
        ({"text": "a" * 2001}, "Text: has 2001"),
        ({"text": "Hi", "steps": 101}, "Steps 101"),
        ({"text": "Hi", "speaker": "eve"}, "Speaker 'eve'"),
        ({"text": "Hi", "lexicon": "gif,dʒɪf\nbad"}, "Lexicon, line 2"),
        ({"text": "Hi", "rate": 9}, "Rate 9"),
        ({"text": 1500 * "Hi", "steps": 2}, "Text: has 3000"),
        ({"text": 600 * "a ", "count": 4}, "4 clips of 1200 characters"),
    ],
)
def test_mistakes_are_one_line(voice, options, subject):
    with pytest.raises(AppError, match=rf"^{subject}[^\n]*$"):
        speak(voice, **options)
