"""Evaluation of a voice made of tones: which clips, speakers, differences, hard sentences, controls; and its report."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from speaking import RATE, TEXTS, Synthesizer, write_recordings

from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.evaluation import speech_benchmark, speech_evaluation, table, teachers
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.report import markdown, write
from audiodiff.evaluation.speech_controls import ControlCheck, word_error_rate
from audiodiff.evaluation.speech_evaluation import RECORDINGS, VOCODED, VOICE, evaluate
from audiodiff.evaluation.speech_report import right_speakers, speech_report
from audiodiff.evaluation.speech_scoring import SpokenClip
from audiodiff.evaluation.teachers import HIBARI, Teacher, find_teacher, speak_sentences
from audiodiff.metrics import dnsmos, speaker, transcript
from audiodiff.metrics.prosody import Timed
from audiodiff.metrics.world import f0_track

WHOLE = Settings(steps=2, seed=7)


def embedding(samples, rate):
    """The direction tells the pitch: low and high voices differ."""
    f0, _ = f0_track(samples, rate)
    position = np.clip(np.log2(np.median(f0[f0 > 0]) / 80) / 2, 0, 1) * np.pi / 2
    found = np.zeros(256, np.float32)
    found[:2] = np.cos(position), np.sin(position)
    return found


@pytest.fixture(autouse=True)
def _no_networks(monkeypatch):
    """The recognizer hears "six sheep"; quality depends on nothing."""
    monkeypatch.setattr(transcript, "transcript", lambda samples, rate: "six sheep")
    monkeypatch.setattr(dnsmos, "dnsmos_overall", lambda reference, estimate, rate: 3.0)
    monkeypatch.setattr(speaker, "embedding", embedding)
    monkeypatch.setattr(speech_evaluation, "HARD_SENTENCES", {"short": ("Six.", "Six sheep."), "long": ("Six " * 3,)})


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Manifest:
    return write_recordings(tmp_path_factory.mktemp("recordings"))


def run(synthesizer, manifest, settings=WHOLE, **options):
    return evaluate(synthesizer, manifest, settings, workers=0, quiet=True, **options)


def test_every_clip_is_spoken_by_its_speaker_with_its_own_seed(recordings):
    synthesizer = Synthesizer()
    found = run(synthesizer, recordings, Settings(steps=2, seed=7, baselines=False))
    assert len(found.clips) == 12
    for said, clip in zip(synthesizer.said[1:13], found.clips, strict=True):  # the first is the warm-up
        assert said == {
            "text": clip.text,
            "speaker": clip.speaker,
            "steps": 2,
            "seed": clip_seed(7, clip.id),
            "sampler": None,
        }
    assert list(found.block.rows) == [RECORDINGS, VOICE] and not found.hard and not found.controls


def test_differences_from_the_recordings(recordings):
    found = run(Synthesizer(), recordings)
    rows = found.block.rows
    assert list(rows) == [RECORDINGS, VOCODED, VOICE]
    assert np.nanmean(rows[RECORDINGS].scores["phoneme_ms"]) == pytest.approx(
        1.25 * np.nanmean(rows[VOICE].scores["phoneme_ms"]), rel=0.01
    )
    gain = found.block.gain(rows[VOICE], rows[RECORDINGS], "f0_median")
    assert abs(gain.mean) < 1 and gain.clips == 12
    assert rows[VOICE].times_real_time > 0 and found.first_audio > 0
    words = sum(len(transcript.words(text)) for text in TEXTS) * 2
    assert found.block.weights["wer"].sum() == words
    assert found.block.interval(rows[VOICE], "wer").mean == pytest.approx(
        100 * sum(one.errors.count for one in found.scores[VOICE]) / words
    )


def test_similarity_to_the_right_speaker(recordings):
    found = run(Synthesizer(), recordings, Settings(baselines=False))
    assert found.speakers == ["high", "low"] and right_speakers(found) == 2
    assert found.matrix[0, 0] > 0.99 > found.matrix[0, 1]
    confused = Synthesizer()
    say = confused.say
    confused.say = lambda text, speaker=None, **options: say(text, "high", **options)
    assert right_speakers(run(confused, recordings, Settings(baselines=False))) == 1


def test_hard_sentences_are_compared_with_the_teacher(recordings):
    def speak(text):
        symbols = () if text.startswith("Six s") else (Timed("s", 0.0, 0.1), Timed("i", 0.1, 0.4))
        return SpokenClip(np.zeros(RATE, np.float32), RATE, text, "en-us", symbols)

    synthesizer = Synthesizer()
    found = run(synthesizer, recordings, teacher=Teacher("high", speak)).hard
    assert [one["speaker"] for one in synthesizer.said if one["text"] == "Six."] == ["high"]
    assert [one.text for one in found] == ["Six.", "Six sheep.", "Six " * 3]
    assert [one.kind for one in found] == ["short", "short", "long"]
    assert found[0].duration_ratio == pytest.approx(found[0].scores.phoneme_ms / 200)
    assert found[1].duration_ratio == pytest.approx(0.8, rel=0.01)  # of the recordings
    alone = run(Synthesizer(), recordings).hard
    assert all(one.teacher is None for one in alone) and alone[1].duration_ratio == found[1].duration_ratio
    assert found[0].scores.errors.inserted == ("sheep",) and found[2].scores.errors.count == 2


def test_controls_are_measured(recordings):
    checks = {(one.control, one.value): one for one in run(Synthesizer(), recordings).controls}
    assert all(one.passed for one in checks.values()) and len(checks) == 8
    assert checks["rate", 2.0].measured == pytest.approx(2, rel=0.01)
    assert checks["pitch", 6.0].measured == pytest.approx(6, abs=0.2)
    broken = [one for one in run(Synthesizer(deaf=True), recordings).controls if one.control == "pitch"]
    assert not any(one.passed for one in broken)
    assert ControlCheck("rate", 0.5, 0.52, 0, 0).passed and not ControlCheck("rate", 0.5, 0.53, 0, 0).passed
    assert np.isnan(word_error_rate([]))


def test_the_report(recordings, tmp_path):
    found = run(Synthesizer(), recordings)
    report = speech_report(found)
    page, text = write(report, tmp_path), (tmp_path / "report.md").read_text()
    assert text == markdown(report) and page.read_text().count("<audio") == 3 * 8
    for part in (
        "2 of 2 speakers",
        "of 3 hard sentences",
        "| Voice |",
        "| pitch +6 semitones | +",
        "Similarity to low",
    ):
        assert part in text, part
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["rows"][VOICE]["scores"]["wer"]["clips"] == 12 and len(content["hard_sentences"]) == 3
    assert content["clips"][0]["voice"]["transcript"] == "six sheep" and content["controls"][0]["passed"]


def test_other_languages_have_no_words_and_no_hard_sentences(tmp_path):
    russian = write_recordings(tmp_path / "ru", "ru")
    found = run(Synthesizer(language="ru"), russian, Settings())
    assert found.hard == [] and found.block.weights["wer"].sum() == 0
    text = markdown(speech_report(found))
    assert "DNSMOS" in text and "word error rate" not in text.split("##")[0]


def test_a_voice_of_one_speaker_speaks_any_corpus(recordings):
    synthesizer = Synthesizer(speakers=("somebody",))
    synthesizer.say = lambda text, speaker=None, **options: Synthesizer().say(text, None, **options)
    assert len(run(synthesizer, recordings, Settings(baselines=False)).clips) == 12


@pytest.mark.parametrize(
    ("change", "settings", "match"),
    [
        ({"text": ""}, Settings(), "no clip with a text by high, low in validation or test"),
        ({"speaker": "nobody"}, Settings(), "no clip with a text"),
        ({"split": "train"}, Settings(), "no clip with a text"),
        ({}, Settings(limit=0), "limit 0"),
    ],
)
def test_nothing_to_speak_is_refused(recordings, change, settings, match):
    clips = tuple(replace(clip, **change) for clip in recordings.clips)
    with pytest.raises(UserError, match=match):
        run(Synthesizer(), Manifest(clips, recordings.root), settings)


def test_a_benchmark_has_a_row_for_guidance_and_steps_and_resumes(recordings, tmp_path):
    synthesizer, path = Synthesizer(), tmp_path / "benchmark.json"
    settings = speech_benchmark.Settings((4, 1), (1.0, 2.5), limit=3)
    record = speech_benchmark.sweep(synthesizer, {"voices": recordings}, settings, path, 0, quiet=True)
    keys = ["ground_truth", "guidance 1/1", "guidance 1/4", "guidance 2.5/1", "guidance 2.5/4"]
    assert list(record.shown[0].rows) == keys
    assert {(one["steps"], one["guidance_scale"]) for one in synthesizer.said} == {
        (1, 1.0),
        (4, 1.0),
        (1, 2.5),
        (4, 2.5),
    }
    warm = replace(settings, guidance_scales=(), temperatures=(0.5,), steps=(2,))
    ((key, _, options),) = warm.rows()
    assert key == "model's own guidance, temperature 0.5/2" and options == {"steps": 2, "temperature": 0.5}
    again = Synthesizer()
    more = replace(settings, steps=(1, 2, 4))
    record = speech_benchmark.sweep(again, {"voices": recordings}, more, path, 0, quiet=True)
    assert {one["steps"] for one in again.said} == {2} and len(record.shown[0].rows) == 7
    text = table.markdown(record, "benchmark.png")
    assert "with a vocoder of 0.0 M" in text and "F0 spread (semitones) →" in text
    assert [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| guidance 1 |")][:3] == [*"124"]


def test_steps_below_one_are_refused():
    with pytest.raises(UserError, match="steps"):
        speech_benchmark.Settings(steps=(0, 2))


def test_the_teacher_of_a_voice():
    pytest.importorskip("hibari")
    assert find_teacher(("kokoro/af_heart",)) is None and find_teacher(()) is None
    assert find_teacher(("kokoro/af_heart", HIBARI)).speaker == HIBARI


def test_a_teacher_speaks_sentence_by_sentence(monkeypatch):
    class FrontEnd:
        def phonemize(self, text):
            return text.split("|")

    def say(phonemes, seed):
        durations = (0.1, *(0.2 for _ in phonemes), 0.1)
        return SimpleNamespace(samples=torch.ones(round(sum(durations) * RATE)), durations=durations)

    monkeypatch.setattr(teachers, "_front_end", FrontEnd)
    clip = speak_sentences("as|i", say)
    assert [(one.symbol, round(one.start, 6), round(one.end, 6)) for one in clip.phonemes] == [
        ("a", 0.1, 0.3),
        ("s", 0.3, 0.5),
        ("i", 0.7, 0.9),
    ]
    assert len(clip.samples) == RATE and clip.text == "as|i"
