"""Publishing: write the model of a training run as one that is shipped with the package (`models.model_folders`).

Shipped models are small, since the repository's history keeps every copy: weights in half precision, at most
`MAX_PARAMETERS` and `MAX_BYTES`. The card (`export.model_card`) is written from what checkpoint and manifests record,
training stage by training stage, and is refused where they do not belong together. A model that started from a shipped
one has stages of that, whose data the card of the shipped model states.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from audiodiff.data.licenses import data_table
from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.export.model_card import CARDS, model_card
from audiodiff.models import checkpoint
from audiodiff.models.checkpoint import Checkpoint
from audiodiff.models.model_folders import shipped_folders
from audiodiff.models.registry import MODEL_TYPES
from audiodiff.models.training_record import CODEC, data_licenses, training_stages

MAX_PARAMETERS = 8_000_000
MAX_BYTES = 16 * 2**20


def publish(
    model: str | Path, out: str | Path, manifests: Sequence[Manifest], limitations: str, overwrite: bool = False
) -> Path:
    """Write a run's model as one to be shipped, and return its folder.

    Args:
        model: folder that training exported.
        out: output folder; its name is the model's.
        manifests: all data that it was trained on, at any stage but those of a shipped model.
        limitations: known limitations, Markdown.
        overwrite: replace an existing model.

    Raises:
        UserError: a model that is too large, that half precision cannot represent or that is not published by itself; a
            model in `out`; a training stage whose manifest is missing; no limitations.
    """
    out, folder = Path(out), checkpoint.locate(model)
    if not limitations.strip():
        raise UserError("notes", "are empty", "describe the known limitations")
    if (out / "config.json").exists() and not overwrite:
        raise UserError(out, "holds a model already", "choose another --out or add --overwrite")
    found = checkpoint.load(folder)
    found = replace(found, training=_with_folder_names(found.training))
    if CARDS.get(found.type) is None:
        raise UserError(
            folder, f"is a {found.type}, which is not published by itself", "publish the model that uses it"
        )
    built = MODEL_TYPES[found.type].from_checkpoint(found, folder)
    half = replace(found, weights=checkpoint.to_half_precision(found.weights), stored=checkpoint.HALF)
    _check_size(folder, sum(parameter.numel() for parameter in built.parameters()), half)
    if getattr(built, "codec", None) is not None and CODEC not in found.training:
        raise UserError(folder, "has no record of its codec's training", "train it again on that codec")
    stages = training_stages(found.training)
    stated = _check_manifests(folder, stages, manifests)
    if vocoder := getattr(built, "vocoder", ""):  # of a voice: published by itself, and part of the bill
        stages = [*stages, *training_stages(checkpoint.load(vocoder).training, f"vocoder {vocoder}")]
    card = model_card(built, out.name, stages, data_licenses(found.training), manifests, limitations, stated)
    checkpoint.save(out, half, card)
    return out


def _check_size(folder: Path, parameters: int, half: Checkpoint) -> None:
    size = sum(weight.nbytes for weight in half.weights.values())
    if parameters > MAX_PARAMETERS:
        raise UserError(folder, f"has {parameters:,} parameters, more than {MAX_PARAMETERS:,}", "train a smaller model")
    if size > MAX_BYTES:
        problem = f"takes {size / 2**20:.1f} MiB, more than {MAX_BYTES >> 20} MiB"
        raise UserError(folder, problem, "train a smaller model")


def _check_manifests(
    folder: Path, stages: Sequence[tuple[str, dict]], manifests: Sequence[Manifest]
) -> list[list[str]]:
    """Check that the data of all stages is known; returns what cards of shipped models state of that of theirs."""
    if not stages:
        raise UserError(folder, "has no training record", "publish the model folder that `audiodiff train` exported")
    stated: list[list[str]] = []
    for _, record in stages:
        rows = [] if _has_data(record, manifests) else _stated_data(record)
        if rows is None:
            problem = f"was trained on {record.get('data')}, whose manifest {record.get('manifest_hash')} is missing"
            raise UserError(folder, problem, "add --data with that manifest, as it was then")
        stated += [row for row in rows if row not in stated]
    return stated


def _stated_data(record: dict) -> list[list[str]] | None:
    """Rows of the data table of a shipped model that has this stage; None if there is none.

    Of several the one with the fewest rows, which says the least of other stages.
    """
    found = []
    for folder in shipped_folders().values():
        known = [one.get("manifest_hash") for _, one in training_stages(checkpoint.load(folder).training)]
        if record.get("manifest_hash") in known:
            found.append(data_table((folder / "README.md").read_text(encoding="utf-8"))[1])
    return min(found, key=len, default=None)


def _has_data(record: dict, manifests: Sequence[Manifest]) -> bool:
    """Whether a run was trained on one of the manifests, or on those that its record names, joined as a run does.

    Several may have one name: versions of a corpus, of which each stage was trained on another.
    """
    wanted = record.get("manifest_hash")
    if any(_training_hash(manifest) == wanted for manifest in manifests):
        return True
    names = [_folder_name(path) for path in record.get("data", "").split(", ")]
    versions = [[one for one in manifests if _folder_name(str(one.root.absolute())) == name] for name in names]
    choices = product(*versions) if len(names) > 1 else ()
    return any(_joined_hash(chosen) == wanted for chosen in choices)


def _training_hash(manifest: Manifest) -> str:
    return manifest.with_splits("train").content_hash()


def _joined_hash(manifests: Sequence[Manifest]) -> str | None:
    """Hash of manifests together; None of those that cannot be joined, so that no run was trained on them."""
    try:
        return _training_hash(Manifest.join(manifests))
    except UserError:
        return None


def _with_folder_names(training: dict) -> dict:
    """A training record, those of earlier stages included, without the author's paths: data by its folder's name."""
    named = {key: _with_folder_names(value) if isinstance(value, dict) else value for key, value in training.items()}
    if isinstance(data := named.get("data"), str):
        named["data"] = ", ".join(map(_folder_name, data.split(", ")))
    return named


def _folder_name(path: str) -> str:
    """`data/NAME` of the path of a folder or of the manifest in it, as recipes name it."""
    folder = Path(path).parent if path.endswith(".jsonl") else Path(path)
    return f"data/{folder.name}"
