"""Compression of a model: channel pruning, fine-tuning, quantization, and a table of what it costs.

    OUT/pruned   the pruned model before fine-tuning
    OUT/model    the model after fine-tuning; while it trains, its last export
    OUT/onnx     the exported model with quantized weights
    OUT/...      of the training run: checkpoints, samples, logs

Interrupted, the command resumes where it was when it is run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from audiodiff import schema, train
from audiodiff.conditioners.conditioner import without_weights
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.evaluation import compression
from audiodiff.evaluation.compression import Version
from audiodiff.evaluation.held_out import Settings
from audiodiff.export.onnx import export_onnx
from audiodiff.fine_tuning import configuration
from audiodiff.models import card, checkpoint
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.registry import MODEL_TYPES
from audiodiff.models.training_record import STARTED_FROM
from audiodiff.nn import pruning
from audiodiff.training.batch_random import BatchRandom

PRUNED = "pruned"  # key of a training record: what was pruned, and how much
CROPS = 64  # training crops that the projections are fitted on


@dataclass(frozen=True)
class Compression:
    """What to do.

    Attributes:
        prune: share of the inner channels to remove; None: no pruning.
        quantize: storage of the weights of an ONNX export; None: no export.
        data: manifests to fine-tune on, or their folders.
        held_out: manifests to compare on; empty: `data`.
        minutes: of fine-tuning.
        settings: of the comparison.
    """

    prune: float | None
    quantize: str | None
    data: Sequence[Path]
    held_out: Sequence[Path] = ()
    minutes: float = 10.0
    settings: Settings = Settings()  # noqa: RUF009, frozen

    def check(self) -> None:
        """Raise `UserError` where there is nothing to do, or a number is out of range."""
        if self.prune is None and self.quantize is None:
            raise UserError("compress", "has nothing to do", "add --prune 0.3 or --quantize int8")
        if self.prune is not None and not 0 < self.prune < 1:
            raise UserError(f"--prune {self.prune:g}", "is not a share of the channels", "use one between 0 and 1")
        if not 0 <= self.minutes < float("inf"):
            raise UserError(f"--minutes {self.minutes:g}", "is out of range", "use 0 (no fine-tuning) or more")


def compress(model: str | Path, out: str | Path, wanted: Compression) -> str:
    """Compress a model and return the table, which is also in the cards of what was written.

    Args:
        model: checkpoint folder, or the name of a shipped model.
        out: folder to write; that of the same compression, interrupted, is completed.
        wanted: what to do.

    Raises:
        UserError: settings out of range, a type of model that is not compressed, blocks without channels to remove,
            missing data or extras, another compression in `out`, or as training and export.
    """
    wanted.check()
    compression.check(model)
    folder, out = checkpoint.locate(model), Path(out)
    manifests = [Manifest.load(path) for path in wanted.data]
    held_out = [Manifest.load(path) for path in wanted.held_out] or manifests
    versions = [Version(Path(model).name, folder)]
    if wanted.prune is not None:
        fine_tuned = _prune(folder, out, wanted, Manifest.join(manifests))
        minutes = _minutes(checkpoint.load(out / "pruned"), checkpoint.load(fine_tuned))
        versions.append(Version(f"pruned by {wanted.prune:.0%}, {minutes:.2g} min of fine-tuning", fine_tuned))
    if wanted.quantize is not None:
        exported = export_onnx(versions[-1].folder, out / "onnx", wanted.quantize, overwrite=True)
        label = f"{versions[-1].label}, {wanted.quantize} (ONNX)"
        versions.append(Version(label, exported))
    table = compression.compare(versions, Manifest.join(held_out), wanted.settings)
    text = f"## Compression\n\nBy `audiodiff compress` from {folder.name}.\n\n{table}"
    for version in versions[1:]:
        card.put(text, version.folder / "README.md", card.COMPRESSION)
    return table


def _prune(folder: Path, out: Path, wanted: Compression, manifest: Manifest) -> Path:
    """Prune and fine-tune, or go on with either; the folder of the result."""
    found = checkpoint.load(folder)
    before, after, data = out / "pruned", out / "model", wanted.data
    trained_on = manifest.with_splits("train").content_hash()
    record = {"hash": found.digest, "fraction": wanted.prune, "manifest_hash": trained_on}
    if not (before / "config.json").is_file():
        _check_empty(out, record)
        model: Any = MODEL_TYPES[found.type].from_checkpoint(found, folder)
        _check_blocks(folder, model, wanted.prune)
        run = configuration(model, folder, data, out, wanted.minutes)
        network = pruning.prune_channels(model.network, wanted.prune, _moments(model, run))
        model = model.with_arguments(network=network)
        training = found.training | {PRUNED: record}
        text = f"# {folder.name}, pruned\n\n{wanted.prune:.0%} of the inner channels of its blocks are removed.\n"
        changed = replace(found, arguments=model.arguments(), weights=model.weights(), training=training)
        for target in (after, before):  # the last one says that both are there
            checkpoint.save(target, changed, text)
    pruned = checkpoint.load(before)
    if pruned.training.get(PRUNED) != record:
        problem = "holds another compression: of another model, share of channels or data"
        raise UserError(out, problem, "choose another --out")
    if wanted.minutes:
        _fine_tune(pruned, before, after, out, wanted)
    return after


def _check_empty(out: Path, record: dict[str, Any]) -> None:
    """Raise `UserError` if something else is there; an interrupted start of the same compression may be."""
    after = out / "model"
    other = (after / "config.json").is_file() and checkpoint.load(after).training.get(PRUNED) != record
    if other or out.is_file() or (out / "config.json").is_file() or (out / "checkpoints").is_dir():
        raise UserError(out, "exists and is not a compressed model", "choose a new folder")


def _check_blocks(folder: Path, model: DiffusionModel, fraction: float | None) -> None:
    """Raise `UserError` if no channel would be removed."""
    assert fraction is not None
    widths = pruning.inner_widths(model.network)
    if not any(widths):
        raise UserError(folder, "has no blocks, so there is nothing to prune", "leave out --prune")
    if pruning.pruned_widths(model.network, fraction) == widths:
        problem = f"removes nothing of {widths} channels (whole multiples of {pruning.MULTIPLE} stay)"
        raise UserError(f"--prune {fraction:g}", problem, "use a larger share or leave it out")


def _moments(model: Any, run: Any) -> dict[str, torch.Tensor]:
    """Second moments of the inner channels while the task of the run computes its loss on training crops."""
    schema.check(run)
    data, task = schema.build(run, "data"), schema.build(run, "task")
    data.conditioners = without_weights(model.conditioners)
    data.setup("fit")
    task.prepare(model, data)

    def evaluate() -> None:
        size = min(data.batch_size, CROPS)
        for first in range(0, CROPS, size):
            batch = data.crops.collate([data.crops[first + i] for i in range(size)])
            task.loss(model, batch, BatchRandom(clip_seed(0, f"draw {first}"), 0, 1))

    return pruning.inner_moments(model.network, evaluate)


def _fine_tune(pruned: checkpoint.Checkpoint, before: Path, after: Path, out: Path, wanted: Compression) -> None:
    """Train the pruned model, or go on, for so many minutes in all; store the export as the original was."""
    if _minutes(pruned, checkpoint.load(after)) < wanted.minutes:
        model = MODEL_TYPES[pruned.type].from_checkpoint(pruned, before)
        run = configuration(model, before, wanted.data, out, wanted.minutes)
        run.resume = str(out) if any((out / "checkpoints").glob("*.ckpt")) else None
        try:
            train.run(run, out)
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from error
    text = (after / "README.md").read_text(encoding="utf-8")
    checkpoint.save(after, replace(checkpoint.load(after), stored=pruned.stored), text)


def _minutes(pruned: checkpoint.Checkpoint, exported: checkpoint.Checkpoint) -> float:
    """Minutes of fine-tuning in an export; 0 for the pruned model itself."""
    trained = exported.training.get(STARTED_FROM, {}).get("hash") == pruned.digest
    return exported.training["minutes"] if trained else 0.0
