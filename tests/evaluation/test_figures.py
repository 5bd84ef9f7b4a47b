"""Audio and spectrograms as data URIs."""

import base64
import io

import numpy as np
import pytest
import soundfile

from audiodiff.evaluation.figures import decibels, sound, spectrogram_pair


def _data(uri: str, kind: str) -> bytes:
    head, _, data = uri.partition(",")
    assert head == f"data:{kind};base64"
    return base64.b64decode(data)


def test_sound_is_lossless():
    samples = (np.random.default_rng(0).integers(-32768, 32767, 4001) / 32768).astype(np.float32)
    read, rate = soundfile.read(io.BytesIO(_data(sound(samples, 16000), "audio/flac")), dtype="float32")
    assert rate == 16000
    np.testing.assert_array_equal(read, samples)


def test_full_scale_sine_is_zero_decibels_at_its_frequency():
    sine = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    middle = decibels(sine, 16000)[:, 50]
    assert middle.max() == pytest.approx(0, abs=0.01)
    assert middle.argmax() == 1000 * 512 // 16000


@pytest.mark.parametrize("rate", [16000, 22050, 24000])
def test_a_pair_of_spectrograms_is_a_png(rate):
    rng = np.random.default_rng(0)
    uri = spectrogram_pair(*rng.uniform(-1, 1, (2, rate)).astype(np.float32), ("a", "b"), rate)
    png = _data(uri, "image/png")
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 1210


def test_silence_has_a_spectrogram():
    silence = np.zeros(8000, np.float32)
    assert spectrogram_pair(silence, silence, ("a", "b"), 16000).startswith("data:image/png")
