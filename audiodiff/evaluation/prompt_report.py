"""The part of a generator's report that says whether clips are what their prompts ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from audiodiff.evaluation.prompt_evaluation import ALL, REAL, Fidelity, PromptedClip, PromptEvaluation
from audiodiff.evaluation.report import Cell, Section, Table
from audiodiff.evaluation.statistics import Interval

_COLUMNS = ("Set", "Clips", "Recall at 1 ↑", "Recall at 5 ↑", "Reciprocal rank ↑", "Right noun ↑", "Similarity ↑")
TERMS = {
    "Recall at 1": "share of the clips whose own caption is the most similar one of all; synonymous captions are one",
    "Right noun": "share of the clips whose most similar caption has their noun, whatever its adjectives and details",
    "Similarity": "cosine of a clip and its caption",
    REAL: "the recordings that have the captions: the most that the embedding can tell apart",
}
_HEADINGS = {ALL: "all captions", "recorded": "captions of recordings", "rendered": "captions of rendered instruments"}


def prompt_sections(
    fidelity: Mapping[str, Mapping[str, Fidelity]], prompts: Sequence[PromptedClip], embedding: str
) -> list[Section]:
    """A section for each group of captions.

    Args:
        fidelity: by set and group.
        prompts: all captions.
        embedding: name and hash of the embedding.
    """
    untrained = sum(not one.trained for one in prompts)
    text = (
        f"{len(prompts)} captions of held-out clips, {untrained} of which are no wording of a training clip's, "
        f"scored by {embedding}. "
        "Each clip is compared with all captions. 95 % confidence intervals over captions."
    )
    groups = list(dict.fromkeys(group for groups in fidelity.values() for group in groups))
    sections = []
    for group in groups:
        rows = {name: found[group] for name, found in fidelity.items() if group in found}
        heading, terms = f"Prompts: {_HEADINGS[group]}", TERMS if group == ALL else {}
        sections.append(Section(heading, text if group == ALL else "", _table(rows), terms))
    return sections


def prompt_data(prompted: PromptEvaluation | None, fidelity: Mapping[str, Mapping[str, Fidelity]]) -> dict:
    """What report.json has of prompts."""
    if prompted is None:
        return {}
    captions = [{"caption": one.caption, "clip": one.clip.id, "trained": one.trained} for one in prompted.prompts]
    scores = {name: {group: asdict(row) for group, row in found.items()} for name, found in fidelity.items()}
    return {"embedding_model": prompted.embedding, "prompts": captions, "fidelity": scores}


def _table(rows: Mapping[str, Fidelity]) -> Table:
    cells = {name: _cells(row) for name, row in rows.items()}
    one = next(iter(rows.values()))
    cells["chance"] = [Cell(text) for text in ("", f"{one.chance:.1%}", "", "", f"{one.noun_chance:.1%}", "")]
    return Table([(name, "") for name in _COLUMNS], cells)


def _cells(row: Fidelity) -> list[Cell]:
    shares = (row.recall_at_1, row.recall_at_5, row.reciprocal_rank, row.noun_at_1)
    return [Cell(str(row.clips)), *(_cell(one, "{:.1%}") for one in shares), _cell(row.similarity, "{:.3f}")]


def _cell(interval: Interval, form: str) -> Cell:
    low, high = (form.format(end) for end in (interval.low, interval.high))
    return Cell(form.format(interval.mean), (f"{low} to {high}",), interval)
