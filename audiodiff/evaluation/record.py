"""What a sweep has found so far, kept as one JSON file, so that a sweep goes on where it stopped.

A record belongs to one model. Its blocks belong to one list of clips (ids, texts and contents) and one seed each, and
hold a row for each system: the score of every metric on every clip, from which all means, intervals and differences
follow, and the speed on every kind of device, with the hardware it was measured on. Numbers are kept to six digits.
"""

import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from audiodiff.errors import UserError
from audiodiff.evaluation.statistics import LEVEL, RESAMPLES, Interval, bootstrap
from audiodiff.files import write_text
from audiodiff.metrics import METRICS

VERSION = 1
_NUMBERS = re.compile(r"\[\s(?:[-+.\deE,\s]|null)+\]")  # a list of them, to be put on one line


@dataclass(frozen=True)
class Speed:
    """Seconds of work per second of audio, one clip at a time: median over clips, and all work by all audio."""

    median: float
    pooled: float
    hardware: str
    threads: int | None = None


@dataclass
class Row:
    """One system's results.

    Attributes:
        label: how it is called.
        note: what it is, in plain words.
        sampler: name; "" where there is no network.
        calls: network calls; 0 where there is no network.
        scores: [metric] -> (clips,), NaN where undefined.
        speed: by kind of device, "cpu" and "cuda".
    """

    label: str
    note: str = ""
    sampler: str = ""
    calls: int = 0
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    speed: dict[str, Speed] = field(default_factory=dict)


@dataclass
class Block:
    """The results on one list of clips.

    Attributes:
        name: heading.
        clips_sha256: of the clips' manifest lines: what it must not change while the block is worked on.
        seed: of all noise.
        clips: ids.
        clip_list_sha256: of the ids, as in a report.
        seconds: of audio.
        splits: that the clips are of.
        words: where the words come from that the word error rate counts: clips by "text", "recording" and "none".
        date: when it was last worked on.
        weights: [metric] -> (clips,), how much each clip counts in that metric's mean.
        rows: by name.
    """

    name: str
    clips_sha256: str
    seed: int
    clips: list[str]
    clip_list_sha256: str
    seconds: float
    splits: list[str]
    words: dict[str, int]
    date: str = ""
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that have scored any clip of any row, in their usual order."""
        scores = [row.scores for row in self.rows.values()]
        return [name for name in METRICS if any(np.isfinite(one[name]).any() for one in scores if name in one)]

    def interval(self, row: Row, metric: str) -> Interval:
        """Mean of a row's scores with its interval; of no clips where it was not scored."""
        return bootstrap(
            row.scores.get(metric, np.empty(0)), self.weights.get(metric) if metric in row.scores else None
        )

    def gain(self, row: Row, other: Row, metric: str) -> Interval:
        """Mean of a row's score minus the other's, clip by clip, with its interval."""
        return bootstrap(row.scores[metric] - other.scores[metric], self.weights[metric])


@dataclass
class Record:
    """All blocks of one model; `environment` is that of the last run."""

    model: dict
    environment: dict = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def block(self, new: Block) -> Block:
        """The block of the same name, clips and seed as `new`, which else is taken in; it moves to the end."""
        key = (new.name, new.clips_sha256, new.seed)
        found = next((one for one in self.blocks if (one.name, one.clips_sha256, one.seed) == key), new)
        self.blocks = [one for one in self.blocks if one is not found] + [found]
        return found

    @property
    def shown(self) -> list[Block]:
        """Of every name, the block last worked on, in the order of names' first appearance."""
        return list({block.name: block for block in self.blocks}.values())

    def save(self, path: Path) -> None:
        """Write it, atomically."""
        means = {"level": LEVEL, "resamples": RESAMPLES, "over": "clips", "kind": "percentile"}
        metrics = {
            name: {key: getattr(metric, key) for key in ("label", "unit", "better", "meaning")}
            for name, metric in METRICS.items()
        }
        told = {"curve": "audiodiff", "version": VERSION, "model": self.model, "environment": self.environment}
        told |= {"bootstrap": means, "metrics": metrics, "blocks": [_block_to_json(block) for block in self.blocks]}
        text = json.dumps(_rounded(told), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(path, _NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")

    @classmethod
    def load(cls, path: Path, model: dict) -> "Record":
        """The record at `path` if there is one of this model (told apart by its hash), else an empty one.

        Raises:
            UserError: the file is something else.
        """
        if not path.exists():
            return cls(model)
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["curve"] != "audiodiff" or told["version"] != VERSION:
                raise ValueError(f"version {told['version']!r}")
            if told["model"]["hash"] != model["hash"]:
                return cls(model)
            return cls(model, told["environment"], [_block_from_json(one) for one in told["blocks"]])
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            problem = f"is not a record of `audiodiff benchmark` ({type(error).__name__}: {error})"
            raise UserError(path, problem, "move it away or name another folder with --out") from error


def _block_to_json(block: Block) -> dict:
    told = asdict(block)
    for row, found in zip(told["rows"].values(), block.rows.values(), strict=True):
        row["scores"] = {
            metric: asdict(block.interval(found, metric)) | {"by_clip": list(scores)}
            for metric, scores in found.scores.items()
        }
    return told


def _block_from_json(told: dict) -> Block:
    rows = {}
    for name, row in told.pop("rows").items():
        scores = {metric: np.array(found["by_clip"], np.float64) for metric, found in row.pop("scores").items()}
        speed = {kind: Speed(**found) for kind, found in row.pop("speed").items()}
        rows[name] = Row(**row, scores=scores, speed=speed)
    weights = {metric: np.array(found, np.float64) for metric, found in told.pop("weights").items()}
    return Block(**told, weights=weights, rows=rows)


def _rounded(value: object) -> object:
    """Ready for JSON: floats to six digits, NaN as None, arrays and tuples as lists."""
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
