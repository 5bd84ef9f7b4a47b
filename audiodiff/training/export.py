"""Export of a run's model with its training record and model card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import torch

from audiodiff import __version__
from audiodiff.evaluation import environment
from audiodiff.export.model_card import metadata
from audiodiff.models.training_record import CODEC, STARTED_FROM, data_licenses, training_stages

HISTORY = "history"  # folder of a run's earlier exports

CARD = """{metadata}
# {title}

Trained with audiodiff {version} for {steps} optimizer steps on {data}: {audio_hours:.2f} hours of audio in
{minutes:.1f} minutes of wall time on {hardware}.

{distillation}{earlier}{use}

Data licenses: {licenses}
"""


@dataclass(frozen=True)
class CardText:
    """Text of a model card that depends on the type of model.

    Attributes:
        tag: pipeline tag of the Hugging Face Hub.
        title: of the card.
        use: example code, and key figures.
    """

    tag: str
    title: str
    use: str


def export(
    trainer: lightning.Trainer,
    module,
    folder: Path,
    text: CardText,
    history: float | None = None,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Save the model to `<folder>/model`, or the adapter to `<folder>/adapter`, with its training record and card.

    Args:
        trainer, module: of the run.
        folder: of the run.
        text: of the card.
        history: minutes of training between two exports that are also saved to `<folder>/history/step_<n>`, whatever
            interrupts the run; None: only the last export is saved.
        record: entries of the training record beside those of all models.
    """
    crops = trainer.datamodule.crops
    timer = next((c for c in trainer.callbacks if isinstance(c, lightning.pytorch.callbacks.Timer)), None)
    training = {
        "steps": trainer.global_step,
        "audio_hours": module.next_draw * crops.samples / module.model.sample_rate / 3600,
        "minutes": timer.time_elapsed() / 60 if timer else 0.0,
        "device": str(module.device),
        "hardware": hardware(module.device),
        "data": trainer.datamodule.path,
        "from_start": crops.from_start,
        "manifest_hash": trainer.datamodule.prepared().with_splits("train").content_hash(),
        "clips": len(crops.manifest),
        "synthetic": any(clip.synthetic for clip in crops.manifest.clips),
        "licenses": sorted({clip.license for clip in crops.manifest.clips if clip.license}),
        "version": __version__,
        **(record or {}),
    }
    if module.forgetting:
        training["forgetting"] = module.forgetting
    if module.started_from:
        training[STARTED_FROM] = module.started_from
    if trainer.datamodule.codec_training:
        training[CODEC] = trainer.datamodule.codec_training
    stages = training_stages(training)
    licenses = data_licenses(training)
    words = {"licenses": "; ".join(licenses) or "not stated", "earlier": format_stages(stages)}
    words["metadata"] = metadata(text.tag, licenses, module.model.TYPE, getattr(module.model, "language", ""))
    words["distillation"] = format_distillation(module.model)
    card = CARD.format(**training | asdict(text) | words)
    target = Path(folder) / ("model" if module.adaptation is None else "adapter")
    if module.forgetting.get("exceeded"):
        return  # the last one that does not forget too much stays
    earlier = Path(folder) / HISTORY / f"step_{trainer.global_step:09d}"
    keeps = history is not None and training["minutes"] >= _last_saved(Path(folder)) + history
    for place in [target, *([earlier] if keeps else [])]:
        if module.adaptation is None:
            module.model.save_pretrained(place, training, card)
        else:
            module.adaptation.save(module.model, place, training, words["licenses"])


def format_distillation(model) -> str:
    """What a student is distilled for, as a paragraph of its card; "" of other models."""
    distillation = getattr(model, "distillation", None)
    if distillation is None:
        return ""
    return f"Distilled: {distillation}. Other steps sound worse, and samplers that combine estimates are refused.\n\n"


def _last_saved(folder: Path) -> float:
    """Minutes of training of the last export in a run's history; 0 before the first."""
    configs = sorted(file for name in ("config", "adapter") for file in (folder / HISTORY).glob(f"step_*/{name}.json"))
    return json.loads(configs[-1].read_text(encoding="utf-8"))["training"]["minutes"] if configs else 0.0


def format_stages(stages: Sequence[tuple[str, dict]]) -> str:
    """Format all stages of a model's training but the last for its card, in order; "" if there is only one."""
    lines = []
    for part, record in stages[:-1]:
        what = f"of its {part}" if part else "of its weights"
        manifest = record.get("manifest_hash", "not recorded")
        steps, data = record.get("steps", "unknown"), record.get("data", "unknown data")
        lines.append(f"1. {what}: {steps} steps on {data} (manifest {manifest})")
    return "\n".join(["Earlier training:", "", *lines, "", ""]) if lines else ""


def hardware(device: torch.device) -> str:
    """Name of the GPU, or of the CPU with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{environment.processor()}, {threads} thread{'' if threads == 1 else 's'}"
