"""Aligners trained without labels recover the boundaries of synthetic speech."""

import numpy as np
import pytest
import torch
from spoken import RATE, speak, words

from audiodiff.audio.cepstrum import SPEC, cepstra
from audiodiff.errors import UserError
from audiodiff.models.aligner import FRAME_SECONDS, Aligner
from audiodiff.training.alignment import Utterance, new_aligner, stated_shares, train

CLIPS = 12
WINDOW = SPEC.win_length / SPEC.sample_rate  # the frames around a boundary belong to either of its sides


@pytest.fixture(scope="module")
def recordings():
    return [(words(seed), *speak(words(seed), seed)) for seed in range(CLIPS)]


@pytest.fixture(scope="module")
def trained(recordings) -> Aligner:
    return train([Utterance(cepstra(audio[None])[0], phonemes) for phonemes, audio, _ in recordings])


def errors(aligner: Aligner, recordings) -> np.ndarray:
    """Differences in seconds of all inner boundaries; marks, which have no time, are left out."""
    found = aligner.align([audio for _, audio, _ in recordings], [phonemes for phonemes, *_ in recordings])
    differences = []
    for alignment, (phonemes, _, durations) in zip(found, recordings, strict=True):
        places = [0, *(k for k, symbol in enumerate(phonemes, 1) if symbol != "ˈ")]
        differences.append((np.cumsum(alignment.durations) - np.cumsum(durations))[places])
    return np.concatenate(differences)


def test_flat_start_recovers_boundaries(trained, recordings):
    found = np.abs(errors(trained, recordings))
    assert np.median(found) <= WINDOW / 2 + FRAME_SECONDS
    assert np.mean(found <= WINDOW + FRAME_SECONDS) > 0.95


def test_durations_add_up_to_the_clip(trained, recordings):
    for alignment, (phonemes, audio, _) in zip(
        trained.align([one[1] for one in recordings], [one[0] for one in recordings]), recordings, strict=True
    ):
        assert len(alignment.durations) == len(phonemes) + 2 and min(alignment.durations) >= 0
        assert sum(alignment.durations) == pytest.approx(len(audio) / RATE)


def test_a_wrong_text_scores_lower(trained, recordings):
    audio = [one[1] for one in recordings]
    right = [found.score for found in trained.align(audio, [one[0] for one in recordings])]
    wrong = [found.score for found in trained.align(audio, [recordings[k - 1][0] for k in range(CLIPS)])]
    assert max(wrong) < min(right)


def test_too_short_for_its_text(trained):
    (found,) = trained.align([torch.zeros(800)], ["asmi" * 5])
    assert found.durations == () and found.score == -100


def test_stated_durations_start_the_training(recordings):
    stated = [Utterance(cepstra(audio[None])[0], phonemes, durations) for phonemes, audio, durations in recordings]
    found = errors(train(stated), recordings)
    assert np.mean(np.abs(found) <= WINDOW / 2 + FRAME_SECONDS) > 0.95


def test_training_goes_on_from_another_aligner(recordings):
    half = [Utterance(cepstra(audio[None])[0], phonemes) for phonemes, audio, _ in recordings]
    adapted = train(half[6:], train(half[:6]))
    assert np.median(np.abs(errors(adapted, recordings[6:]))) <= WINDOW / 2 + FRAME_SECONDS
    with pytest.raises(UserError, match="symbol 'q'"):
        train([Utterance(half[0].features, "q")], adapted)


def test_shares_of_marks_and_pauses_are_those_of_the_data():
    aligner = new_aligner(["ˈas im"])
    one = Utterance(torch.zeros(1, 1), "ˈas im", (0.2, 0.02, 0.08, 0.06, 0.03, 0.06, 0.1, 0.2))
    assert stated_shares([one], aligner) == pytest.approx({"mark_share": 0.2, "pause_share": 0.2})
    assert stated_shares([], aligner) == {}


def test_symbols_are_sounds_pauses_and_marks():
    aligner = new_aligner(["ˈas, i“m.", "sˌa—?"])
    assert aligner.phonemes == "aims" and set(aligner.pauses) >= set(" ,“.—?;:!") and "ˈˌ" in aligner.marks
    with pytest.raises(UserError, match="no sound"):
        new_aligner([" ,.", "ˈ"])
