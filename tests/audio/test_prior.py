import dataclasses
import math

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.nn import functional as F

from audiodiff.audio.griffin_lim import mel_to_magnitudes
from audiodiff.audio.loudness import rms_dbfs
from audiodiff.audio.mel import PRESETS, MelSpectrogram, filterbank, window
from audiodiff.audio.prior import EnergyPrior, MelPrior, RoughPrior, StandardPrior, envelope
from audiodiff.audio.spectral import si_sdr
from audiodiff.config import conf_folder
from audiodiff.models.checkpoint import build, describe

SPECS = {
    **PRESETS,
    "power 2, db": dataclasses.replace(PRESETS["speech_16k"], power=2, log_base="db", log_floor=1e-10),
    "hop 200, window 800": dataclasses.replace(PRESETS["speech_16k"], hop_length=200, win_length=800),
    "hop 300": dataclasses.replace(PRESETS["speech_16k"], hop_length=300),
}
PRIORS = {
    "standard": lambda spec: StandardPrior(),
    "energy": EnergyPrior,
    "mel": MelPrior,
    "rough": RoughPrior,
    "rough, energy": lambda spec: RoughPrior(spec, EnergyPrior(spec)),
    "rough, mel": lambda spec: RoughPrior(spec, MelPrior(spec)),
}
every_prior = pytest.mark.parametrize("make", PRIORS.values(), ids=list(PRIORS))
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))


def pair(speech, spec, seconds=2.0, seed=0):
    """A waveform (1, F * hop) and its log-mel (1, M, F)."""
    clip = speech(seconds, spec.sample_rate, seed)
    mel = MelSpectrogram(spec)(clip)[None]
    return F.pad(clip, (0, mel.shape[-1] * spec.hop_length - len(clip)))[None], mel


def test_standard_prior_is_the_identity():
    z = torch.randn(2, 512)
    assert StandardPrior().whiten(z, None) is z and StandardPrior().color(z, None) is z


@every_prior
def test_one_form_of_mean_and_gains(speech, make):
    spec = PRESETS["speech_16k"]
    waveform, mel = pair(speech, spec, 0.5)
    prior, samples = make(spec), waveform.shape[-1]
    mean = prior.mean(mel, samples)
    assert mean.shape == waveform.shape and bool(mean.any()) == isinstance(prior, RoughPrior)
    z = prior.normalize(waveform, mel)
    assert torch.equal(z, prior.whiten(waveform - mean, mel))
    assert torch.equal(prior.restore(z, mel), mean + prior.color(z, mel))
    assert torch.equal(prior.restore(torch.zeros_like(z), mel), mean)


@every_spec
@pytest.mark.parametrize("gain", [0.05, 2.0])
def test_a_flat_mel_multiplies_by_a_number_up_to_the_edges(spec, gain):
    magnitude = gain * window(spec).square().sum().sqrt()
    linear = filterbank(spec).sum(0) * magnitude**spec.power
    mel = spec.compress(linear)[None, :, None].expand(2, -1, 5)
    z = torch.randn(2, 5 * spec.hop_length, dtype=torch.float64)
    for prior in (MelPrior(spec), EnergyPrior(spec)):
        torch.testing.assert_close(prior.color(z, mel), gain * z)
        torch.testing.assert_close(prior.whiten(z, mel), z / gain)


@every_spec
def test_noise_gets_the_envelope_and_level_of_the_speech(speech, spec):
    waveform, mel = pair(speech, spec)
    noise = torch.randn(waveform.shape, generator=torch.Generator().manual_seed(1))
    shaped = MelPrior(spec, floor=1e-5).color(noise, mel)
    assert abs(rms_dbfs(shaped) - rms_dbfs(waveform)) < 5
    natural = dataclasses.replace(spec, log_base="e", log_floor=1e-3**spec.power)
    bands = MelSpectrogram(natural)
    x, y = bands(shaped).flatten() / spec.power, bands(waveform).flatten() / spec.power
    assert torch.corrcoef(torch.stack([x, y]))[0, 1] > 0.9
    assert (x - y).abs().mean() < 0.5


@every_spec
def test_whitened_speech_has_unit_variance_and_is_recovered(speech, spec):
    waveform, mel = pair(speech, spec)
    prior = MelPrior(spec)
    z = prior.whiten(waveform, mel)
    assert 0.4 < z.var() < 2.5
    assert si_sdr(prior.color(z, mel), waveform) > 12
    inside = slice(4 * spec.hop_length, -4 * spec.hop_length)
    assert si_sdr(prior.color(z, mel)[:, inside], waveform[:, inside]) > 15


