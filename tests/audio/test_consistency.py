import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from audiodiff.audio.consistency import project
from audiodiff.audio.mel import PRESETS, MelSpec, MelSpectrogram
from audiodiff.audio.prior import MelPrior

SPECS = {
    **PRESETS,
    "power 2, db": dataclasses.replace(PRESETS["speech_16k"], power=2, log_base="db", log_floor=1e-10),
    "zeros around": dataclasses.replace(PRESETS["hifigan_22k"], padding="constant"),
}
TINY = MelSpec(
    sample_rate=1000,
    n_fft=32,
    hop_length=8,
    win_length=32,
    n_mels=6,
    f_min=0.0,
    f_max=500.0,
    power=1,
    mel_scale="htk",
    norm=None,
    log_base="e",
    log_floor=1e-5,
    center=True,
    padding="reflect",
)


def noise_and_mel(speech, spec, seconds=1.5, seed=0):
    """Mel-shaped noise (1, F * hop) and the mel (1, M, F) it should have."""
    mel = MelSpectrogram(spec)(speech(seconds, spec.sample_rate, seed))[None]
    noise = torch.randn(1, mel.shape[-1] * spec.hop_length, generator=torch.Generator().manual_seed(seed))
    return MelPrior(spec).color(noise, mel), mel


def mel_error(waveform, mel, spec) -> float:
    """Mean absolute error in units of the natural logarithm of magnitudes."""
    scale = spec.compress(torch.tensor(math.e)) * spec.power
    made = MelSpectrogram(spec)(waveform)[..., : mel.shape[-1]]
    return ((made - mel).abs().mean() / scale).item()


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_mel_error_falls_with_iterations(speech, spec):
    noise, mel = noise_and_mel(speech, spec)
    errors = [mel_error(project(noise, mel, spec, n), mel, spec) for n in (0, 2, 8, 32)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0] and errors[-1] < 0.1


def test_momentum_leaves_less_error_than_the_plain_alternation(speech):
    spec = PRESETS["speech_16k"]
    noise, mel = noise_and_mel(speech, spec)
    plain, fast = (mel_error(project(noise, mel, spec, 32, m, relaxation=1.0), mel, spec) for m in (0.0, 0.8))
    assert fast < 0.7 * plain


def test_relaxation_reduces_the_error(speech):
    spec = PRESETS["speech_16k"]
    noise, mel = noise_and_mel(speech, spec)
    asked, more = (mel_error(project(noise, mel, spec, 32, relaxation=r), mel, spec) for r in (1.0, 1.25))
    assert more < 0.95 * asked


def test_no_iterations_change_nothing(speech):
    noise, mel = noise_and_mel(speech, PRESETS["speech_16k"])
    assert torch.equal(project(noise, mel, PRESETS["speech_16k"], iterations=0), noise)


def test_a_waveform_that_has_the_mel_stays(speech):
    spec = PRESETS["hifigan_22k"]
    waveform = speech(1.0, 22050)[None, : 80 * 256]
    torch.testing.assert_close(project(waveform, MelSpectrogram(spec)(waveform), spec), waveform, rtol=0, atol=2e-5)
    # A centered mel says nothing of the frame at the very end: only what lies under it may move.
    spec = PRESETS["tacotron2_22k"]
    projected = project(waveform, MelSpectrogram(spec)(waveform)[..., :80], spec, iterations=1)
    torch.testing.assert_close(projected[:, :-512], waveform[:, :-512], rtol=0, atol=2e-5)


def test_one_step_undoes_a_scaling(speech):
    """All ratios are 2: the gain is 2 in every bin."""
    spec = PRESETS["hifigan_22k"]
    waveform = speech(1.0, 22050)[None, : 80 * 256] + 0.05 * torch.randn(1, 80 * 256)
    spec = dataclasses.replace(spec, f_max=11025.0, power_offset=0.0)
    projected = project(0.5 * waveform, MelSpectrogram(spec)(waveform), spec, iterations=1, relaxation=1.0)
    torch.testing.assert_close(projected, waveform, rtol=0, atol=1e-4)


