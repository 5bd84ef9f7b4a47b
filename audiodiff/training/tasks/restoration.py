"""Restoration task: an unrolled sampler, compared with the original relative to what the degradation did."""

import lightning
import torch
from torch import Tensor

from audiodiff.audio.observation import Observation
from audiodiff.audio.spectral import multi_resolution_mel, multi_resolution_stft
from audiodiff.models.restoration_model import EmbeddedObservation, RestorationModel
from audiodiff.ranges import NonNegativeFloat
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.degradation import Degradation
from audiodiff.training.tasks.few_step import FewStepTask
from audiodiff.training.tasks.task import fade_edges, limit_losses

_LEAST = 0.03  # distance of the guess below which a clip counts less


class RestorationTask(FewStepTask):
    """Trains a `RestorationModel` through its own sampler, on crops that are degraded at random.

    The distance of an output to the original has three parts: spectral, of mels, and of waveforms (their Euclidean
    distance relative to the norm of the original). Each is divided by that of the guess, so that a crop counts as
    much whether its noise is loud or faint, and whether a vowel or a hundredth of it is missing.

    Args:
        degradation: what degrades the crops; None: `Degradation()`.
        waveform_weight: weight of the distance of waveforms.
        envelope_weight: weight of the error of the predicted envelope.
        options: those of `FewStepTask` that do not concern mels.
    """

    def __init__(
        self,
        degradation: Degradation | None = None,
        waveform_weight: NonNegativeFloat = 1.0,
        envelope_weight: NonNegativeFloat = 1.0,
        **options,
    ):
        super().__init__(**options)
        self.degradation = degradation or Degradation()
        self.waveform_weight, self.envelope_weight = waveform_weight, envelope_weight

    def prepare(self, model: RestorationModel, data: lightning.LightningDataModule) -> None:  # type: ignore[override]
        """Check sampler and crops, and read the noises."""
        super().prepare(model, data)  # type: ignore[arg-type]
        self.degradation.load(model.sample_rate)

    def loss(self, model: RestorationModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:  # type: ignore[override]
        """Degrade a batch (B, T), restore it, twice where outputs repel each other, and compare."""
        waveform = fade_edges(batch["waveform"], model.mel_spec.hop_length)
        count, samples = waveform.shape
        waveform = waveform * self.draw_gain(model, count, random)[:, None].to(waveform)
        steps, outputs = random.choice(self.steps), 2 if self.repulsion else 1
        noise = random.normal(count, 1, samples, repeats=outputs).flatten(0, 1).to(waveform)
        observation = self.degradation(waveform, model.sample_rate, random)
        embedded = model.embed_observation(observation)
        output = self._restore(model, noise, observation.repeated(outputs), embedded.repeated(outputs), steps)
        output = output.unflatten(0, (outputs, count))
        with torch.no_grad():
            units = [one.clamp(min=_LEAST) for one in self._distances(model, observation.guess, waveform, waveform)]
        losses = torch.stack([self._relative(model, one, waveform, waveform, units) for one in output]).mean(0)
        if self.repulsion:
            losses = losses - 0.5 * self.repulsion * self._relative(model, output[0], output[1], waveform, units)
        envelope = model.envelope_loss(embedded, waveform - observation.guess).mean()
        loss = limit_losses(losses).mean() + self.envelope_weight * envelope
        return {"loss": loss, "envelope": envelope.detach(), "clip_loss": losses.detach()}

    def _distances(self, model: RestorationModel, x: Tensor, y: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        """(B,) distances of waveforms (B, T): of spectra, mels and samples."""
        norm = scale.norm(dim=-1).clamp(min=1e-3)
        samples = ((x - y).square().sum(-1) + 1e-12).sqrt() / norm
        return multi_resolution_stft(x, y, scale=scale), multi_resolution_mel(x, y, model.sample_rate), samples

    def _relative(self, model: RestorationModel, x: Tensor, y: Tensor, scale: Tensor, units: list[Tensor]) -> Tensor:
        """(B,) weighted sum of distances, each in its unit (B,)."""
        weights = (self.stft_weight, self.mel_weight, self.waveform_weight)
        found = zip(weights, self._distances(model, x, y, scale), units, strict=True)
        return sum((weight * one / unit for weight, one, unit in found), torch.zeros_like(units[0]))

    def _restore(
        self,
        model: RestorationModel,
        noise: Tensor,
        observation: Observation,
        embedded: EmbeddedObservation,
        steps: int,
    ) -> Tensor:
        """Sample restored signals (N, T) from noise (N, 1, T)."""
        z = self._sample(model, noise, embedded.condition, steps).float()
        return observation.complete(model.correction(z, embedded))
