"""The pitch tracker, on signals whose pitch is known."""

import math

import pytest
import torch
from torch import Tensor

from audiodiff.audio.pitch import F0_MAX, F0_MIN, yin

RATES = [(16000, 256), (22050, 256), (48000, 480)]
LEAD = 0.02  # seconds at both ends of a clip whose frames look beyond it


def voice(f0: Tensor | float, seconds: float, sample_rate: int, harmonics=range(1, 30)) -> Tensor:
    """Harmonics below half the sample rate of a pitch (T,) or constant, of scattered phases, (1, T)."""
    f0 = torch.as_tensor(f0, dtype=torch.float64).expand(round(seconds * sample_rate))
    phase = 2 * math.pi * f0.cumsum(0) / sample_rate
    parts = [torch.cos(k * phase + k * k) / k for k in harmonics if k * f0.max() < sample_rate / 2]
    return 0.1 * torch.stack(parts).sum(0).float()[None]


def track(waveform: Tensor, sample_rate: int = 16000, hop: int = 256, offset: int = 0) -> tuple[Tensor, Tensor]:
    """F0 and aperiodicity of the frames that see nothing beyond the clip, and where they are centered."""
    frames = (waveform.shape[-1] - offset) // hop + 1
    centers = offset + hop * torch.arange(frames)
    margin = LEAD * sample_rate
    inner = (centers >= margin) & (centers <= waveform.shape[-1] - margin)
    f0, aperiodicity = yin(waveform, sample_rate, hop, frames, offset)
    assert f0.shape == aperiodicity.shape == (len(waveform), frames)
    return f0[:, inner], aperiodicity[:, inner], centers[inner]


def cents(f0: Tensor, truth: Tensor | float) -> Tensor:
    return 1200 * torch.log2(f0 / truth)


@pytest.mark.parametrize(("sample_rate", "hop"), RATES)
@pytest.mark.parametrize("pitch", [60.0, 77.7, 100.0, 133.0, 200.0, 300.0, 411.0, 500.0])
def test_pitch_of_a_steady_tone_within_a_cent(sample_rate, hop, pitch):
    f0, aperiodicity, _ = track(voice(pitch, 0.2, sample_rate), sample_rate, hop)
    assert cents(f0, pitch).abs().max() < 1
    assert aperiodicity.max() < 0.02


@pytest.mark.parametrize("harmonics", [range(2, 6), range(3, 9)], ids=str)
@pytest.mark.parametrize("pitch", [80.0, 133.0, 250.0])
def test_the_fundamental_may_be_missing(pitch, harmonics):
    f0, aperiodicity, _ = track(voice(pitch, 0.2, 16000, harmonics))
    assert cents(f0, pitch).abs().max() < 1
    assert aperiodicity.max() < 0.05


