"""Benchmark of an acoustic model: quality and speed over guidance scales, temperatures and denoising steps.

As `evaluation.benchmark` does for vocoders: a row for each guidance scale, temperature and number of steps, computed
one after another and written at once, so that a second run continues. The recordings are a row, too: the target of the
columns that have no better direction. The noise of clip `id` is that of `clip_seed(seed, id)` in every row.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import SPLITS, content_hash
from audiodiff.evaluation.held_out import Settings as ClipSettings
from audiodiff.evaluation.record import Record, Row
from audiodiff.evaluation.scoring import MetricPool
from audiodiff.evaluation.speech_evaluation import RECORDINGS, build_block, describe_model, speaker_targets
from audiodiff.evaluation.speech_metrics import values
from audiodiff.evaluation.speech_scoring import SpeechScores, score_speech
from audiodiff.evaluation.speech_synthesis import choose_texts, recorded, speak
from audiodiff.metrics import require_all
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer

STEPS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Settings:
    """Settings of a benchmark.

    Attributes:
        steps: numbers of denoising steps.
        guidance_scales, temperatures: empty: the model's own.
        seed: random seed.
        splits: held-out splits of the manifests.
        limit: maximum number of clips per manifest, chosen by a hash of their ids; None: all.
    """

    steps: tuple[int, ...] = STEPS
    guidance_scales: tuple[float, ...] = ()
    temperatures: tuple[float, ...] = ()
    seed: int = 0
    splits: tuple[str, ...] = SPLITS
    limit: int | None = None

    def __post_init__(self):
        """Check the steps."""
        if min(self.steps, default=0) < 1:
            raise UserError("steps", "must be 1 or more", "set them, such as --steps 4,8,16")

    def rows(self) -> Iterator[tuple[str, Row, dict[str, Any]]]:
        """Key, empty row and options of `say`, for each guidance scale, temperature and number of steps."""
        scales, temperatures = (
            dict.fromkeys(values) or (None,) for values in (self.guidance_scales, self.temperatures)
        )
        for scale, temperature, steps in product(scales, temperatures, sorted(set(self.steps))):
            label = "model's own guidance" if scale is None else f"guidance {scale:g}"
            label += "" if temperature is None else f", temperature {temperature:g}"
            row = Row(label, f"The voice with {steps} steps, {label}.", label, steps)
            options = {"steps": steps, "guidance_scale": scale, "temperature": temperature}
            yield f"{label}/{steps}", row, {name: value for name, value in options.items() if value is not None}


def sweep(
    synthesizer: SpeechSynthesizer,
    data: dict[str, Manifest],
    settings: Settings,
    path: Path,
    workers: int | None = None,
    quiet: bool = False,
) -> Record:
    """Compute the results that are missing in the record at `path`.

    Args:
        synthesizer: the voice to benchmark.
        data: manifests by name of their block.
        settings: settings of the benchmark.
        path: path of the record, a JSON file.
        workers: processes that score; None: one per core; 0: this one.
        quiet: no progress bars.

    Raises:
        UserError: a metric's package is missing, no clips with texts of the voice's speakers, bad settings.
    """
    require_all(("dnsmos", "f0_rmse", "speaker", "wer"))
    chosen = ClipSettings(seed=settings.seed, limit=settings.limit, splits=settings.splits)
    record = Record.load(path, describe_model(synthesizer, replace(chosen, steps=synthesizer.model.default_steps)))
    record.environment = environment.describe(synthesizer.device)
    with MetricPool(workers) as pool:
        for name, manifest in data.items():
            clips, _ = choose_texts(synthesizer, manifest, chosen)
            spoken = [recorded(manifest, clip, synthesizer.sample_rate) for clip in clips]
            truth: list[SpeechScores] = list(pool.map(score_speech, spoken))
            found = build_block(manifest, clips, {RECORDINGS: truth}, chosen)
            words = {"text": sum(bool(one.words) for one in truth), "recording": 0}
            words["none"] = len(clips) - words["text"]
            found = replace(
                found,
                name=name,
                words=words,
                clips_sha256=content_hash([clip.id, clip.text, clip.content] for clip in clips),
            )
            block = record.block(found)
            block.date = record.environment["date"]
            targets = speaker_targets(clips, truth)
            for key, new, options in tqdm(list(settings.rows()), desc=name, unit="row", disable=quiet):
                row = block.rows.setdefault(key, new)
                if row.scores:
                    continue
                clip_settings = replace(chosen, steps=options["steps"])
                outputs, speed = speak(synthesizer, clips, clip_settings, quiet=True, **options)
                row.scores = values(list(pool.map(score_speech, outputs)), targets)
                row.speed = {synthesizer.device.type: replace(speed, threads=torch.get_num_threads())}
                record.save(path)
            record.save(path)
    return record
