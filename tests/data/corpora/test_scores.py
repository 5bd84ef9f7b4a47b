"""Scores played: the notes that are written sound when they are written, on the instrument that was chosen."""

import numpy as np
import pytest

from audiodiff.data.corpora import scores
from audiodiff.data.corpora.scores import SAMPLE_RATE, synthesize
from audiodiff.errors import UserError

pytest.importorskip("music21")
pytest.importorskip("tinysoundfont")


def pitch(wave: np.ndarray) -> float:
    """Hz of the strongest partial."""
    spectrum = np.abs(np.fft.rfft(wave.mean(0) * np.hanning(wave.shape[1])))
    return float(spectrum.argmax() * SAMPLE_RATE / wave.shape[1])


def test_notes_sound_when_they_are_written():
    wave = synthesize([(0.0, 0.5, 69), (1.0, 1.5, 81)], scores.INSTRUMENTS["organ"])
    assert wave.shape == (2, round(3.5 * SAMPLE_RATE)) and wave.dtype == np.float32
    second = SAMPLE_RATE
    assert pitch(wave[:, : second // 2]) / 440 == pytest.approx(round(pitch(wave[:, : second // 2]) / 440), abs=0.02)
    first, rest, other = (
        float(np.square(wave[:, k : k + second // 4]).mean())
        for k in (second // 8, 7 * second // 10, 11 * second // 10)
    )
    assert rest < 0.2 * first and other > rest and np.abs(wave).max() <= 1


def test_a_chorale_is_labeled_with_instrument_and_tempo():
    found = {one.key: one for one in scores.recordings()}
    assert len(found) > 300
    one = found["bwv66.6"]
    assert one.label in scores.INSTRUMENTS and one.tempo in scores.TEMPI
    audio = one.read()
    assert audio.samples.shape[0] == 2 and audio.seconds == pytest.approx(36 * 60 / one.tempo + 2, abs=0.1)
    assert np.array_equal(audio.samples, one.read().samples)
    assert {other.label for other in found.values()} == set(scores.INSTRUMENTS)


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(scores, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install music21"):
        scores.recordings()


def test_an_invalid_score_is_named(tmp_path):
    (tmp_path / "a.mxl").write_bytes(b"no score")
    with pytest.raises(UserError, match=r"a\.mxl"):
        scores._play(tmp_path / "a.mxl", "piano", 60)