def test_both_maps_are_linear(speech):
    spec = PRESETS["speech_16k"]
    waveform, mel = pair(speech, spec, 0.5)
    other = torch.randn_like(waveform)
    for apply in (MelPrior(spec).whiten, MelPrior(spec).color):
        together = apply(2 * waveform - 3 * other, mel)
        separate = 2 * apply(waveform, mel) - 3 * apply(other, mel)
        torch.testing.assert_close(together, separate, rtol=0, atol=1e-5 * together.abs().max().item())


def test_color_is_its_own_adjoint(speech):
    """<color(a), b> = <a, color(b)>: a real gain between a transform and its own transpose."""
    spec = PRESETS["hifigan_22k"]
    waveform, mel = pair(speech, spec, 0.5)
    prior, mel = MelPrior(spec), mel.double()
    a, b = torch.randn(2, 1, waveform.shape[-1], dtype=torch.float64)
    torch.testing.assert_close((prior.color(a, mel) * b).sum(), (a * prior.color(b, mel)).sum())


@every_spec
@every_prior
def test_a_clip_alone_equals_the_clip_in_a_padded_batch(speech, spec, make):
    waveform, mel = pair(speech, spec, 0.7)
    samples, more = waveform.shape[-1], 9
    longer = samples + more * spec.hop_length
    batch = torch.cat([F.pad(waveform, (0, longer - samples)), torch.randn(1, longer)])
    mels = F.pad(mel, (0, more), mode="replicate").repeat(2, 1, 1)
    prior = make(spec)
    for apply in (prior.whiten, prior.color, lambda x, m: prior.mean(m, x.shape[-1])):
        alone = apply(waveform, mel)
        tolerance = 1e-5 * alone.abs().max().item()
        torch.testing.assert_close(apply(batch, mels)[:1, :samples], alone, rtol=0, atol=tolerance)


@every_spec
def test_energy_prior_is_exactly_invertible_and_evens_out_the_level(speech, spec):
    waveform, mel = pair(speech, spec)
    prior = EnergyPrior(spec, floor=1e-5)
    z = prior.whiten(waveform, mel)
    torch.testing.assert_close(prior.color(z, mel), waveform, rtol=1e-6, atol=0)
    assert 0.5 < z.var() < 2.0
    blocks = [x.unfold(-1, 2048, 2048).var(-1).log() for x in (waveform, z)]
    assert blocks[1].std() < blocks[0].std() / 4


