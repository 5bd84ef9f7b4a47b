"""Results by clip, and the JSON file from which a benchmark resumes.

A record holds the results of one model, in blocks: one for each list of clips (ids, texts and contents) and seed. A
block has a row for each system, with the score of every metric on every clip, from which means, intervals and
differences are computed, and the speed on each type of device with its hardware. Numbers are stored with six digits.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from audiodiff.errors import UserError
from audiodiff.evaluation.report import plain
from audiodiff.evaluation.speech_metrics import ALL_METRICS
from audiodiff.evaluation.statistics import LEVEL, RESAMPLES, Interval, bootstrap
from audiodiff.files import write_text
from audiodiff.metrics import Described

VERSION = 3
_NUMBERS = re.compile(r"\[\s(?:[-+.\deE,\s]|null)+\]")  # lists of numbers are written on one line


@dataclass(frozen=True)
class Speed:
    """Seconds of work per second of audio, one clip at a time: median over clips, and total over total."""

    median: float
    pooled: float
    hardware: str
    threads: int | None = None

    @classmethod
    def of(cls, work: np.ndarray, audio: np.ndarray, hardware: str, threads: int | None = None) -> "Speed":
        """Speed from seconds of work and seconds of audio, both (clips,)."""
        return cls(float(np.median(work / audio)), float(work.sum() / audio.sum()), hardware, threads)


@dataclass
class Row:
    """Results of a system.

    Attributes:
        label: name in tables.
        note: description.
        sampler: name; "" for systems without a network.
        steps: denoising steps per clip; 0 for systems without a network.
        scores: [metric] -> (clips,), NaN where undefined.
        speed: by type of device, "cpu" or "cuda".
        iterations: of mel consistency; None for systems without it.
        setting: name of the model's setting that these are; "" for others.
    """

    label: str
    note: str = ""
    sampler: str = ""
    steps: int = 0
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    speed: dict[str, Speed] = field(default_factory=dict)
    iterations: int | None = None
    setting: str = ""

    def is_like(self, other: "Row") -> bool:
        """Whether both are of the same sampler, steps and iterations."""
        return (self.sampler, self.steps, self.iterations) == (other.sampler, other.steps, other.iterations)

    @property
    def times_real_time(self) -> float | None:
        """Seconds of audio per second of work over all clips, on the first timed device."""
        return next((1 / speed.pooled for speed in self.speed.values()), None)


@dataclass
class Block:
    """Results on one list of clips.

    Attributes:
        name: name of the data.
        seed: random seed.
        clips: ids of the clips.
        clip_list_sha256: hash of the ids.
        seconds: total duration.
        splits: splits of the clips.
        clips_sha256: hash of the clips' manifest lines; identifies the block.
        words: number of clips whose reference words are their "text", the transcript of the "recording", or "none".
        date: date of the last change.
        weights: [metric] -> (clips,), weight of each clip in that metric's mean.
        rows: by name of the system.
    """

    name: str
    seed: int
    clips: list[str]
    clip_list_sha256: str
    seconds: float
    splits: list[str]
    clips_sha256: str = ""
    words: dict[str, int] = field(default_factory=dict)
    date: str = ""
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics with a score of any clip, in the order of `ALL_METRICS`."""
        scores = [row.scores for row in self.rows.values()]
        return [name for name in ALL_METRICS if any(np.isfinite(one[name]).any() for one in scores if name in one)]

    def interval(self, row: Row, metric: str) -> Interval:
        """Mean of a row's scores with its interval; over no clips if it has no scores."""
        return bootstrap(
            row.scores.get(metric, np.empty(0)), self.weights.get(metric) if metric in row.scores else None
        )

    def gain(self, row: Row, other: Row, metric: str) -> Interval:
        """Mean of a row's score minus the other's, clip by clip, with its interval."""
        return bootstrap(row.scores[metric] - other.scores[metric], self.weights.get(metric))


