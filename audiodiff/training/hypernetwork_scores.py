"""The loss of a hypernetwork on held-out subjects beside that of its base, and its export, at each validation."""

from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from audiodiff.data.batching import to_device
from audiodiff.diffusion.noise import clip_seed
from audiodiff.models.hypernetwork import Hypernetwork
from audiodiff.ranges import Positive
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.export import CardText, export
from audiodiff.training.subjects import describe_subjects
from audiodiff.training.tasks.hypernetwork import HypernetworkTask

USE = """    audiodiff adapt clip.wav more.wav --model this/folder --out my-adapter
    audiodiff generate --model {model} --prompt "a sound" --adapter my-adapter

It predicts adapters of rank {rank} of `{model}`, from embeddings by `{embedder}`. Loss on clips of {count} subjects
that it was not trained on: {loss:.4f}; with references of another subject {other:.4f}, of the base alone {base:.4f}."""


class HypernetworkScores(Callback):
    """Scores the averaged weights at each validation, and exports the model to `<folder>/model`.

    Logs the denoising loss on clips of held-out subjects with the adapter that other clips of theirs predict
    (`held_out/loss`), with that of another subject (`held_out/other`: what adapters have in common), and without one
    (`held_out/base`).

    Args:
        folder: of the run.
        clips: number of held-out crops.
    """

    def __init__(self, folder: str, clips: Positive = 128):
        self.folder, self.clips = Path(folder), clips

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Score and export, before weight averaging, which comes later in the list, restores the trained weights."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        data, model = trainer.datamodule, module.model
        crops = [data.held_out[draw] for draw in data.held_out.one_draw_per_clip(self.clips)]
        found = scores(model, module.task, data.held_out.collate(crops))
        for name, value in found.items():
            module.log(f"held_out/{name}", value, rank_zero_only=True)
        subjects = describe_subjects(data.subjects, data.prepared())
        texts = {"embedder": model.embedder, "rank": model.network.rank, "count": len(subjects["held_out_subjects"])}
        use = USE.format(model=model.base, **texts, **found)
        text = CardText("text-to-audio", f"A hypernetwork of {model.base}", use)
        export(trainer, module, self.folder, text, record=subjects | {"held_out": found})


@torch.no_grad()
def scores(model: Hypernetwork, task: HypernetworkTask, batch: dict) -> dict[str, float]:
    """Losses with predicted adapters, with those of the clip before, and of the base; all have the same noise."""
    batch = to_device(batch, next(model.parameters()).device)
    other = batch | {"reference": batch["reference"].roll(1, 0)}
    losses = {"loss": (task.loss, batch), "other": (task.loss, other), "base": (task.base_loss, batch)}
    seed = clip_seed(0, "hypernetwork")
    return {name: float(loss(model, given, BatchRandom(seed))["loss"]) for name, (loss, given) in losses.items()}
