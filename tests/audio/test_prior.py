import dataclasses

import pytest
import torch
from torch.nn import functional as F

from audiodiff.audio.loudness import rms_dbfs
from audiodiff.audio.mel import PRESETS, MelSpectrogram, filterbank, window
from audiodiff.audio.prior import MelPrior, StandardPrior, envelope
from audiodiff.audio.spectral import si_sdr

SPECS = {
    **PRESETS,
    "power 2, db": dataclasses.replace(PRESETS["speech_16k"], power=2, log_base="db", log_floor=1e-10),
    "hop 200, window 800": dataclasses.replace(PRESETS["speech_16k"], hop_length=200, win_length=800),
    "hop 300": dataclasses.replace(PRESETS["speech_16k"], hop_length=300),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))


def pair(speech, spec, seconds=2.0, seed=0):
    """A waveform (1, F * hop) and its log-mel (1, M, F)."""
    clip = speech(seconds, spec.sample_rate, seed)
    mel = MelSpectrogram(spec)(clip)[None]
    return F.pad(clip, (0, mel.shape[-1] * spec.hop_length - len(clip)))[None], mel


def test_standard_prior_is_the_identity():
    z = torch.randn(2, 512)
    assert StandardPrior().whiten(z, None) is z and StandardPrior().colour(z, None) is z


@every_spec
@pytest.mark.parametrize("gain", [0.05, 2.0])
def test_a_flat_mel_multiplies_by_a_number_up_to_the_edges(spec, gain):
    magnitude = gain * window(spec).square().sum().sqrt()
    linear = filterbank(spec).sum(0) * magnitude**spec.power
    mel = spec.compress(linear)[None, :, None].expand(2, -1, 5)
    z = torch.randn(2, 5 * spec.hop_length, dtype=torch.float64)
    prior = MelPrior(spec)
    torch.testing.assert_close(prior.colour(z, mel), gain * z)
    torch.testing.assert_close(prior.whiten(z, mel), z / gain)


@every_spec
def test_noise_gets_the_envelope_and_level_of_the_speech(speech, spec):
    waveform, mel = pair(speech, spec)
    noise = torch.randn(waveform.shape, generator=torch.Generator().manual_seed(1))
    shaped = MelPrior(spec, floor=1e-5).colour(noise, mel)
    assert abs(rms_dbfs(shaped) - rms_dbfs(waveform)) < 5
    natural = dataclasses.replace(spec, log_base="e", log_floor=1e-3**spec.power)
    bands = MelSpectrogram(natural)
    x, y = bands(shaped).flatten() / spec.power, bands(waveform).flatten() / spec.power
    assert torch.corrcoef(torch.stack([x, y]))[0, 1] > 0.9
    assert (x - y).abs().mean() < 0.5


@every_spec
def test_whitened_speech_has_about_unit_variance_and_comes_back(speech, spec):
    waveform, mel = pair(speech, spec)
    prior = MelPrior(spec)
    z = prior.whiten(waveform, mel)
    assert 0.4 < z.var() < 2.5
    assert si_sdr(prior.colour(z, mel), waveform) > 12


def test_both_maps_are_linear(speech):
    spec = PRESETS["speech_16k"]
    waveform, mel = pair(speech, spec, 0.5)
    other = torch.randn_like(waveform)
    for apply in (MelPrior(spec).whiten, MelPrior(spec).colour):
        together = apply(2 * waveform - 3 * other, mel)
        separate = 2 * apply(waveform, mel) - 3 * apply(other, mel)
        torch.testing.assert_close(together, separate, rtol=0, atol=1e-5 * together.abs().max().item())


def test_colour_is_its_own_adjoint(speech):
    """<colour(a), b> = <a, colour(b)>: a real gain between a transform and its own transpose."""
    spec = PRESETS["hifigan_22k"]
    waveform, mel = pair(speech, spec, 0.5)
    prior, mel = MelPrior(spec), mel.double()
    a, b = torch.randn(2, 1, waveform.shape[-1], dtype=torch.float64)
    torch.testing.assert_close((prior.colour(a, mel) * b).sum(), (a * prior.colour(b, mel)).sum())


@every_spec
def test_a_clip_alone_equals_the_clip_in_a_padded_batch(speech, spec):
    waveform, mel = pair(speech, spec, 0.7)
    samples, more = waveform.shape[-1], 9
    batch = torch.cat([F.pad(waveform, (0, more * spec.hop_length)), torch.randn(1, samples + more * spec.hop_length)])
    mels = F.pad(mel, (0, more), mode="replicate").repeat(2, 1, 1)
    for apply in (MelPrior(spec).whiten, MelPrior(spec).colour):
        alone = apply(waveform, mel)
        torch.testing.assert_close(
            apply(batch, mels)[:1, :samples], alone, rtol=0, atol=1e-5 * alone.abs().max().item()
        )


@every_spec
def test_a_loud_frame_sounds_where_the_mel_has_it(spec):
    frame, frames = 10, 21
    mel = spec.compress(torch.full((1, spec.n_mels, frames), 1e-9))
    mel[..., frame] = spec.compress(filterbank(spec).sum(0) * 50.0**spec.power)
    noise = torch.randn(64, frames * spec.hop_length, generator=torch.Generator().manual_seed(0))
    power = MelPrior(spec, floor=1e-5).colour(noise, mel.expand(64, -1, -1)).square().sum(0)
    centre = (power * torch.arange(len(power))).sum() / power.sum()
    assert abs(centre - (spec.offset + frame * spec.hop_length)) < spec.hop_length / 8


@pytest.mark.parametrize("floor", [1e-2, 1e-3])
def test_silence_leaves_noise_at_the_floor(floor):
    spec = PRESETS["speech_16k"]
    silence = torch.full((1, 80, 20), -11.5)
    noise = torch.randn(1, 20 * 256, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(MelPrior(spec, floor).colour(noise, silence), floor * noise)


def test_envelope_is_positive_and_gradients_flow(speech):
    spec = PRESETS["speech_16k"]
    waveform, mel = pair(speech, spec, 0.3)
    assert (envelope(mel, spec) > 0).all() and envelope(mel, spec).shape == (1, mel.shape[-1], spec.bins)
    z = torch.randn_like(waveform).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coloured = MelPrior(spec).colour(z, mel)
    coloured.square().sum().backward()
    assert coloured.dtype == torch.float32 and z.grad.isfinite().all() and z.grad.abs().max() > 0


def test_arguments_are_kept_and_checked():
    spec = PRESETS["speech_16k"]
    prior = MelPrior(spec, floor=0.02)
    assert prior.spec is spec and prior.floor == 0.02
    with pytest.raises(ValueError, match="floor"):
        MelPrior(spec, floor=0.0)
    with pytest.raises(ValueError, match="does not fit"):
        prior.colour(torch.zeros(1, 512), torch.zeros(1, 79, 2))
    with pytest.raises(ValueError, match="does not fit"):
        prior.colour(torch.zeros(1, 512), torch.zeros(2, 80, 2))
