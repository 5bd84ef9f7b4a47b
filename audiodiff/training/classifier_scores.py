"""Accuracy of a classifier of noisy signals during training, and its export at each validation."""

from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from audiodiff.data.batching import to_device
from audiodiff.diffusion.noise import clip_seed
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.ranges import Positive
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.export import CardText, export
from audiodiff.training.tasks.classification import ClassificationTask

LEVELS = (-6.0, -3.0, 0.0, 3.0, 8.0)  # log-SNR
USE = """    audiodiff generate --model GENERATOR --classifier this/folder --label {label}

Labels: {labels}"""


class ClassifierScores(Callback):
    """Classifies held-out crops with the averaged weights at each validation, and exports the model.

    Logs `accuracy/log_snr_<level>`: the share of crops that have the class that is most probable, of crops with any.

    Args:
        folder: of the run.
        clips: number of held-out crops.
    """

    def __init__(self, folder: str, clips: Positive = 128):
        self.folder, self.clips = Path(folder), clips

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Measure and export, before weight averaging, which comes later in the list, restores the trained weights."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        held_out = trainer.datamodule.held_out
        crops = [held_out[draw] for draw in held_out.one_draw_per_clip(self.clips)]
        for level, share in accuracy(module.model, held_out.collate(crops), module.task).items():
            module.log(f"accuracy/log_snr_{level:g}", share, rank_zero_only=True)
        labels = module.model.classes
        use = USE.format(label=f'"{labels[0]}"', labels=", ".join(labels))
        text = CardText("audio-classification", "A classifier of noisy signals", use)
        export(trainer, module, self.folder, text)


@torch.no_grad()
def accuracy(model: NoisyClassifier, batch: dict, task: ClassificationTask) -> dict[float, float]:
    """By log-SNR, the share of crops that have their most probable class, of those that have any.

    Args:
        model: the classifier.
        batch: of crops, with `classes` (B, K).
        task: that it is trained with, which normalizes and masks.
    """
    batch = to_device(batch, next(model.network.parameters()).device)
    clean, samples = task.clean(model, batch)
    noise = BatchRandom(clip_seed(0, "accuracy")).normal(*clean.shape).to(clean)
    targets: Tensor = batch["classes"]
    known, shares = targets.any(1), {}
    for level in LEVELS:
        signal = torch.tensor(level).sigmoid().sqrt().to(clean)
        x = signal * clean + (1 - signal.square()).sqrt() * noise
        best = model.logits(x, clean.new_full((len(clean),), level), samples).argmax(1, keepdim=True)
        shares[level] = float(targets.gather(1, best)[known].mean())
    return shares
