"""The scores of synthesized speech as columns of a report: names, units, directions, weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from audiodiff.evaluation.speech_scoring import SpeechScores
from audiodiff.metrics import METRICS, Described


@dataclass(frozen=True)
class Column(Described):
    """A score of synthesized speech; the attributes are those of `metrics.Metric`."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower", "reference"]
    decimals: int
    meaning: str


def _shared(name: str) -> Column:
    """A metric that vocoders have, too."""
    metric = METRICS[name]
    return Column(name, metric.label, metric.unit, metric.better, metric.decimals, metric.meaning)


_COLUMNS = (
    _shared("wer"),
    _shared("cer"),
    _shared("dnsmos"),
    _shared("speaker"),
    Column("f0_median", "Median F0", "Hz", "reference", 0, "Median F0 of a clip over its voiced frames (WORLD)."),
    Column(
        "f0_spread",
        "F0 spread",
        "semitones",
        "reference",
        2,
        "Standard deviation of F0 within a clip, in semitones: a monotonous voice has a small one.",
    ),
    Column(
        "phoneme_ms",
        "Phoneme duration",
        "ms",
        "reference",
        1,
        "Mean duration of a phoneme, pauses left out: hurried speech has a small one.",
    ),
    Column(
        "fricatives",
        "Fricatives above 4 kHz",
        "dB",
        "reference",
        1,
        "Mean power of the fricatives above 4 kHz relative to the power of the clip, by the times of the phonemes: a "
        "model that predicts the mean of all noise sounds dull and has a low one.",
    ),
)
SPEECH_METRICS: dict[str, Column] = {column.name: column for column in _COLUMNS}

ALL_METRICS: dict[str, Described] = METRICS | {k: v for k, v in SPEECH_METRICS.items() if k not in METRICS}


def values(scores: Sequence[SpeechScores], targets: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Scores (clips,) by name.

    Args:
        scores: of each clip.
        targets: embedding (256,) of the speaker that each clip is compared with.
    """
    similarity = [float(one.embedding @ target) for one, target in zip(scores, targets, strict=True)]
    found = {name: [getattr(one, name) for one in scores] for name in SPEECH_METRICS if name != "speaker"}
    return {name: np.array(similarity if name == "speaker" else found[name], np.float64) for name in SPEECH_METRICS}


def weights(scores: Sequence[SpeechScores]) -> dict[str, np.ndarray]:
    """Weight (clips,) of each clip in a mean: words and characters for error rates, else 1."""
    found = {name: np.ones(len(scores)) for name in SPEECH_METRICS}
    words, characters = ([count(one) for one in scores] for count in (lambda s: len(s.words), lambda s: s.characters))
    return found | {"wer": np.array(words, np.float64), "cer": np.array(characters, np.float64)}
