"""The training record of a checkpoint: how its model was trained, and the records of what that started from."""

from collections.abc import Mapping, Sequence
from typing import Any

from audiodiff.data.licenses import card_licenses, spdx

STARTED_FROM = "started_from"  # key of the record of the model whose weights a run started with
ADAPTERS = "adapters"  # key of the records of adapters that were merged into a model
CODEC = "codec"  # key of the record of the codec that a model generates latents of
_MAX_DEPTH = 64  # of records of earlier runs within each other


def check_record(training: Any, depth: int = 0) -> dict[str, Any]:
    """Check the parts of a training record that are read again: those of earlier runs, and licenses.

    Returns:
        The record.

    Raises:
        TypeError: one of these is of another type, or there are more than 64 runs within each other.
    """
    if not isinstance(training, dict) or depth > _MAX_DEPTH:
        raise TypeError("training is not a record")
    for name in training.keys() & {CODEC, STARTED_FROM}:
        check_record(training[name], depth + 1)
    for name in training.keys() & {"licenses", "licences"}:
        if not isinstance(training[name], list) or not all(isinstance(license, str) for license in training[name]):
            raise TypeError("training's licenses are not a list of names")
    return training


def training_stages(training: dict, part: str = "") -> list[tuple[str, dict]]:
    """The records of all runs that led to a model, the first one first, each with what it trained ("": the model)."""
    if not training:
        return []
    stages = training_stages(training.get(CODEC, {}), CODEC)
    earlier = training_stages(training.get(STARTED_FROM, {}), part)  # maybe about the same codec
    return [*stages, *(stage for stage in earlier if stage not in stages), (part, training)]


def with_adapters(training: Mapping, adapters: Sequence[Mapping]) -> dict:
    """The record of a model that adapters were merged into, with the licenses of their data."""
    licenses = {text for record in (training, *adapters) for text in data_licenses(dict(record))}
    return {**training, ADAPTERS: [dict(record) for record in adapters], "licenses": sorted(licenses)}


def data_licenses(training: dict, card: str = "") -> tuple[str, ...]:
    """The license statements of all audio that led to a model, sorted, each once.

    Args:
        training: the record of a checkpoint.
        card: text of the model's card, read where the record has no licenses.
    """
    records = [record for _, record in training_stages(training)]
    recorded = {text for record in records for text in record.get("licenses", record.get("licences", ()))}
    return tuple(sorted({spdx(statement) for statement in recorded or card_licenses(card)}))
