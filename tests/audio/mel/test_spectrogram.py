import dataclasses
import math

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from audiodiff.audio.mel import PRESETS, MelSpec, MelSpectrogram, filterbank, interpolation, pad_waveform
from audiodiff.errors import UserError

SPEECH = PRESETS["speech_16k"]


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def librosa_mel(waveform: torch.Tensor, spec: MelSpec) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=waveform.numpy(),
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        win_length=spec.win_length,
        n_mels=spec.n_mels,
        fmin=spec.f_min,
        fmax=spec.f_max,
        power=spec.power,
        htk=spec.mel_scale == "htk",
        norm=spec.norm,
        pad_mode=spec.padding,
        dtype=np.float64,
    )


@pytest.mark.parametrize("name", ["speech_16k", "tacotron2_22k", "vocos_24k"])
@pytest.mark.parametrize("changes", [{}, {"power": 2}, {"win_length": 800}, {"padding": "constant"}], ids=str)
def test_linear_mel_equals_librosa(name, changes):
    spec = dataclasses.replace(PRESETS[name], **changes)
    waveform = noise(3 * spec.sample_rate // 2 + 17)
    ours = MelSpectrogram(spec).double().linear(waveform).numpy()
    np.testing.assert_allclose(ours, librosa_mel(waveform, spec), rtol=1e-5)


def test_decibels_equal_librosa():
    for power, to_db in ((2, librosa.power_to_db), (1, librosa.amplitude_to_db)):
        spec = dataclasses.replace(SPEECH, power=power, log_base="db", log_floor=1e-10 if power == 2 else 1e-5)
        waveform = noise(20000)
        theirs = to_db(librosa_mel(waveform, spec), ref=1.0, amin=spec.log_floor, top_db=None)
        np.testing.assert_allclose(MelSpectrogram(spec).double()(waveform).numpy(), theirs, atol=1e-4)


def test_hifigan_convention():
    """The recipe of HiFi-GAN's meldataset, written plainly: pad (n_fft - hop) / 2, root of power + 1e-9."""
    waveform = noise(22050)
    waveform[5000:12000] = 0
    padded = F.pad(waveform[None], (384, 384), mode="reflect")
    window = torch.hann_window(1024, dtype=torch.float64)
    stft = torch.stft(padded, 1024, 256, 1024, window, center=False, return_complex=True)[0]
    magnitude = torch.sqrt(stft.real**2 + stft.imag**2 + 1e-9)
    bank = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000, dtype=np.float64)
    theirs = torch.log(torch.clamp(torch.from_numpy(bank) @ magnitude, min=1e-5))
    ours = MelSpectrogram(PRESETS["hifigan_22k"]).double()(waveform)
    assert ours.shape == (80, 22050 // 256)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_tacotron_convention():
    """Tacotron 2 in its own way: a strided convolution with windowed sines and cosines."""
    waveform = noise(22050)
    angle = 2 * math.pi * torch.outer(torch.arange(513.0), torch.arange(1024.0)).double() / 1024
    basis = torch.cat([angle.cos(), angle.sin()]) * torch.hann_window(1024, dtype=torch.float64)
    padded = F.pad(waveform[None, None], (512, 512), mode="reflect")
    real, imaginary = F.conv1d(padded, basis[:, None], stride=256)[0].chunk(2)
    magnitude = torch.sqrt(real**2 + imaginary**2)
    bank = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0.0, fmax=8000.0, dtype=np.float64)
    theirs = torch.log(torch.clamp(torch.from_numpy(bank) @ magnitude, min=1e-5))
    torch.testing.assert_close(MelSpectrogram(PRESETS["tacotron2_22k"]).double()(waveform), theirs, rtol=0, atol=1e-5)


