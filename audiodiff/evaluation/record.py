"""Results on clips, and the JSON file that a benchmark resumes from.

A record belongs to one model. Its blocks belong to one list of clips (ids, texts and contents) and one seed each, and
hold a row for each system: the score of every metric on every clip, from which all means, intervals and differences
follow, and the speed on every kind of device, with the hardware it was measured on. Numbers are kept to six digits.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from audiodiff.errors import UserError
from audiodiff.evaluation.report import plain
from audiodiff.evaluation.statistics import LEVEL, RESAMPLES, Interval, bootstrap
from audiodiff.files import write_text
from audiodiff.metrics import METRICS

VERSION = 2
_NUMBERS = re.compile(r"\[\s(?:[-+.\deE,\s]|null)+\]")  # lists of numbers go on one line


@dataclass(frozen=True)
class Speed:
    """Seconds of work per second of audio, one clip at a time: median over clips, and all work by all audio."""

    median: float
    pooled: float
    hardware: str
    threads: int | None = None

    @classmethod
    def of(cls, work: np.ndarray, audio: np.ndarray, hardware: str, threads: int | None = None) -> "Speed":
        """Of seconds of work and of audio, both (clips,)."""
        return cls(float(np.median(work / audio)), float(work.sum() / audio.sum()), hardware, threads)


@dataclass
class Row:
    """One system's results.

    Attributes:
        label: heading.
        note: what it is, in plain words.
        sampler: name; "" where there is no network.
        steps: network evaluations per clip; 0 where there is no network.
        scores: [metric] -> (clips,), NaN where undefined.
        speed: by kind of device, "cpu" and "cuda".
    """

    label: str
    note: str = ""
    sampler: str = ""
    steps: int = 0
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    speed: dict[str, Speed] = field(default_factory=dict)

    @property
    def times_real_time(self) -> float | None:
        """Seconds of audio per second of work over all clips, on the device that was timed first."""
        return next((1 / speed.pooled for speed in self.speed.values()), None)


@dataclass
class Block:
    """The results on one list of clips.

    Attributes:
        name: heading.
        seed: of all noise.
        clips: ids.
        clip_list_sha256: of the ids.
        seconds: of audio.
        splits: of the clips.
        clips_sha256: of the clips' manifest lines, which a block belongs to.
        words: clips whose words the word error rate takes from their "text", from the "recording", or not ("none").
        date: of the last change.
        weights: [metric] -> (clips,), how much each clip counts in that metric's mean.
        rows: by name.
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
        """Names of the metrics that have scored any clip of any row, in the order of `METRICS`."""
        scores = [row.scores for row in self.rows.values()]
        return [name for name in METRICS if any(np.isfinite(one[name]).any() for one in scores if name in one)]

    def interval(self, row: Row, metric: str) -> Interval:
        """Mean of a row's scores with its interval; of no clips where it has no scores."""
        return bootstrap(
            row.scores.get(metric, np.empty(0)), self.weights.get(metric) if metric in row.scores else None
        )

    def gain(self, row: Row, other: Row, metric: str) -> Interval:
        """Mean of a row's score minus the other's, clip by clip, with its interval."""
        return bootstrap(row.scores[metric] - other.scores[metric], self.weights.get(metric))


@dataclass
class Record:
    """All blocks of one model; `environment` is that of the last run."""

    model: dict
    environment: dict = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def block(self, new: Block) -> Block:
        """The block of the same name, clips and seed as `new`, or `new` itself; it moves to the end."""
        key = (new.name, new.clips_sha256, new.seed)
        found = next((one for one in self.blocks if (one.name, one.clips_sha256, one.seed) == key), new)
        self.blocks = [one for one in self.blocks if one is not found] + [found]
        return found

    @property
    def shown(self) -> list[Block]:
        """The last changed block of every name, in the order of the names' first appearance."""
        return list({block.name: block for block in self.blocks}.values())

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        means = {"level": LEVEL, "resamples": RESAMPLES, "over": "clips", "kind": "percentile"}
        metrics = {name: metric.describe() for name, metric in METRICS.items()}
        content = {"benchmark": "audiodiff", "version": VERSION, "model": self.model, "environment": self.environment}
        content |= {"bootstrap": means, "metrics": metrics, "blocks": [_block_to_json(block) for block in self.blocks]}
        text = json.dumps(plain(content, digits=6), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(path, _NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")

    @classmethod
    def load(cls, path: Path, model: dict) -> "Record":
        """Read the record at `path`; an empty one where there is none, or one of another model (by its hash).

        Raises:
            UserError: the file is something else.
        """
        if not path.exists():
            return cls(model)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content["version"]
            # Version 1 was called a curve.
            if content["curve" if version == 1 else "benchmark"] != "audiodiff" or version > VERSION:
                raise ValueError(f"version {version!r}")
            if content["model"]["hash"] != model["hash"]:
                return cls(model)
            return cls(model, content["environment"], [_block_from_json(one) for one in content["blocks"]])
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            problem = f"is not a record of `audiodiff benchmark` ({type(error).__name__}: {error})"
            raise UserError(path, problem, "move it away or choose another folder with --out") from error


def _block_to_json(block: Block) -> dict:
    content = asdict(block)
    for row, found in zip(content["rows"].values(), block.rows.values(), strict=True):
        row["scores"] = {
            metric: asdict(block.interval(found, metric)) | {"by_clip": list(scores)}
            for metric, scores in found.scores.items()
        }
    return content


def _block_from_json(content: dict) -> Block:
    rows = {}
    for name, row in content.pop("rows").items():
        scores = {metric: np.array(found["by_clip"], np.float64) for metric, found in row.pop("scores").items()}
        speed = {kind: Speed(**found) for kind, found in row.pop("speed").items()}
        steps = row.pop("calls", 0)  # their name in version 1
        rows[name] = Row(**{"steps": steps} | row, scores=scores, speed=speed)
    weights = {metric: np.array(found, np.float64) for metric, found in content.pop("weights").items()}
    return Block(**content, weights=weights, rows=rows)
