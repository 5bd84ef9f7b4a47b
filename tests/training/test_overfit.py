"""Each front end x {epsilon, x0, v} learns one clip by heart.

One tone of half a second (or its mel), batches of eight copies at different noise levels, a small network, AdamW at
2e-3 with warm-up and cosine, gradients clipped at 1. Two numbers are judged, SI-SDR against the clip in dB:

- *denoised*: E[x0 | x_t] at log_snr = 0, where signal and noise are equally loud. An untrained network leaves the noisy
  clip as it is (4.8 on waveforms, the mel prior being undone; 0 on mels) or, asked for x0, answers silence (0).
- *sampled*: six calls from unseen noise, nothing done to the result. Untrained: -60 on waveforms, -50 on mels. Asked
  for where these few steps suffice; for epsilon they do not, whose first call divides its error by alpha = 0.007.

| front end | objective | steps | denoised: threshold | measured | sampled: threshold | measured |
|-----------|-----------|------:|--------------------:|---------:|-------------------:|---------:|
| STFT      | epsilon   |   200 |                  15 |     18.8 |                    |          |
| STFT      | x0        |   200 |                  20 |     25.3 |                 15 |     19.7 |
| STFT      | v         |   200 |                  20 |     24.1 |                 12 |     23.5 |
| strided   | epsilon   |   300 |                  11 |     15.1 |                    |          |
| strided   | x0        |   300 |                  16 |     21.9 |                    |          |
| strided   | v         |   300 |                  11 |     14.5 |                    |          |
| identity  | epsilon   |   600 |                  11 |     14.4 |                    |          |
| identity  | x0        |   600 |                  20 |     26.2 |                  5 |      9.1 |
| identity  | v         |   600 |                  15 |     19.3 |                  4 |      7.3 |
"""

import pytest
import torch
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.audio.mel import PRESETS, MelSpectrogram
from audiodiff.audio.prior import MelPrior
from audiodiff.audio.spectral import si_sdr
from audiodiff.data.corpora.tones import tone
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.noise import batch_noise
from audiodiff.diffusion.objective import X0, Epsilon, Objective, V
from audiodiff.diffusion.samplers.presets import build
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend, StridedFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.training.module import TrainingModule
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.tasks.task import fade_edges
from audiodiff.training.tasks.vocoder import VocoderTask

SPEC = PRESETS["speech_16k"]
RATE, SAMPLES, BATCH = 2e-3, 8192, 8
OBJECTIVES = {"epsilon": Epsilon, "x0": X0, "v": V}
NETWORKS = {
    "stft": lambda: Network(StftFrontend(1, 1024, 256), SPEC.n_mels, SPEC.hop_length, [96, 96], [2, 2]),
    "strided": lambda: Network(StridedFrontend(1, 64, 16), SPEC.n_mels, SPEC.hop_length, [48, 64, 96], [1, 2, 2]),
}

pytestmark = pytest.mark.slow


def learn(network: Network, steps: int, loss) -> None:
    """Minimize `loss(step)` in so many steps."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, betas=(0.9, 0.99))
    schedule = WarmupCosine(warmup_steps=20)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * schedule.factor(step, step / steps)
        optimizer.zero_grad()
        loss(step).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def half_noise(x0: Tensor) -> Tensor:
    """x_t at log_snr = 0, with noise that training has not seen."""
    return (x0 + batch_noise([7], x0.shape[1], x0.shape[2])) * 0.5**0.5


@torch.inference_mode()
def denoised_waveform(model: VocoderModel, clip: Tensor) -> float:
    """SI-SDR of the estimate of `clip` (1, T) at log_snr = 0."""
    mel = model.analysis(clip)
    x_t = half_noise(model.prior.whiten(clip, mel)[:, None])
    made = model.denoiser(x_t, model.schedule.t_from_log_snr(0.0), model.embed_mel(mel))
    return float(si_sdr(model.prior.color(made[:, 0], mel), clip))


def sampled_waveform(model: VocoderModel, clip: Tensor) -> float:
    """SI-SDR of what is sampled from the clip's mel, not brought nearer to that mel afterwards."""
    made = Vocoder(model).resynthesize(Audio(clip[0], SPEC.sample_rate), steps=6, consistency=0)
    return float(si_sdr(made.samples[None], clip))