@dataclass
class Record:
    """All results of one model; `environment` is that of the last run."""

    model: dict
    environment: dict = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def block(self, new: Block) -> Block:
        """Return the block with the name, clips and seed of `new`, or add `new`; it becomes the last block."""
        key = (new.name, new.clips_sha256, new.seed)
        found = next((one for one in self.blocks if (one.name, one.clips_sha256, one.seed) == key), new)
        self.blocks = [one for one in self.blocks if one is not found] + [found]
        return found

    @property
    def shown(self) -> list[Block]:
        """The latest block of each name, in the order in which the names were added."""
        return list({block.name: block for block in self.blocks}.values())

    @property
    def _metrics(self) -> dict[str, Described]:
        """The metrics that any row has scores of."""
        rows = [row for block in self.blocks for row in block.rows.values()]
        return {name: metric for name, metric in ALL_METRICS.items() if any(name in row.scores for row in rows)}

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        content = {"benchmark": "audiodiff", "version": VERSION, "model": self.model, "environment": self.environment}
        content |= describe_scores(self._metrics) | {"blocks": [_block_to_json(block) for block in self.blocks]}
        text = json.dumps(plain(content, digits=6), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(path, _NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")

    @classmethod
    def load(cls, path: Path, model: dict) -> "Record":
        """Load the record at `path`; an empty record if there is none, or if it is of another model.

        Two models are the same if they sound alike for equal options: their settings may differ (`samples_hash`).

        Raises:
            UserError: the file is not a record.
        """
        if not path.exists():
            return cls(model)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content["version"]
            # Version 1 was named "curve".
            if content["curve" if version == 1 else "benchmark"] != "audiodiff" or version > VERSION:
                raise ValueError(f"version {version!r}")
            earlier = content["model"]
            compared = "samples_hash" if "samples_hash" in earlier.keys() & model.keys() else "hash"
            if earlier[compared] != model[compared]:
                return cls(model)
            own = earlier.get("consistency") if version < 3 else None  # iterations of all rows before version 3
            return cls(model, content["environment"], [_block_from_json(one, own) for one in content["blocks"]])
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            problem = f"is not a record of `audiodiff benchmark` ({type(error).__name__}: {error})"
            raise UserError(path, problem, "move it away or choose another folder with --out") from error


def describe_scores(metrics: Mapping[str, Described]) -> dict:
    """How scores are aggregated, and what each metric is, for JSON."""
    bootstrap = {"level": LEVEL, "resamples": RESAMPLES, "over": "clips", "kind": "percentile"}
    return {"bootstrap": bootstrap, "metrics": {name: metric.describe() for name, metric in metrics.items()}}


def rows_to_json(block: Block) -> dict[str, dict]:
    """The rows of a block for JSON: scores by clip, their means with intervals, and speeds."""
    return {
        name: asdict(row)
        | {
            "scores": {
                metric: asdict(block.interval(row, metric)) | {"by_clip": list(scores)}
                for metric, scores in row.scores.items()
            }
        }
        for name, row in block.rows.items()
    }


def _block_to_json(block: Block) -> dict:
    return asdict(block) | {"rows": rows_to_json(block)}


def _block_from_json(content: dict, iterations: int | None = None) -> Block:
    rows = {}
    for name, row in content.pop("rows").items():
        scores = {metric: np.array(found["by_clip"], np.float64) for metric, found in row.pop("scores").items()}
        speed = {kind: Speed(**found) for kind, found in row.pop("speed").items()}
        row = {"steps": row.pop("calls", 0)} | row  # name in version 1
        if row["steps"] and iterations is not None:
            name, row["iterations"] = f"{name}/{iterations}", iterations
        rows[name] = Row(**row, scores=scores, speed=speed)
    weights = {metric: np.array(found, np.float64) for metric, found in content.pop("weights").items()}
    return Block(**content, weights=weights, rows=rows)
