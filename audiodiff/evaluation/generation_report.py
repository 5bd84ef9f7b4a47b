"""The report of a generator's evaluation: tables of distances, examples to listen to, and prompts if it takes them."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch

from audiodiff.audio.io import Audio
from audiodiff.audio.loudness import normalize_peak
from audiodiff.evaluation.figures import sound
from audiodiff.evaluation.generation_evaluation import DISTANCES, GENERATED, Evaluation, memorization
from audiodiff.evaluation.prompt_evaluation import PromptEvaluation
from audiodiff.evaluation.prompt_report import prompt_data, prompt_sections
from audiodiff.evaluation.report import Cell, Example, Report, Section, Table, format_facts


def generation_report(
    evaluation: Evaluation,
    clips: Mapping[int, np.ndarray],
    sample_rate: int,
    prompted: PromptEvaluation | None = None,
) -> Report:
    """Build the report of an evaluation, with some generated clips (C, T) by their index."""
    settings = evaluation.settings
    leveled = normalize_peak(torch.from_numpy(np.stack(list(clips.values()))), 0.9)
    audio = {index: Audio(clip, sample_rate) for index, clip in zip(clips, leveled, strict=True)}
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in evaluation.ratio.items())
    neighbors = {one.clip: one for one in evaluation.neighbors}
    examples = [
        Example(
            f"{number:04d}" if prompted is None else f"{number:04d}: {prompted.prompt_of(number)}",
            f"nearest training clip: {neighbors[number].nearest}" if number in neighbors else "not scored",
            {"Generated": sound(clip.samples.T.numpy(), sample_rate)},
        )
        for number, clip in audio.items()
    ]
    fidelity = {} if prompted is None else prompted.fidelity()
    return Report(
        title="Generator evaluation",
        facts=format_facts(evaluation.facts),
        lead=[
            f"{settings.limit} clips, {settings.steps} steps, seed {settings.seed}. Distances relative to training "
            f"clips: {ratios}. Generated clips are {memorization(evaluation)} (medians)."
        ],
        sections=[
            *([] if prompted is None else prompt_sections(fidelity, prompted.prompts, prompted.embedding)),
            Section(
                "Distances",
                f"Distances to the held-out clips (list SHA-256 {evaluation.clip_list_hash}) over subsets of "
                f"{evaluation.subset} in {evaluation.dimensions} dimensions, with 95 % confidence intervals; other "
                "columns are the median and the middle 95 %.",
                _distances(evaluation),
            ),
            Section("Halves", "Distances to random halves of the held-out clips.", _halves_table(evaluation)),
            Section("Nearest training clips", table=_neighbors_table(evaluation, clips), examples=examples),
        ],
        data=asdict(evaluation) | {"ratio": evaluation.ratio} | prompt_data(prompted, fidelity),
        clips={f"{number:04d}.wav": clip for number, clip in audio.items()},
    )


def _distances(evaluation: Evaluation) -> Table:
    columns = ["Set", "Clips (silent)", *(f"{name} distance ↓" for name in DISTANCES), "Nearest training clip"]
    columns += ["Variety", "Crest (dB)", "Loudness (LUFS)", "Pulse clarity"]
    rows = {}
    for name, row in evaluation.rows.items():
        texts = [f"{row.clips} ({row.silent}{f', {row.not_finite} not finite' if row.not_finite else ''})"]
        texts += [str(row.distances[kind]) for kind in DISTANCES]
        texts += [
            str(row.nearest),
            f"{row.variety:.2f}",
            f"{row.crest_db:.1f}",
            str(row.loudness),
            str(row.pulse_clarity or "–"),
        ]
        rows[name] = [Cell(text) for text in texts]
    texts = [str(evaluation.held_out_clips), "", "", str(evaluation.held_out), "", "", "", ""]
    rows["held-out clips"] = [Cell(text) for text in texts]
    return Table([(name, "") for name in columns], rows, [GENERATED])


def _halves_table(evaluation: Evaluation) -> Table:
    rows = {name: [Cell(str(value)) for value in one.values()] for name, one in evaluation.halves.items()}
    return Table([("Set", ""), *((name, "") for name in DISTANCES)], rows, [GENERATED])


def _neighbors_table(evaluation: Evaluation, clips: Mapping[int, np.ndarray]) -> Table:
    shown = [one for one in evaluation.neighbors if one.clip in clips]
    rows = {
        f"{one.clip:04d}": [Cell(f"{one.nearest}, at {one.seconds:.1f} s"), Cell(f"{one.distance:.2f}")]
        for one in shown
    }
    return Table([("Clip", ""), ("Training clip", ""), ("Distance", "")], rows)
