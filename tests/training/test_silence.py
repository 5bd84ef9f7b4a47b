"""Silence must not teach: one clip that is silent, nearly or in part, does not outweigh the seven others of its batch.

Before the distances had floors, a silent clip made the gradient of a vocoder 110 times as large, that of a new one on
the waveform itself 1386 times, and that of a codec 169 times.
"""

import functools
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import EnergyPrior, MelPrior, RoughPrior, StandardPrior
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.data.corpora.tones import tone
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.codec import Codec
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.training import codec_samples
from audiodiff.training.module import TrainingModule
from audiodiff.training.tasks.codec import CodecTask
from audiodiff.training.tasks.denoising import DenoisingTask
from audiodiff.training.tasks.few_step import FewStepTask
from audiodiff.training.tasks.task import limit_losses
from audiodiff.training.tasks.vocoder import VocoderTask

SPEC = PRESETS["speech_16k"]
RATE, CLIPS, SAMPLES = SPEC.sample_rate, 8, 8192
SHORT = 600  # samples of a clip that is padded


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


QUIET = {
    "zeros": lambda clip: 0 * clip,
    "half zeros": lambda clip: clip * (torch.arange(SAMPLES) < SAMPLES // 2),
    "7/8 zeros": lambda clip: clip * (torch.arange(SAMPLES) < SAMPLES // 8),
    "short and padded": lambda clip: clip * (torch.arange(SAMPLES) < SHORT),
    "noise at -80 dB": lambda clip: 1e-4 * normal(*clip.shape),
    "16-bit dither": lambda clip: normal(*clip.shape).sign() / 32768,
}


def clips() -> Tensor:
    """Eight tones (8, T) in a little noise, as of a recording."""
    return torch.stack([tone(k, SAMPLES, RATE) for k in range(CLIPS)]) + 3e-4 * normal(CLIPS, SAMPLES)


def awake(network: nn.Module) -> nn.Module:
    """A network with random weights where they are zero at initialization."""
    for weight in network.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.03)
    return network


def train(model, task) -> TrainingModule:
    return TrainingModule(model, task, None, None)


def vocoder(task=VocoderTask, prior=None, bridge=None, **options) -> TrainingModule:
    prior = prior or MelPrior(SPEC)
    signals = 1 + (bridge is not None)
    network = awake(Network(StftFrontend(1, 1024, 256, signals), SPEC.n_mels, 256, [8], [1], embedding=8))
    source = HarmonicExcitation(PitchNetwork(SPEC.n_mels, channels=8, blocks=1, bins=24), SPEC)
    model = VocoderModel(
        network, Cosine(), V(), SPEC, prior, settings=[Setting(consistency=2)], conditioners=[source], bridge=bridge
    )
    return train(model, task(gain=(1.0, 1.0), stft_weight=1.0, **options))


def music(**options) -> TrainingModule:
    network = awake(Network(StftFrontend(1, 256, 64), 0, 1, [8], [1], embedding=8))
    return train(AudioModel(network, Cosine(), V(), RATE, SAMPLES), DenoisingTask(gain=(1.0, 1.0), **options))


class LatentTask(DenoisingTask):
    """On the latents of the clips."""

    def loss(self, model, batch: dict, random) -> dict[str, Tensor]:
        with torch.no_grad():
            latents = model.codec.encode(batch.pop("waveform"))
        return super().loss(model, batch | {"latents": latents}, random)


def latents() -> TrainingModule:
    autoencoder = Autoencoder(4, 64, [8, 8], [1, 1])
    network = awake(Network(IdentityFrontend(4), 0, 1, [8], [1], embedding=8))
    model = AudioModel(network, Cosine(), V(), RATE, SAMPLES, autoencoder=autoencoder)
    return train(model, LatentTask(gain=(1.0, 1.0), normalize_rms=False))


def codec(phases: bool) -> TrainingModule:
    return train(Codec(Autoencoder(4, 64, [8, 8], [1, 1], phases=phases), RATE, 1), CodecTask(gain=(1.0, 1.0)))


TASKS = {
    "vocoder, standard": functools.partial(vocoder, prior=StandardPrior()),
    "vocoder, energy": functools.partial(vocoder, prior=EnergyPrior(SPEC)),
    "vocoder, mel": vocoder,
    "vocoder, rough": functools.partial(vocoder, prior=RoughPrior(SPEC)),
    "bridge": functools.partial(vocoder, prior=RoughPrior(SPEC, EnergyPrior(SPEC)), bridge=1.0),
    "few-step": functools.partial(vocoder, FewStepTask, steps=(2,), mel_weight=1.0),
    "few-step, no repulsion": functools.partial(vocoder, FewStepTask, steps=(2,), repulsion=0.0),
    "music": music,
    "music, not levelled": functools.partial(music, normalize_rms=False),
    "music, masked": functools.partial(music, mask_padding=True),
    "latents": latents,
    "codec": functools.partial(codec, True),
    "codec without phases": functools.partial(codec, False),
}


@functools.cache
def built(task: str) -> tuple[TrainingModule, float, float]:
    """A task, and its loss and gradient on the clips as they are."""
    torch.manual_seed(0)
    training = TASKS[task]()
    return training, *measure(training, clips())


def measure(training: TrainingModule, waveform: Tensor, short: bool = False) -> tuple[float, float]:
    """Loss of a batch of clips (8, T), and the norm of its gradient."""
    if not isinstance(training.model, VocoderModel):
        waveform = waveform[:, None]
    training.model.zero_grad()
    ends = torch.tensor([SHORT if short else SAMPLES] + [SAMPLES] * (CLIPS - 1))
    loss = training.compute_loss({"waveform": waveform, "samples": ends}, "draw 0")["loss"]
    loss.backward()
    gradients = [weight.grad for weight in training.model.parameters() if weight.grad is not None]
    return float(loss.detach()), float(torch.stack([gradient.norm() for gradient in gradients]).norm())


@pytest.mark.parametrize("quiet", QUIET)
@pytest.mark.parametrize("task", TASKS)
def test_a_quiet_clip_of_eight_weighs_about_an_eighth(task, quiet):
    training, loss, gradient = built(task)
    batch = clips()
    batch[0] = QUIET[quiet](batch[0])
    with_it = measure(training, batch, short=quiet == "short and padded")
    assert 0.5 * loss < with_it[0] < 1.5 * loss
    assert 0.5 * gradient < with_it[1] < 2 * gradient


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_of_silence_is_finite(task):
    training, loss, gradient = built(task)
    with_it = measure(training, torch.zeros(CLIPS, SAMPLES))
    assert with_it[0] < 8 * loss and with_it[1] < 20 * gradient


@pytest.mark.parametrize("quiet", QUIET)
def test_the_pitch_of_silence_is_not_taught(quiet):
    """The source's loss of a quiet clip is not above that of a voice."""
    model, voice = built("vocoder, mel")[0].model, clips()[:1]
    losses = [model.conditioner_loss(model.analysis(wave), wave) for wave in (voice, QUIET[quiet](voice[0])[None])]
    assert losses[1].isfinite() and losses[1] < 1.2 * losses[0]


class Crops(list):
    """Crops of as many recordings."""

    manifest = property(list)


@pytest.mark.parametrize("silent", [True, False])
def test_a_codec_is_validated_where_all_held_out_crops_are_silent(silent, monkeypatch, tmp_path):
    """Nothing can be said relative to silence: no distance is logged, and the run goes on."""
    monkeypatch.setattr(codec_samples, "export", lambda *_: None)
    training, logged = codec(True), {}
    training.log = lambda name, value, **_: logged.update({name: value})
    crops = Crops({"waveform": clip[None]} for clip in clips())
    held_out = Crops({"waveform": clip[None] * (not silent)} for clip in clips()[:2])
    data = SimpleNamespace(validation_crops=lambda: held_out, crops=crops)
    trainer = SimpleNamespace(sanity_checking=False, is_global_zero=True, datamodule=data, global_step=1)
    codec_samples.CodecSamples(tmp_path, clips=1, statistics_crops=4).on_validation_epoch_end(trainer, training)
    assert ("coded/stft" in logged) != silent
    assert all(torch.as_tensor(value).isfinite() for value in logged.values())


def test_losses_are_limited_one_by_one_and_keep_the_direction_of_their_gradients():
    x = torch.tensor([[0.3, 0.4], [30.0, 40.0], [0.0, 0.0], [12.0, 16.0]], requires_grad=True)
    distances = (x.square().sum(1) + 1e-12).sqrt()
    limited = limit_losses(distances, 20.0)
    torch.testing.assert_close(limited.detach(), torch.tensor([0.5, 20.0, 1e-6, 20.0]))
    limited.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.6, 0.8], [0.24, 0.32], [0.0, 0.0], [0.6, 0.8]]))
    assert limit_losses(torch.tensor([float("nan"), float("inf")])).isnan().all()  # for the guard to see
