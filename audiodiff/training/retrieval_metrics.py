"""How well held-out clips and their captions find each other during training, and the export of the model."""

from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from audiodiff.metrics import retrieval
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.training.export import CardText, export

_AT_ONCE = 32  # clips
USE = """    import audiodiff
    model = audiodiff.load("this/folder")
    model.similarity(audiodiff.Audio(samples, sample_rate), ["a kick drum", "a metal bell"])

    audiodiff search FOLDER "a kick drum" --model this/folder

Held-out clips find their caption among {captions}: {recall_at_1:.0%} at the first place, {recall_at_5:.0%} among the
first five, mean reciprocal rank {mrr:.2f} (chance: {chance:.1%} at the first place). Level is ignored, length and
sample rate are free; it was trained on clips of at most {seconds:.1f} s."""


class RetrievalMetrics(Callback):
    """Compares held-out clips with their captions with the averaged weights at each validation, and exports the model.

    Logs `retrieval/audio_to_text_*` and `retrieval/text_to_audio_*`: recall at 1 and at 5, and the mean reciprocal
    rank, among all clips and different captions of `data.validation_clips` held-out clips.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Measure and export, before weight averaging, which comes later in the list, restores the trained weights."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        data = trainer.datamodule
        similarity, relevant = compare(module.model, data)
        figures = {}
        for name, axes in (("audio_to_text", (0, 1)), ("text_to_audio", (1, 0))):
            figures[name] = measure(similarity.transpose(axes), relevant.transpose(axes))
            for metric, value in figures[name].items():
                module.log(f"retrieval/{name}_{metric}", value, prog_bar=metric == "mrr", rank_zero_only=True)
        seconds = data.crop_samples / data.sample_rate
        facts = figures["audio_to_text"] | {"captions": relevant.shape[1], "chance": retrieval.chance(relevant)}
        use = USE.format(seconds=seconds, **facts)
        title = "An audio-text embedding"
        export(trainer, module, self.folder, CardText("feature-extraction", title, use))


@torch.inference_mode()
def compare(model: AudioTextModel, data: lightning.LightningDataModule) -> tuple[np.ndarray, np.ndarray]:
    """Similarities (N, M) of held-out clips and their different captions, and which belong together."""
    crops, manifest = data.validation_crops(), data.held_out.manifest
    caption_of = {clip.id: clip.caption for clip in manifest.clips}
    audio, captions = [], []
    for start in range(0, len(crops), _AT_ONCE):
        items = [crops[number] for number in range(start, min(start + _AT_ONCE, len(crops)))]
        items = [item for item in items if caption_of[item["clip"]]]
        if items:
            batch = data.held_out.collate(items)
            waveform = batch["waveform"].to(model.logit_scale().device)
            audio.append(model.embed_audio(waveform, model.sample_rate, batch["samples"]))
            captions += [caption_of[clip] for clip in batch["clip"]]
    texts = list(dict.fromkeys(captions))
    similarity = torch.cat(audio) @ model.embed_text(texts).T
    return similarity.cpu().numpy(), np.array([[caption == text for text in texts] for caption in captions])


def measure(similarity: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """Recall at 1 and 5, and mean reciprocal rank, of queries (N, M)."""
    found = retrieval.ranks(similarity, relevant)
    return {
        "recall_at_1": float(retrieval.recall(found, 1).mean()),
        "recall_at_5": float(retrieval.recall(found, 5).mean()),
        "mrr": float(retrieval.reciprocal(found).mean()),
    }
