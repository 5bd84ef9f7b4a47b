"""A model whose prior has a mean: begun from by a bridge, or subtracted."""

import json

import pytest
import torch

from audiodiff.audio.io import Audio
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import EnergyPrior, RoughPrior
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.conditioners.mel import normalize_mel
from audiodiff.diffusion.bridge import Bridge, coefficients
from audiodiff.diffusion.noise import batch_noise
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.evaluation.modes import measure_spectrum
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.training.module import TrainingModule
from audiodiff.training.tasks.few_step import FewStepTask

HOP = PRESETS["speech_16k"].hop_length
KINDS = [("rough", None), ("rough", 1.0), ("rough, mel", 0.5)]
every_kind = pytest.mark.parametrize(("prior", "bridge"), KINDS)


def distance(made: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference, relative to the peak of the second."""
    assert made.shape == other.shape
    return float((made - other).abs().max() / other.abs().max())


def with_mel(vocoder, recording, frames, seed=0):
    """A waveform (T,) and its log-mel (M, frames)."""
    audio = recording(frames * HOP, seed=seed)
    return audio.samples, vocoder.mel(audio)[:, :frames]


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddpm"])
@pytest.mark.parametrize("frontend", ["stft", "strided"])
@every_kind
def test_a_ragged_batch_equals_its_clips_alone(tiny, recording, prior, bridge, frontend, sampler):
    vocoder = Vocoder(tiny(frontend, prior=prior, bridge=bridge))
    mels = [with_mel(vocoder, recording, frames, seed)[1] for seed, frames in enumerate((9, 1, 26))]
    together = vocoder.generate(mels, 3, clip_seeds=[1, 2, 3], sampler=sampler)
    for mel, seed, clip in zip(mels, [1, 2, 3], together, strict=True):
        assert distance(clip.samples, vocoder.generate(mel, 3, clip_seeds=[seed], sampler=sampler).samples) < 1e-4


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_3m"])
@pytest.mark.parametrize("bridge", [None, 1.0, 3.0])
def test_who_knows_the_clean_signal_restores_the_waveform(tiny, recording, bridge, sampler):
    """On the way it is shown the states of the bridge between the rough and the clean signal, or those of the rest."""
    model, shown = tiny(prior="rough", bridge=bridge, objective=X0(), consistency=0), []
    vocoder = Vocoder(model)
    waveform, mel = with_mel(vocoder, recording, 12)
    mean = model.prior.mean(mel[None], 12 * HOP)
    y = model.prior.whiten(mean, mel[None])[:, None]
    x0 = model.prior.whiten(waveform[None] - (mean if bridge is None else 0), mel[None])[:, None]

    def knowing(x, log_snr, cond):
        shown.append((x, log_snr, cond.signal))
        return x0

    model.network.forward = knowing
    made = vocoder.generate(mel, 4, clip_seeds=[5], sampler=sampler)
    assert distance(made.samples, waveform) < 1e-5
    noise = batch_noise([5], 1, 12 * HOP)
    assert len(shown) == 4
    for x, log_snr, signal in shown:
        if bridge is None:
            expected = log_snr.sigmoid().sqrt() * x0 + (-log_snr).sigmoid().sqrt() * noise
            assert signal is None
        else:
            a, b, c = coefficients(log_snr, bridge)
            expected = (a * x0 + b * y + c * noise) / (a**2 + b**2 + c**2).sqrt()
            assert torch.equal(signal, y)
        assert distance(x, expected) < 1e-3
    if bridge is not None:
        assert distance(shown[0][0], y) < 1e-2  # it begins at the rough signal


@pytest.mark.parametrize("objective", [Epsilon(), X0(), V()], ids=lambda o: type(o).__name__)
@every_kind
def test_an_almost_clean_signal_is_estimated_as_itself(tiny, recording, prior, bridge, objective):
    model = tiny(prior=prior, bridge=bridge, objective=objective)
    waveform = torch.stack([recording(4096, seed=seed).samples for seed in range(2)])
    mel, noise = model.analysis(waveform), torch.randn(2, 1, 4096, generator=torch.Generator().manual_seed(0))
    estimate = model.estimate(waveform, noise, torch.full((2,), 1e-4))
    expected = model.restore(model.normalize(waveform, mel), mel)
    assert prior == "rough, mel" or distance(expected, waveform) < 1e-5
    error = (estimate.waveform - expected).square().mean() / expected.square().mean()
    assert (error > 0.1) if isinstance(objective, X0) else (error < 1e-3)


def test_a_bridge_is_saved_and_leaves_the_weights_their_names(tiny, recording, tmp_path):
    model, plain = tiny(prior="rough", bridge=0.7), tiny(prior="rough")
    model.save_pretrained(tmp_path / "bridge")
    found, mel = VocoderModel.from_pretrained(tmp_path / "bridge"), with_mel(Vocoder(model), recording, 8)[1]
    assert (found.bridge, found.denoiser.network.noise, type(found.network)) == (0.7, 0.7, Network)
    assert torch.equal(Vocoder(found).generate(mel, 3).samples, Vocoder(model).generate(mel, 3).samples)
    assert model.network.state_dict().keys() == plain.network.state_dict().keys()
    assert model.with_arguments(settings=[Setting(consistency=1)]).denoiser.network.noise == 0.7
    # A model from before there were bridges has none.
    plain.save_pretrained(tmp_path / "plain")
    file = tmp_path / "plain" / "config.json"
    config = json.loads(file.read_text())
    text = json.dumps(without(config, "bridge"))
    assert "bridge" not in text and "bridge" in json.dumps(config)
    file.write_text(text)
    old = VocoderModel.from_pretrained(tmp_path / "plain")
    assert old.bridge is None and not isinstance(old.denoiser.network, Bridge)


def without(value, key):
    """A nested dictionary without a key, wherever it stands."""
    return {k: without(v, key) for k, v in value.items() if k != key} if isinstance(value, dict) else value


def test_beginning_and_excitation_are_told_in_this_order(recording):
    spec = PRESETS["speech_16k"]
    network = Network(StftFrontend(signals=2), 80, HOP, [8], [1], embedding=8)
    source = HarmonicExcitation(PitchNetwork(80, channels=8, blocks=2, bins=12), spec)
    model = VocoderModel(
        network, Cosine(), X0(), spec, RoughPrior(spec, EnergyPrior(spec)), conditioners=[source], bridge=1.0
    )
    waveform = recording(9 * HOP).samples[None]
    mel = model.analysis(waveform)
    signals = model.embed_mel(mel, waveform=waveform).signal
    assert signals.shape == (1, 2, 9 * HOP)
    assert torch.equal(signals[:, :1], model.rough.compute(mel, 9 * HOP))
    assert torch.equal(signals[:, 1:], source.synthesize(normalize_mel(mel, spec), 9 * HOP, waveform=waveform))


def test_what_does_not_fit_is_refused_in_words(tiny):
    model = tiny(prior="rough", bridge=1.0)
    with pytest.raises(UserError, match=r"network: .*set network.frontend.signals=0"):
        model.with_arguments(bridge=None)
    with pytest.raises(UserError, match=r"network: .*rough.*set network.frontend.signals=1"):
        tiny(prior="rough").with_arguments(bridge=1.0)
    with pytest.raises(UserError, match=r"bridge: .*MelPrior.*prior=rough"):
        tiny(prior="mel", bridge=1.0)
    with pytest.raises(ValueError, match="noise must be a finite number > 0, got 0"):
        model.with_arguments(bridge=0.0)


def test_a_grid_is_fitted_to_what_the_process_runs_on(tiny, recording):
    """To the waveform with a bridge, to the waveform without its mean without one."""
    waveform = recording(16000).samples
    bridged, shifted = (measure_spectrum(Vocoder(tiny(prior="rough", bridge=b)), [waveform]) for b in (1.0, None))
    model = tiny(prior="rough")
    model.prior = model.prior.shape
    assert torch.equal(bridged.variances, measure_spectrum(Vocoder(model), [waveform]).variances)
    assert not torch.allclose(bridged.variances, shifted.variances, rtol=0.05)


@every_kind
def test_few_calls_are_trained_through_the_bridge(tiny, recording, prior, bridge):
    model = tiny(prior=prior, bridge=bridge, consistency=1).train()
    waveform = torch.stack([recording(4096, seed=seed).samples for seed in range(2)])
    training = TrainingModule(model, FewStepTask(steps=(2,)), None, None)
    training.compute_loss({"waveform": waveform}, "draw 0")["loss"].backward()
    gradients = [parameter.grad for parameter in model.network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0


def test_resynthesis_keeps_the_length(tiny, recording):
    vocoder = Vocoder(tiny(prior="rough", bridge=1.0))
    made = vocoder.resynthesize(Audio(recording(5000).samples, 16000), 2)
    assert made.samples.shape == (5000,) and made.samples.isfinite().all()
