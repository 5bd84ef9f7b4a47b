"""The model that a run exports, and what its training knows of itself."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning
import torch

from audiodiff import __version__
from audiodiff.evaluation import environment
from audiodiff.export.model_card import metadata
from audiodiff.models.training_record import CODEC, STARTED_FROM, data_licenses, training_stages

CARD = """{metadata}
# {title}

Trained with audiodiff {version} for {steps} optimizer steps on {data}: {audio_hours:.2f} hours of audio seen in
{minutes:.1f} minutes of wall time on {hardware}.

{earlier}{use}

Data licenses: {licenses}
"""


@dataclass(frozen=True)
class Kind:
    """What a model is, for its card.

    Attributes:
        tag: how a hub files it.
        title: of the card.
        use: how it is used, and its figures.
    """

    tag: str
    title: str
    use: str


def export(trainer: lightning.Trainer, module, folder: Path, data: str, kind: Kind) -> None:
    """Write the model to `<folder>/model`, with a card of what training recorded.

    Args:
        trainer, module: of the run.
        folder: of the run.
        data: what the model was trained on, in words.
        kind: what it is.
    """
    crops = trainer.datamodule.crops
    timer = next((c for c in trainer.callbacks if isinstance(c, lightning.pytorch.callbacks.Timer)), None)
    training = {
        "steps": trainer.global_step,
        "audio_hours": module.next_draw * crops.samples / module.model.sample_rate / 3600,
        "minutes": timer.time_elapsed() / 60 if timer else 0.0,
        "device": str(module.device),
        "hardware": hardware(module.device),
        "data": data,
        "from_start": crops.from_start,
        "manifest_hash": trainer.datamodule.prepared().with_splits("train").content_hash(),
        "clips": len(crops.manifest),
        "synthetic": any(clip.synthetic for clip in crops.manifest.clips),
        "licenses": sorted({clip.license for clip in crops.manifest.clips if clip.license}),
        "version": __version__,
    }
    if module.started_from:
        training[STARTED_FROM] = module.started_from
    if trainer.datamodule.codec_training:
        training[CODEC] = trainer.datamodule.codec_training
    stages = training_stages(training)
    licenses = data_licenses(training)
    words = {"licenses": "; ".join(licenses) or "not stated", "earlier": format_stages(stages)}
    words["metadata"] = metadata(kind.tag, licenses)
    module.model.save_pretrained(Path(folder) / "model", training, CARD.format(**training | asdict(kind) | words))


def format_stages(stages: Sequence[tuple[str, dict]]) -> str:
    """All stages of a model's training but the last, for its card, the first one first; "" if there are none."""
    lines = []
    for part, record in stages[:-1]:
        what = f"of its {part}" if part else "of its weights"
        manifest = record.get("manifest_hash", "not recorded")
        steps, data = record.get("steps", "unknown"), record.get("data", "unknown data")
        lines.append(f"1. {what}: {steps} steps on {data} (manifest {manifest})")
    return "\n".join(["Earlier training:", "", *lines, "", ""]) if lines else ""


def hardware(device: torch.device) -> str:
    """What trains, in words: the GPU's name, or the CPU's with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{environment.processor()}, {threads} thread{'' if threads == 1 else 's'}"
