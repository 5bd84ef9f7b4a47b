"""Classification task: the classes of crops with noise of any level.

The loss is the cross-entropy of each class by itself, so that clips with several labels, or none, are data too. At the
highest noise it is that of the classes' frequencies; what guides a sampler is the slope of the probabilities between.
"""

from collections import Counter

import lightning
import torch
from torch import Tensor

from audiodiff.conditioners.classes import classes_of
from audiodiff.diffusion.clips import column
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy, Uniform
from audiodiff.errors import UserError
from audiodiff.models.noisy_classifier import LOG_SNR_RANGE, NoisyClassifier
from audiodiff.ranges import NonNegativeFloat
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.denoising import check_data, unit_power
from audiodiff.training.tasks.task import Task


class ClassificationTask(Task):
    """Trains a `NoisyClassifier`, at noise levels that are even in log-SNR.

    One that guides needs all levels. One that only scores recordings and clips reads them at the highest log-SNR, and
    learns that level better with `log_snr_range` near it.

    Args:
        gain, normalize_rms, mask_padding: as of the `DenoisingTask` that trained the generator.
        timestep_sampling: distribution of noise levels, from the highest log-SNR; None: evenly spaced over a batch.
        log_snr_range: lowest and highest log-SNR, within `LOG_SNR_RANGE`.

    Raises:
        ValueError: a range that is reversed, or beyond that.
    """

    def __init__(
        self,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.8, 1.2),
        normalize_rms: bool = True,
        mask_padding: bool = False,
        timestep_sampling: Uniform | None = None,
        log_snr_range: tuple[float, float] = LOG_SNR_RANGE,
    ):
        super().__init__(gain, timestep_sampling or LowDiscrepancy())
        low, high = log_snr_range
        if not LOG_SNR_RANGE[0] <= low <= high <= LOG_SNR_RANGE[1]:
            limits = "{:g} to {:g}".format(*LOG_SNR_RANGE)
            raise ValueError(
                f"log_snr_range={list(log_snr_range)} must be two numbers from {limits}, the lower one first"
            )
        self.log_snr_range = (low, high)
        self.normalize_rms, self.mask_padding = normalize_rms, mask_padding

    def prepare(self, model: NoisyClassifier, data: lightning.LightningDataModule) -> None:
        """Check that the data has what the generator's process runs on, and clips of every class.

        Raises:
            UserError: another number of channels, sample rate or codec, or a class that no clip or every clip has.
        """
        check_data(model, data)
        if data.sample_rate != model.sample_rate:
            problem = f"the generator has {model.sample_rate}"
            raise UserError(
                f"data.sample_rate {data.sample_rate}", problem, f"set data.sample_rate={model.sample_rate}"
            )
        clips = data.manifest().clips
        found = Counter(name for clip in clips for name in classes_of(clip, model.classes))
        for count, which in ((0, "no"), (len(clips), "every")):
            if names := [name for name in model.classes if found[name] == count]:
                problem = f"{which} clip has {', '.join(names)} as a label or in its caption"
                raise UserError(data.path, problem, "set model.classes to some that tell its clips apart")

    def clean(self, model: NoisyClassifier, batch: dict) -> tuple[Tensor, Tensor | None]:
        """What the classifier reads of a batch, without noise (B, C', F), and valid frames (B,), None for all."""
        clean = batch["latents"] if "latents" in batch else model.normalize(batch["waveform"])
        samples = -(-batch["samples"] // model.stride) if self.mask_padding else None
        if self.normalize_rms and model.codec is None:
            clean = unit_power(clean, samples)
        return clean, samples

    def loss(self, model: NoisyClassifier, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Add noise to a batch of waveforms (B, C, T) or latents (B, Z, F) and classify it."""
        clean, samples = self.clean(model, batch)
        gain = self.draw_gain(model, len(clean), random)
        clean = clean * column(gain, clean) if model.codec is None else clean
        relative_t, weights = self.draw_timesteps(model, len(clean), random)
        noise, weights = random.normal(*clean.shape).to(clean), weights.to(clean)
        low, high = self.log_snr_range
        log_snr = (high - (high - low) * relative_t).to(clean)
        signal = column(log_snr.sigmoid().sqrt(), clean)
        x = signal * clean + (1 - signal.square()).sqrt() * noise
        log_odds, targets = model.logits(x, log_snr, samples), batch["classes"].to(clean)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(log_odds, targets, reduction="none").sum(1)
        loss = (weights * losses).mean()
        found = targets.gather(1, log_odds.argmax(1, keepdim=True)).mean()
        return {"loss": loss, "clip_loss": losses.detach(), "t": relative_t, "relative_t": relative_t, "found": found}
