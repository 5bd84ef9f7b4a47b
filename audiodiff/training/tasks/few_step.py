"""Few-step task: the sampler is unrolled during training, and its output is compared with recordings.

Training on noise levels one by one teaches the mean of all signals that fit, and leaves to many small steps what no
single estimate can express. With two to four steps the last estimate *is* the output. So the whole synthesis, from
noise through the sampler's steps, the prior and the mel consistency, runs with gradients, and its waveform is compared
with the recording by a spectral distance d, which is invariant to phase.

A distance alone would make every output the least wrong one, without breath or variety. Two outputs x, x' of two noises
are therefore pushed apart as strongly as they are pulled: E d(x, y) - E d(x, x') / 2 is the energy distance, whose
minimum is the distribution of the recordings, without an adversary (Gritsenko et al. 2020, equation 5).
"""

import lightning
import torch
from torch import Tensor

from audiodiff.audio.spectral import multi_resolution_mel, multi_resolution_stft
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.condition import Condition
from audiodiff.ranges import NonNegative, NonNegativeFloat, Positive
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.task import Task, fade_edges, limit_losses
from audiodiff.training.tasks.vocoder import check_crops


class FewStepTask(Task):
    """Trains a `VocoderModel` through its own sampler.

    Args:
        gain: as for `Task`.
        steps: numbers of sampling steps; each training step draws one of them.
        sampler: name of a deterministic sampler; None: the model's own.
        consistency: iterations of mel consistency that gradients pass through; None: the model's own.
        repulsion: weight of the term that pushes two outputs apart: 1 makes the loss an energy distance, 0 a distance.
        stft_weight: weight of the multi-resolution STFT distance.
        mel_weight: weight of the multi-resolution mel distance.
        align_excitation: whether the excitation is in phase with the recording in training; at inference it is not.
    """

    def __init__(
        self,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.5, 1.2),
        steps: tuple[Positive, ...] = (2, 4),
        sampler: str | None = None,
        consistency: NonNegative | None = None,
        repulsion: NonNegativeFloat = 1.0,
        stft_weight: NonNegativeFloat = 0.5,
        mel_weight: NonNegativeFloat = 0.0,
        align_excitation: bool = True,
    ):
        super().__init__(gain)
        self.steps, self.sampler, self.consistency = tuple(steps), sampler, consistency
        self.repulsion, self.align_excitation = repulsion, align_excitation
        self.stft_weight, self.mel_weight = stft_weight, mel_weight

    def prepare(self, model: VocoderModel, data: lightning.LightningDataModule) -> None:
        """Check sampler and crops.

        Raises:
            UserError: the sampler is stochastic or needs more steps, or crops are shorter than a mel frame.
        """
        for steps in self.steps:
            if model.sampler_for(steps, self.sampler).stochastic:
                raise UserError(f"task.sampler {self.sampler}", "is stochastic", "set task.sampler=ddim")
        check_crops(model, data)

    def loss(self, model: VocoderModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Synthesize a batch (B, T) from its mels, twice, and compare."""
        hop = model.mel_spec.hop_length
        waveform = batch["waveform"]
        waveform = waveform[:, : waveform.shape[-1] // hop * hop]
        waveform = fade_edges(waveform, hop)
        count, samples = waveform.shape
        gain = self.draw_gain(model, count, random)[:, None]
        steps = random.choice(self.steps)
        outputs = 2 if self.repulsion else 1
        noise = random.normal(count, 1, samples, repeats=outputs).flatten(0, 1).to(waveform)
        waveform = waveform * gain.to(waveform)
        mel = model.analysis(waveform)
        condition = model.embed_mel(mel, waveform=waveform, align=self.align_excitation)
        output = self._synthesize(model, noise, mel[..., : samples // hop], condition, steps)
        output = output.unflatten(0, (outputs, count))
        losses = torch.stack([self._distance(model, one, waveform) for one in output]).mean(0)
        if self.repulsion:
            losses = losses - 0.5 * self.repulsion * self._distance(model, output[0], output[1], waveform)
        loss = limit_losses(losses).mean() + model.conditioner_loss(mel, waveform).mean()
        return {"loss": loss, "clip_loss": losses.detach()}

    def _distance(self, model: VocoderModel, x: Tensor, y: Tensor, scale: Tensor | None = None) -> Tensor:
        """(B,) distance of waveforms (B, T); `scale` as of `multi_resolution_stft`."""
        distance = self.stft_weight * multi_resolution_stft(x, y, scale=scale)
        if self.mel_weight:
            distance = distance + self.mel_weight * multi_resolution_mel(x, y, model.mel_spec.sample_rate)
        return distance

    def _synthesize(self, model: VocoderModel, noise: Tensor, mel: Tensor, condition: Condition, steps: int) -> Tensor:
        """Sample waveforms (N, T) from noise (N, 1, T), repeating mels and condition."""
        repeats = len(noise) // len(mel)
        mel, condition = mel.repeat(repeats, 1, 1), condition.repeated(repeats)
        return model.project(model.restore(self._sample(model, noise, condition, steps), mel), mel, self.consistency)

    def _sample(self, model: DiffusionModel, noise: Tensor, condition: Condition, steps: int) -> Tensor:
        """Samples of the process (N, T) from noise (N, 1, T), with gradients."""
        sampler = model.sampler_for(steps, self.sampler)
        x1 = sampler.noise_scale(model.denoiser) * noise
        sample, _ = sampler.integrate(model.denoiser, x1, condition, None, None)
        return sample[:, 0]