def train_on_a_waveform(frontend: str, objective: Objective, steps: int) -> tuple[VocoderModel, Tensor]:
    torch.manual_seed(0)
    model = VocoderModel(NETWORKS[frontend](), Cosine(), objective, SPEC, MelPrior(SPEC))
    clip = fade_edges(tone(1, SAMPLES, SPEC.sample_rate)[None], SPEC.hop_length)  # as training will
    module = TrainingModule(model, VocoderTask(gain=(1.0, 1.0), stft_weight=0.0), None, None)
    learn(
        model.network,
        steps,
        lambda step: module.compute_loss({"waveform": clip.expand(BATCH, -1)}, f"draw {step}")["loss"],
    )
    return model, clip


@pytest.mark.parametrize(
    ("frontend", "objective", "steps", "denoised", "sampled"),
    [
        ("stft", "epsilon", 200, 15.0, None),
        ("stft", "x0", 200, 20.0, 15.0),
        ("stft", "v", 200, 20.0, 12.0),
        ("strided", "epsilon", 300, 11.0, None),
        ("strided", "x0", 300, 16.0, None),
        ("strided", "v", 300, 11.0, None),
    ],
)
def test_waveform_is_learned_by_heart(frontend, objective, steps, denoised, sampled):
    untrained, clip = train_on_a_waveform(frontend, OBJECTIVES[objective](), 0)
    assert denoised_waveform(untrained, clip) < 5
    model, clip = train_on_a_waveform(frontend, OBJECTIVES[objective](), steps)
    found = denoised_waveform(model, clip), sampled_waveform(model, clip)
    print(f"{frontend} {objective}: denoised {found[0]:.1f} dB, sampled {found[1]:.1f} dB")
    assert found[0] > denoised
    assert sampled is None or found[1] > sampled


def train_on_a_mel(objective: Objective, steps: int) -> tuple[Denoiser, Tensor]:
    """An unconditional denoiser of a mel's frames, and the mel (1, 80, F) of mean 0 and variance 1."""
    torch.manual_seed(0)
    mel = MelSpectrogram(SPEC)(tone(1, SAMPLES, SPEC.sample_rate))[None]
    mel = (mel - mel.mean()) / mel.std()
    denoiser = Denoiser(Network(IdentityFrontend(SPEC.n_mels), channels=[256], blocks=[3]), Cosine(), objective)
    generator = torch.Generator().manual_seed(0)

    def loss(step: int) -> Tensor:
        t = LowDiscrepancy().sample(BATCH, generator)[0] * denoiser.t_max
        noise = torch.randn(BATCH, *mel.shape[1:], generator=generator)
        return denoiser.loss(mel.expand(BATCH, -1, -1), noise, t).loss.mean()

    learn(denoiser.network, steps, loss)
    return denoiser, mel


@torch.inference_mode()
def denoised_mel(denoiser: Denoiser, mel: Tensor) -> float:
    """SI-SDR over all bands and frames of the estimate at log_snr = 0."""
    made = denoiser(half_noise(mel), denoiser.schedule.t_from_log_snr(0.0))
    return float(si_sdr(made.flatten(1), mel.flatten(1)))


@torch.inference_mode()
def sampled_mel(denoiser: Denoiser, mel: Tensor) -> float:
    """SI-SDR of an unconditional sample against the one mel that there is."""
    made = build("dpmpp_2m", 6)(denoiser, batch_noise([0], *mel.shape[1:]))
    return float(si_sdr(made.flatten(1), mel.flatten(1)))


@pytest.mark.parametrize(
    ("objective", "steps", "denoised", "sampled"),
    [("epsilon", 600, 11.0, None), ("x0", 600, 20.0, 5.0), ("v", 600, 15.0, 4.0)],
)
def test_mel_is_learned_by_heart(objective, steps, denoised, sampled):
    untrained, mel = train_on_a_mel(OBJECTIVES[objective](), 0)
    assert denoised_mel(untrained, mel) < 5
    denoiser, mel = train_on_a_mel(OBJECTIVES[objective](), steps)
    found = denoised_mel(denoiser, mel), sampled_mel(denoiser, mel)
    print(f"identity {objective}: denoised {found[0]:.1f} dB, sampled {found[1]:.1f} dB")
    assert found[0] > denoised
    assert sampled is None or found[1] > sampled