def test_vocos_convention():
    """Vocos: torchaudio's magnitude mel, clipped at 1e-7."""
    torchaudio = pytest.importorskip("torchaudio")
    waveform = noise(24000).float()
    transform = torchaudio.transforms.MelSpectrogram(24000, n_fft=1024, hop_length=256, n_mels=100, power=1)
    theirs = torch.log(torch.clip(transform(waveform), min=1e-7))
    torch.testing.assert_close(MelSpectrogram(PRESETS["vocos_24k"])(waveform), theirs, rtol=0, atol=2e-3)


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(1, 4000), name=st.sampled_from(sorted(PRESETS)))
def test_frames_of_any_length(samples, name):
    spec = PRESETS[name]
    mel = MelSpectrogram(spec)
    frames = 1 + samples // spec.hop_length if spec.center else samples // spec.hop_length
    if frames < 1:
        with pytest.raises(ValueError, match="frame"):
            mel(torch.zeros(samples))
    else:
        assert mel(torch.zeros(samples)).shape == (spec.n_mels, frames) == (spec.n_mels, spec.frames(samples))


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 700), min_size=1, max_size=3), padding=st.sampled_from(["reflect", "constant"]))
def test_padding_equals_numpy_at_every_clips_own_end(lengths, padding):
    spec = dataclasses.replace(SPEECH, padding=padding)
    clips = [torch.randn(n) for n in lengths]
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    padded = pad_waveform(batch, spec, torch.tensor(lengths))
    for clip, row in zip(clips, padded, strict=True):
        expected = torch.from_numpy(np.pad(clip.numpy(), 512, mode=padding))
        assert torch.equal(row[: len(expected)], expected)
        assert torch.equal(pad_waveform(clip[None], spec)[0], expected)


def test_empty_waveform_is_refused():
    with pytest.raises(ValueError, match="0 samples"):
        MelSpectrogram(SPEECH)(torch.zeros(0))


def test_batch_equals_singles_and_nothing_is_stored():
    mel = MelSpectrogram(SPEECH)
    batch = torch.stack([noise(4000, seed).float() for seed in range(3)])
    torch.testing.assert_close(mel(batch), torch.stack([mel(one) for one in batch]), rtol=0, atol=1e-5)
    assert mel.state_dict() == {}


def test_autocast_changes_nothing():
    mel, waveform = MelSpectrogram(SPEECH), noise(4000).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mel(waveform), mel(waveform.float()))
        assert mel(waveform).dtype == torch.float32
    assert mel(waveform.bfloat16()).dtype == torch.float32


def test_gradient_is_finite_in_silence():
    for spec in PRESETS.values():
        waveform = torch.zeros(1, 4096, requires_grad=True)
        MelSpectrogram(spec)(waveform).sum().backward()
        assert waveform.grad.isfinite().all()


def test_tensors_cached_in_inference_mode_can_be_used_in_training():
    spec = dataclasses.replace(SPEECH, n_mels=37)
    with torch.inference_mode():
        filterbank(spec)
    weight = torch.ones(37, dtype=torch.float64, requires_grad=True)
    (filterbank(spec) @ weight).sum().backward()
    assert weight.grad.isfinite().all()


def test_interpolation_is_linear_between_peaks_and_held_outside():
    for spec in PRESETS.values():
        weights = interpolation(spec)
        torch.testing.assert_close(weights.sum(0), torch.ones(spec.bins, dtype=torch.float64))
        peaks = librosa.mel_frequencies(spec.n_mels + 2, fmin=0, fmax=spec.f_max, htk=spec.mel_scale == "htk")[1:-1]
        hertz = np.arange(spec.bins) * spec.sample_rate / spec.n_fft
        np.testing.assert_allclose(peaks @ weights.numpy(), hertz.clip(peaks[0], peaks[-1]), rtol=1e-9)


def test_bands_narrower_than_a_bin_are_refused():
    with pytest.raises(UserError, match="n_mels"):
        MelSpectrogram(dataclasses.replace(SPEECH, n_mels=400))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_equals_cpu():
    mel, waveform = MelSpectrogram(SPEECH), noise(16000).float()
    torch.testing.assert_close(mel.cuda()(waveform.cuda()).cpu(), mel.cpu()(waveform), rtol=0, atol=1e-4)
