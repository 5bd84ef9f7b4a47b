import math
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.audio.loudness import (
    load_torchaudio,
    lufs,
    normalize_peak,
    normalize_rms,
    peak_dbfs,
    peak_gain,
    rms_dbfs,
)
from audiodiff.errors import UserError


def sine(hertz: float, sample_rate: int, seconds: float) -> torch.Tensor:
    t = torch.arange(int(seconds * sample_rate), dtype=torch.float64) / sample_rate
    return torch.sin(2 * math.pi * hertz * t)


def test_full_scale_sine():
    tone = sine(1000, 16000, 1)
    assert rms_dbfs(tone).item() == pytest.approx(-10 * math.log10(2), abs=1e-6)
    assert peak_dbfs(tone).item() == pytest.approx(0, abs=1e-6)
    assert rms_dbfs(torch.stack([tone, tone / 10])).tolist() == pytest.approx([-3.0103, -23.0103], abs=1e-3)
    assert peak_dbfs(torch.zeros(5)) == rms_dbfs(torch.zeros(5)) == -math.inf


def test_lufs_of_the_standards_reference_tone():
    """BS.1770: a 997 Hz sine at full scale in one channel reads -3.01 LUFS; 20 dB less, 20 LU less."""
    tone = sine(997, 48000, 3).float()
    assert lufs(tone, 48000).item() == pytest.approx(-3.01, abs=0.05)
    quiet = lufs(torch.stack([tone, tone / 10]), 48000)
    assert quiet.shape == (2,) and (quiet[0] - quiet[1]).item() == pytest.approx(20, abs=0.01)


def test_lufs_is_gated():
    """Three seconds of silence after the tone count for nothing but the blocks on the border."""
    tone = sine(997, 48000, 6).float()
    padded = torch.cat([tone, torch.zeros(3 * 48000)])
    assert lufs(padded, 48000).item() == pytest.approx(lufs(tone, 48000).item(), abs=0.2)


def test_lufs_needs_a_block():
    with pytest.raises(ValueError, match=r"0\.4 s"):
        lufs(torch.ones(6399), 16000)


@given(level=st.floats(-60, 0), gain=st.floats(1e-3, 1e3))
def test_normalize_reaches_its_target(level, gain):
    signal = gain * sine(100, 8000, 0.1)
    assert rms_dbfs(normalize_rms(signal, level)).item() == pytest.approx(level, abs=1e-3)


def test_normalize_leaves_silence():
    both = torch.stack([torch.zeros(100), torch.ones(100)])
    out = normalize_rms(both, -20.0)
    assert not out[0].any() and out[1].max().item() == pytest.approx(0.1)


@given(shape=st.sampled_from([(50,), (3, 50), (3, 2, 50)]), level=st.floats(-60, 0), seed=st.integers(0, 100))
def test_normalize_rms_scales_each_clip_as_a_whole(shape, level, seed):
    signal = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    out = normalize_rms(signal, level)
    clips = out.flatten(1) if len(shape) == 3 else out
    assert rms_dbfs(clips).flatten().tolist() == pytest.approx([level] * (1 if len(shape) == 1 else 3))
    assert (out / signal).flatten(1 if len(shape) == 3 else 0).std(-1).max() < 1e-6 or len(shape) == 2


def test_normalize_rms_at_a_measured_level():
    signal = torch.tensor([[[3.0, 4.0, 0.0, 0.0]], [[1e-5, 0.0, 0.0, 0.0]]])
    rms = torch.tensor([5.0, 1e-5]).reshape(2, 1, 1)  # of the valid samples only
    out = normalize_rms(signal, rms=rms, silence=1e-4)
    assert torch.equal(out[0], signal[0] / 5) and torch.equal(out[1], signal[1])


@given(peak=st.floats(0.01, 1), offset=st.floats(-0.5, 0.5), seed=st.integers(0, 100))
def test_normalize_peak_removes_the_offset_and_reaches_the_peak(peak, offset, seed):
    signal = torch.randn(3, 2, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + offset
    signal[2] = offset
    out = normalize_peak(signal, peak)
    assert out.abs().amax((-2, -1))[:2].tolist() == pytest.approx([peak] * 2)
    assert out.mean(-1).abs().max() < 1e-12 and out[2].abs().max() < 1e-12


def test_peak_gain_does_not_amplify_silence():
    assert peak_gain(torch.tensor([0.5, 0.0, 1e-6]), 0.25).tolist() == [0.5, 1.0, 1.0]


def test_a_torchaudio_that_does_not_load_is_one_line(monkeypatch):
    assert hasattr(load_torchaudio().functional, "loudness")
    monkeypatch.delitem(sys.modules, "torchaudio.functional")
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(UserError, match=r"pip install torch==.* torchaudio==") as error:
        lufs(torch.ones(16000), 16000)
    assert "\n" not in str(error.value)
