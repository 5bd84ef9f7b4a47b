"""Few-step task of upsamplers: as of vocoders (`training.tasks.few_step`), on band-limited clips."""

import lightning
import torch
from torch import Tensor

from audiodiff.models.upsampler_model import Band, UpsamplerModel
from audiodiff.ranges import NonNegativeFloat
from audiodiff.training.band_limit import BandLimit
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.few_step import FewStepTask
from audiodiff.training.tasks.task import fade_edges, limit_losses
from audiodiff.training.tasks.upsampling import check_cutoffs


class FewStepUpsamplingTask(FewStepTask):
    """Trains an `UpsamplerModel` through its own sampler.

    With one step and no repulsion it trains a regressor: one evaluation, compared by a spectral distance.

    Args:
        band_limit: what band-limits the crops; None: `BandLimit()`.
        envelope_weight: weight of the error of the predicted envelope.
        options: those of `FewStepTask` that do not concern mels.
    """

    def __init__(self, band_limit: BandLimit | None = None, envelope_weight: NonNegativeFloat = 1.0, **options):
        super().__init__(**options)
        self.band_limit, self.envelope_weight = band_limit or BandLimit(), envelope_weight

    def prepare(self, model: UpsamplerModel, data: lightning.LightningDataModule) -> None:  # type: ignore[override]
        """Check sampler, crops and cutoffs."""
        super().prepare(model, data)  # type: ignore[arg-type]
        check_cutoffs(model, self.band_limit)

    def loss(self, model: UpsamplerModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:  # type: ignore[override]
        """Complete a batch (B, T) from its lower band, twice, and compare."""
        waveform = fade_edges(batch["waveform"], model.mel_spec.hop_length)
        count, samples = waveform.shape
        waveform = waveform * self.draw_gain(model, count, random)[:, None].to(waveform)
        steps, outputs = random.choice(self.steps), 2 if self.repulsion else 1
        noise = random.normal(count, 1, samples, repeats=outputs).flatten(0, 1).to(waveform)
        limited, cutoff = self.band_limit(waveform, model.sample_rate, random)
        band, missing = model.embed_band(limited, cutoff), waveform - limited
        output = self._complete(model, noise, band.repeated(outputs), steps).unflatten(0, (outputs, count))
        losses = torch.stack([self._distance(model, one, waveform, missing) for one in output]).mean(0)  # type: ignore[arg-type]
        if self.repulsion:
            losses = losses - 0.5 * self.repulsion * self._distance(model, *output, missing)  # type: ignore[arg-type]
        envelope = model.envelope_loss(band, waveform).mean()
        loss = limit_losses(losses).mean() + self.envelope_weight * envelope
        return {"loss": loss, "envelope": envelope.detach(), "clip_loss": losses.detach()}

    def _complete(self, model: UpsamplerModel, noise: Tensor, band: Band, steps: int) -> Tensor:
        """Sample full-band signals (N, T) from noise (N, 1, T)."""
        return model.restore(self._sample(model, noise, band.condition, steps).float(), band)