@pytest.mark.parametrize(("sample_rate", "hop"), RATES)
@pytest.mark.parametrize(("start", "slope"), [(120, 100), (120, 200), (170, -100), (220, -200)])
def test_pitch_of_a_glide_is_not_delayed(sample_rate, hop, start, slope):
    """A frame heard a millisecond early would be 0.2 Hz, here about 2 cents, off on the average."""
    time = (torch.arange(sample_rate // 2, dtype=torch.float64) + 0.5) / sample_rate
    f0, _, centers = track(voice(start + slope * time, 0.5, sample_rate), sample_rate, hop)
    error = f0[0] - (start + slope * centers / sample_rate)
    assert error.mean().abs() < 0.05 and error.abs().max() < 0.5


def test_silence_is_not_periodic():
    for still in (torch.zeros(1, 4000), torch.full((1, 4000), 0.1), 1e-6 * voice(100.0, 0.25, 16000)):
        f0, aperiodicity = yin(still, 16000, 256, 16)
        assert f0.isfinite().all()
        assert (aperiodicity == 1)[:, 1:-1].all()


@pytest.mark.parametrize("sample_rate", [16000, 48000])
def test_noise_is_hardly_ever_periodic(sample_rate):
    noise = torch.randn(8, sample_rate // 2, generator=torch.Generator().manual_seed(0))
    f0, aperiodicity, _ = track(noise, sample_rate, sample_rate // 100)
    assert f0.isfinite().all() and aperiodicity.max() <= 1
    assert aperiodicity.mean() > 0.45
    assert (aperiodicity < 0.3).double().mean() < 0.1


def test_aperiodicity_of_a_tone_in_noise():
    noise = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    tone = voice(150.0, 0.5, 16000)
    means = []
    for share in (0.0, 0.1, 0.5, 2.0):
        f0, aperiodicity, _ = track(tone + share * tone.std() * noise)
        means.append(aperiodicity.mean())
        if share <= 0.5:
            assert cents(f0, 150.0).abs().median() < 15
    assert means == sorted(means) and means[-1] > 10 * means[1]


@pytest.mark.parametrize("hop", [256, 250, 257, 80])
@pytest.mark.parametrize("offset", [0, 128, 77, 1000])
def test_frames_begin_at_the_offset_and_follow_by_the_hop(hop, offset):
    time = (torch.arange(8000, dtype=torch.float64) + 0.5) / 16000
    f0, _, centers = track(voice(120 + 200 * time, 0.5, 16000), 16000, hop, offset)
    error = f0[0] - (120 + 200 * centers / 16000)
    assert error.mean().abs() < 0.05 and error.abs().max() < 0.5


@pytest.mark.parametrize("hop", [256, 250, 257])
def test_a_later_beginning_moves_the_frames(hop):
    """Also where hop or offset are odd and no sample may be left out."""
    time = torch.arange(8000) / 16000
    x = voice(120 + 80 * torch.sin(9 * time), 0.5, 16000)
    whole = yin(x, 16000, hop, 20)
    for moved in (yin(x[:, 3 * hop :], 16000, hop, 17), yin(x, 16000, hop, 17, 3 * hop)):
        for track, part in zip(whole, moved, strict=True):
            torch.testing.assert_close(part[:, 2:], track[:, 5:], rtol=1e-4, atol=1e-5)


def test_a_frame_does_not_depend_on_the_hop():
    """At offsets that only whole samples reach."""
    time = torch.arange(24000) / 48000
    x = voice(150 + 80 * torch.sin(40 * time), 0.5, 48000)
    for offset in (4801, 9607):
        for track, other in zip(yin(x, 48000, 480, 1, offset), yin(x, 48000, 479, 1, offset), strict=True):
            torch.testing.assert_close(track, other, rtol=1e-6, atol=0)


def test_frames_beyond_the_clip_are_silence():
    f0, aperiodicity = yin(voice(100.0, 0.1, 16000), 16000, 256, 40)
    assert f0.shape == (1, 40) and f0.isfinite().all()
    assert (aperiodicity[:, 10:] == 1).all() and (aperiodicity[:, 2:5] < 0.1).all()


def test_a_batch_is_its_clips():
    clips = torch.cat([voice(pitch, 0.25, 16000) for pitch in (90.0, 150.0, 400.0)] + [torch.zeros(1, 4000)])
    clips = clips + 0.01 * torch.randn(clips.shape, generator=torch.Generator().manual_seed(0))
    together = yin(clips, 16000, 256, 16, 128)
    for k, clip in enumerate(clips):
        for whole, alone in zip(together, yin(clip[None], 16000, 256, 16, 128), strict=True):
            torch.testing.assert_close(whole[k : k + 1], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pitch", [60.0, 150.0, 450.0])
@pytest.mark.parametrize("harmonics", [[1], range(1, 20)], ids=["sine", "voice"])
def test_the_level_does_not_matter(pitch, harmonics):
    """From full scale to 80 dB below, with or without a constant added."""
    x = voice(pitch, 0.2, 16000, harmonics)
    for gain, constant in ((10.0, 0.0), (1e-3, 0.0), (1.0, 0.3), (1e-1, -0.03)):
        f0, aperiodicity, _ = track(gain * x + constant)
        assert cents(f0, track(x)[0]).abs().max() < 0.5
        assert (aperiodicity - track(x)[1]).abs().max() < 1e-2


def test_pitch_and_aperiodicity_stay_in_range():
    """Between the first and the last lag that is looked at, and half a sample."""
    noise = torch.randn(8, 8000, generator=torch.Generator().manual_seed(1))
    for waveform in (noise, voice(30.0, 0.5, 16000), voice(900.0, 0.5, 16000)):
        f0, aperiodicity = yin(waveform, 16000, 256, 31)
        assert f0.min() > 0.97 * F0_MIN and f0.max() < 1.1 * F0_MAX
        assert aperiodicity.min() >= 0 and aperiodicity.max() <= 1
