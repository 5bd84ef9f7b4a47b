"""Our own mel scale is librosa's, to the last digits of float64."""

import warnings

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.mel.scale import corners, hz_from_mel, mel_from_hz, triangles

SCALES = ("slaney", "htk")


@pytest.mark.parametrize("scale", SCALES)
def test_both_directions_equal_librosa(scale):
    hz = np.concatenate([[0.0, 999.999, 1000.0, 1000.001], np.geomspace(1, 96000, 999)])
    mels = librosa.hz_to_mel(hz, htk=scale == "htk")
    np.testing.assert_allclose(mel_from_hz(hz, scale), mels, rtol=1e-13)
    np.testing.assert_allclose(hz_from_mel(mels, scale), librosa.mel_to_hz(mels, htk=scale == "htk"), rtol=1e-13)


@settings(deadline=None)
@given(hz=st.floats(0, 1e5), scale=st.sampled_from(SCALES))
def test_there_and_back(hz, scale):
    assert hz_from_mel(mel_from_hz(hz, scale), scale) == pytest.approx(hz, rel=1e-12, abs=1e-9)


@settings(deadline=None)
@given(
    bands=st.integers(2, 128),
    rate=st.sampled_from([8000, 16000, 22050, 44100, 48000]),
    size=st.sampled_from([400, 512, 1024, 2048]),
    edges=st.tuples(st.floats(0, 0.4), st.floats(0.5, 1)),
    scale=st.sampled_from(SCALES),
)
def test_filters_equal_librosa(bands, rate, size, edges, scale):
    low, high = (share * rate / 2 for share in edges)
    hz = corners(bands, low, high, scale)
    ours = triangles(hz, np.fft.rfftfreq(size, 1 / rate))
    options = {"sr": rate, "n_fft": size, "n_mels": bands, "fmin": low, "fmax": high, "htk": scale == "htk"}
    with warnings.catch_warnings(action="ignore"):  # of bands without a bin
        theirs = librosa.filters.mel(**options, norm=None, dtype=np.float64)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)