def test_frequencies_above_the_mel_are_left_alone():
    spec = PRESETS["hifigan_22k"]
    t = torch.arange(64 * 256) / 22050
    tone = 0.3 * torch.sin(2 * math.pi * 10000 * t)[None]
    mel = MelSpectrogram(spec)(tone + 0.3 * torch.sin(2 * math.pi * 1000 * t))
    middle = slice(4096, -4096)
    added = project(tone, mel, spec)[:, middle] - tone[:, middle]
    bin_of_tone = torch.fft.rfft(added).abs()[0, round(10000 * added.shape[-1] / 22050)]
    assert bin_of_tone < 1e-2 * torch.fft.rfft(tone[:, middle]).abs().max()


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_a_padded_batch_equals_single_clips(speech, spec):
    clips = [noise_and_mel(speech, spec, seconds, seed) for seed, seconds in enumerate((1.0, 0.4, 0.03))]
    longest = max(mel.shape[-1] for _, mel in clips)
    waveforms = torch.cat([F.pad(x, (0, longest * spec.hop_length - x.shape[-1]), value=0.7) for x, _ in clips])
    mels = torch.cat([F.pad(mel, (0, longest - mel.shape[-1])) for _, mel in clips])
    samples = torch.tensor([x.shape[-1] for x, _ in clips])
    together = project(waveforms, mels, spec, iterations=8, samples=samples)
    for row, (x, mel) in zip(together, clips, strict=True):
        alone = project(x, mel, spec, iterations=8)[0]
        torch.testing.assert_close(row[: len(alone)], alone, rtol=0, atol=1e-4 * alone.abs().max().item())
        assert not row[len(alone) :].any()


@pytest.mark.parametrize("changes", [{}, {"power": 2}, {"center": False, "power_offset": 1e-9}], ids=str)
def test_gradient_equals_finite_differences(changes):
    spec = dataclasses.replace(TINY, **changes)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 40, generator=generator, dtype=torch.float64, requires_grad=True)
    mel = torch.randn(1, 6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    samples = torch.tensor([32])
    assert torch.autograd.gradcheck(lambda x, mel: project(x, mel, spec, 2), (x, mel))
    assert torch.autograd.gradcheck(lambda x, mel: project(x, mel, spec, 2, samples=samples), (x, mel))


def test_silence_and_autocast(speech):
    spec = PRESETS["speech_16k"]
    noise, mel = noise_and_mel(speech, spec, 0.5)
    silent = torch.zeros_like(noise).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = project(silent, mel, spec, 2)
        assert torch.equal(project(noise, mel, spec, 2), project(noise, mel, spec, 2).float())
    made.sum().backward()
    assert not made.any() and silent.grad.isfinite().all()


def test_shapes_that_do_not_fit_are_refused():
    spec = PRESETS["speech_16k"]
    for waveform, mel in (
        ((1, 513), (1, 80, 2)),
        ((1, 512), (1, 80, 3)),
        ((1, 512), (1, 79, 2)),
        ((2, 512), (1, 80, 2)),
    ):
        with pytest.raises(ValueError, match="does not fit"):
            project(torch.zeros(waveform), torch.zeros(mel), spec)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_equals_cpu(speech):
    spec = PRESETS["speech_16k"]
    noise, mel = noise_and_mel(speech, spec)
    there = project(noise.cuda(), mel.cuda(), spec, 2, samples=torch.tensor([noise.shape[-1]])).cpu()
    torch.testing.assert_close(there, project(noise, mel, spec, 2), rtol=0, atol=1e-4)


def test_known_samples_stay_and_the_others_are_fitted_to_them(speech):
    spec = SPECS["speech_16k"]
    noise, mel = noise_and_mel(speech, spec)
    noise.requires_grad_()
    known = project(noise, mel, spec)[:, : 20 * spec.hop_length].detach()
    made = project(noise, mel, spec, 16, known=known)
    assert torch.equal(made[:, : known.shape[-1]], known)
    free = project(noise, mel, spec, 16)
    border = known.shape[-1]
    near = slice(border // spec.hop_length - 1, border // spec.hop_length + 2)
    analysis = MelSpectrogram(spec)

    def distance(rest):
        """Of the mel around the border, where windows contain both."""
        joined = torch.cat([known, rest[:, border:]], -1)
        return (analysis(joined)[..., near] - mel[..., near]).abs().mean()

    assert distance(made) < 0.7 * distance(free)
    made[:, border:].square().sum().backward()
    assert noise.grad[:, border + 4000 :].abs().max() > 0