@every_spec
def test_energy_is_interpolated_between_the_centers_of_the_frames(spec):
    frames, samples = 4, 5 * spec.hop_length
    level = torch.tensor([0.02, 0.5, 0.1, 0.3], dtype=torch.float64)
    white = filterbank(spec).sum(0)[:, None] * (level * window(spec).square().sum().sqrt()) ** spec.power
    gain = EnergyPrior(spec).gain(spec.compress(white)[None], samples)[0]
    centers = spec.offset + torch.arange(frames) * spec.hop_length
    torch.testing.assert_close(gain[centers], level)
    torch.testing.assert_close(gain[centers[1] + spec.hop_length // 2], (level[1] * level[2]).sqrt())
    torch.testing.assert_close(gain[: spec.offset + 1], level[:1].expand(spec.offset + 1))
    torch.testing.assert_close(gain[centers[-1] :], level[-1:].expand(samples - int(centers[-1])))
    one = EnergyPrior(spec).gain(spec.compress(white[:, 1:2])[None], samples)
    torch.testing.assert_close(one, level[1].expand(1, samples))


@every_spec
def test_a_frame_of_the_rough_mean_is_a_sum_of_cosines_about_its_center(spec):
    """One loud frame, written out: its cosines under the window, over the sum of all squared windows there."""
    frame, frames = 8, 17
    mel = spec.compress(torch.full((1, spec.n_mels, frames), 1e-9, dtype=torch.float64))
    mel[..., frame] = spec.compress(filterbank(spec).sum(0) * 30.0**spec.power)
    mean = RoughPrior(spec).mean(mel, frames * spec.hop_length)[0]
    magnitudes = mel_to_magnitudes(mel, spec)[0, :, frame]
    center, half = spec.offset + frame * spec.hop_length, spec.n_fft // 2
    away = torch.arange(-half, half, dtype=torch.float64)
    cosines = torch.cos(2 * math.pi / spec.n_fft * away[:, None] * torch.arange(spec.bins))
    twice = torch.tensor([1.0] + [2.0] * (spec.bins - 2) + [1.0], dtype=torch.float64)
    hann = window(spec)
    over = torch.zeros(spec.n_fft, dtype=torch.float64)
    for shift in range(-(spec.n_fft // spec.hop_length) * spec.hop_length, spec.n_fft, spec.hop_length):
        over += F.pad(hann, (max(shift, 0), max(-shift, 0)))[max(-shift, 0) :][: spec.n_fft] ** 2
    expected = cosines @ (magnitudes * twice) / spec.n_fft * hann / over
    torch.testing.assert_close(mean[center - half : center + half], expected, rtol=0, atol=1e-4 * float(expected.max()))
    assert int(mean.abs().argmax()) == center


@every_spec
def test_the_rough_mean_has_about_the_mel_and_is_silent_where_it_is(speech, spec):
    waveform, mel = pair(speech, spec)
    mean = RoughPrior(spec).mean(mel, waveform.shape[-1])
    assert -5 < rms_dbfs(mean) - rms_dbfs(waveform) < 0
    bands = MelSpectrogram(dataclasses.replace(spec, log_base="e", log_floor=1e-3**spec.power))
    x, y = bands(mean).flatten() / spec.power, bands(waveform).flatten() / spec.power
    assert torch.corrcoef(torch.stack([x, y]))[0, 1] > 0.93
    assert (x - y).abs().mean() < 0.6
    silence = spec.compress(torch.zeros(1, spec.n_mels, 20))
    assert rms_dbfs(RoughPrior(spec).mean(silence, 20 * spec.hop_length)) < -94  # the floor of the shortest window


@every_spec
def test_the_rough_mean_moves_with_the_mel(speech, spec):
    _, mel = pair(speech, spec, 1.0)
    shift, samples = 5, (mel.shape[-1] - 12) * spec.hop_length
    mean = RoughPrior(spec).mean
    later = mean(mel[..., shift:], samples)[:, spec.n_fft :]
    whole = mean(mel, samples + shift * spec.hop_length)[:, shift * spec.hop_length + spec.n_fft :]
    torch.testing.assert_close(later, whole, rtol=0, atol=1e-6 * whole.abs().max().item())


@pytest.mark.parametrize("name", sorted(file.stem for file in (conf_folder() / "prior").glob("*.yaml")))
def test_config_and_checkpoint_make_the_same_prior(name):
    spec = PRESETS["speech_16k"]
    config = OmegaConf.create({"audio": {"_target_": "audiodiff.audio.mel.MelSpec", **spec.to_dict()}})
    config.prior = OmegaConf.load(conf_folder() / "prior" / f"{name}.yaml")
    prior = instantiate(config.prior)
    again = build(describe(prior))
    assert type(again) is type(prior) and describe(again) == describe(prior)
    assert name in type(prior).__name__.lower()
    mel, z = torch.randn(1, 80, 4) - 5, torch.randn(1, 1024)
    assert torch.equal(again.restore(z, mel), prior.restore(z, mel))


@every_spec
def test_a_loud_frame_sounds_where_the_mel_has_it(spec):
    frame, frames = 10, 21
    mel = spec.compress(torch.full((1, spec.n_mels, frames), 1e-9))
    mel[..., frame] = spec.compress(filterbank(spec).sum(0) * 50.0**spec.power)
    noise = torch.randn(64, frames * spec.hop_length, generator=torch.Generator().manual_seed(0))
    power = MelPrior(spec, floor=1e-5).color(noise, mel.expand(64, -1, -1)).square().sum(0)
    center = (power * torch.arange(len(power))).sum() / power.sum()
    assert abs(center - (spec.offset + frame * spec.hop_length)) < spec.hop_length / 8


@pytest.mark.parametrize("floor", [1e-2, 1e-3])
def test_silence_leaves_noise_at_the_floor(floor):
    spec = PRESETS["speech_16k"]
    silence = torch.full((1, 80, 20), -11.5)
    noise = torch.randn(1, 20 * 256, generator=torch.Generator().manual_seed(0))
    for prior in (MelPrior, EnergyPrior):
        torch.testing.assert_close(prior(spec, floor).color(noise, silence), floor * noise)


def test_envelope_is_positive_and_gradients_flow(speech):
    spec = PRESETS["speech_16k"]
    waveform, mel = pair(speech, spec, 0.3)
    assert (envelope(mel, spec) > 0).all() and envelope(mel, spec).shape == (1, mel.shape[-1], spec.bins)
    z = torch.randn_like(waveform).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        colored = MelPrior(spec).color(z, mel)
    colored.square().sum().backward()
    assert colored.dtype == torch.float32 and z.grad.isfinite().all() and z.grad.abs().max() > 0


def test_arguments_are_kept_and_checked():
    spec = PRESETS["speech_16k"]
    prior = MelPrior(spec, floor=0.02)
    assert prior.spec is spec and prior.floor == 0.02
    with pytest.raises(ValueError, match="floor"):
        MelPrior(spec, floor=0.0)
    with pytest.raises(ValueError, match="does not fit"):
        prior.color(torch.zeros(1, 512), torch.zeros(1, 79, 2))
    with pytest.raises(ValueError, match="does not fit"):
        prior.color(torch.zeros(1, 512), torch.zeros(2, 80, 2))
