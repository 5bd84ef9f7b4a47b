"""The training record of a checkpoint: how its model was trained, and the records of what that started from."""

from collections.abc import Mapping, Sequence

from audiodiff.data.licenses import card_licenses, spdx

STARTED_FROM = "started_from"  # key of the record of the model whose weights a run started with
ADAPTERS = "adapters"  # key of the records of adapters that were merged into a model
CODEC = "codec"  # key of the record of the codec that a model generates latents of


def training_stages(training: dict, part: str = "") -> list[tuple[str, dict]]:
    """The records of all runs that led to a model, the first one first, each with what it trained ("": the model)."""
    if not training:
        return []
    stages = training_stages(training.get(CODEC, {}), CODEC)
    earlier = training_stages(training.get(STARTED_FROM, {}), part)  # maybe about the same codec
    return [*stages, *(stage for stage in earlier if stage not in stages), (part, training)]


def with_adapters(training: Mapping, adapters: Sequence[Mapping]) -> dict:
    """The record of a model that adapters were merged into, with the licenses of their data."""
    stages = [stage for record in (training, *adapters) for _, stage in training_stages(dict(record))]
    licenses = {text for stage in stages for text in stage.get("licenses", ())}
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
