"""Contrastive task: clips and their captions find each other among those of a batch.

With unit vectors a_i of clips and c_j of captions, and a learned scale s, the logits are s a_i . c_j. The loss is the
cross-entropy of the softmax over captions of each clip, and over clips of each caption, with equal targets on all pairs
of one canonical caption: two recordings of a kick drum, or two wordings of its caption, are not each other's negatives,
and clips without a caption are left out
(InfoNCE, van den Oord et al. 2018, arXiv 1807.03748, symmetric as in CLIP, arXiv 2103.00020; targets as in UniCL, Yang
et al. 2022, arXiv 2204.03610).

Augmentation is in the features: a random gain, and bands and frames that are silenced (SpecAugment, Park et al. 2019,
arXiv 1904.08779).
"""

import math
from collections.abc import Sequence

import lightning
import torch
from torch import Tensor

from audiodiff.models.audio_text_model import FEATURE_SCALE, AudioTextModel
from audiodiff.ranges import NonNegativeFloat, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.task import Task


class ContrastiveTask(Task):
    """Trains an `AudioTextModel`.

    Args:
        gain: lower and upper bound of the random gain of each clip's features.
        mask_share: most of the bands, and of the frames, that are silenced in each clip.
        label_smoothing: share of the targets that is spread over all pairs.
    """

    def __init__(
        self,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.5, 2.0),
        mask_share: UnitInterval = 0.2,
        label_smoothing: UnitInterval = 0.0,
    ):
        super().__init__(gain)
        self.mask_share, self.label_smoothing = mask_share, label_smoothing
        self._captions: dict[str, str] = {}

    def prepare(self, model: AudioTextModel, data: lightning.LightningDataModule) -> None:
        """Look up the canonical captions of all clips."""
        self._captions = {clip.id: clip.caption for clip in data.prepared().clips}

    def loss(self, model: AudioTextModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Embed clips and captions, and compare all with all."""
        waveform = batch["waveform"]
        features, frames = model.features(waveform, model.sample_rate, batch["samples"])
        if model.training:
            features = self._augment(features, random)
        audio, text = model.embed_features(features, frames), model.embed_text(batch["prompt"])
        captions = [self._captions.get(clip, clip) for clip in batch["clip"]]
        captioned = [place for place, caption in enumerate(captions) if caption] or [0]  # alone, a clip has no loss
        audio, text = audio[captioned], text[captioned]
        targets = same_caption([captions[place] for place in captioned]).to(audio)
        targets = targets / targets.sum(1, keepdim=True)
        logits = model.logit_scale() * audio @ text.T
        smoothed = (1 - self.label_smoothing) * targets + self.label_smoothing / len(targets)
        loss = 0.5 * sum(-(smoothed * one.log_softmax(1)).sum(1).mean() for one in (logits, logits.T))
        found = targets.gather(1, logits.detach().argmax(1, keepdim=True)) > 0
        return {"loss": loss, "recall": found.float().mean(), "scale": model.logit_scale().detach()}

    def _augment(self, features: Tensor, random: BatchRandom) -> Tensor:
        """Features (B, M, F) with a random gain, and a random stretch of bands and of frames silenced."""
        clips, bands, frames = features.shape
        low, high = (math.log(max(bound, 1e-3)) for bound in self.gain)
        shift = (low + (high - low) * random.uniform(clips)).to(features) / FEATURE_SCALE
        features = (features + shift[:, None, None] * (features > 0)).clamp(min=0)
        for dim, size in ((1, bands), (2, frames)):
            length, place = (random.uniform(clips).to(features) for _ in range(2))
            length = self.mask_share * length * size
            start = place * (size - length)
            position = torch.arange(size, device=features.device)
            silenced = (position >= start[:, None]) & (position < (start + length)[:, None])
            features = features.masked_fill(silenced.unsqueeze(3 - dim), 0)
        return features


def same_caption(captions: Sequence[str]) -> Tensor:
    """(B, B) bool, where two clips have the same canonical caption."""
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    ids = torch.tensor([numbers[caption] for caption in captions])
    return ids[:, None] == ids
