"""Report of `bench/speech.py`: a table of all systems, and whether the aims are met."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audiodiff.evaluation.report import DISCLAIMER, format_facts
from audiodiff.evaluation.speech_scoring import SpeechScores, centroid
from audiodiff.evaluation.statistics import Interval, bootstrap

REFERENCE = "kokoro"  # the system whose voice ours and hibari's imitate
OURS = "audiodiff_"
SPEEDUP, POINTS, LATENCY = 5.0, 2.0, 0.3
HEAD = (
    "System",
    "version",
    "MB",
    "WER % ↓",
    "CER % ↓",
    "DNSMOS ↑",
    "similarity ↑",
    "F0 median, Hz",
    "F0 spread, semitones",
    "phoneme, ms",
    "fricatives above 4 kHz, dB",
    "times real time ↑",
    "first audio, ms ↓",
)
TEXT = """# Text to speech beside other systems

`python bench/speech.py --sentences {count}`

{facts}

{sentences} held-out sentences ({words} words), the same for all; one thread, models loaded. Word and character errors
of Whisper tiny.en, over all words; it makes errors on recordings too. Similarity is the cosine of Resemblyzer's speaker
embedding with the mean embedding of {reference}, whose voice hibari's imitates (of that system itself: with the
other sentences' mean); a low one is another voice, not a bad one. F0 by WORLD, medians over sentences. The phoneme
duration leaves out pauses; the level of fricatives is relative to the utterance; both need the times of phonemes.
Times real time is seconds of audio per second of work; first audio is the time until the first sound of a text of
three sentences can be played. MB counts weights and pronunciation data. Means ± half the width of their 95 %
confidence interval. {disclaimer}

{table}

{verdicts}
"""


@dataclass(frozen=True)
class Row:
    """Results of a system: its scores, times real time, and seconds until the first audio."""

    label: str
    version: str
    megabytes: float
    scores: Sequence[SpeechScores]
    speed: float
    latency: float

    def rate(self, value: Callable[[SpeechScores], float], weight: Callable[[SpeechScores], float]) -> Interval:
        """Mean of an error rate, weighted by what it is a rate of."""
        values, weights = (np.array([found(one) for one in self.scores], float) for found in (value, weight))
        return bootstrap(values, weights)

    @property
    def wer(self) -> Interval:
        """Word error rate over all words."""
        return self.rate(lambda one: one.wer, lambda one: len(one.words))

    @property
    def cer(self) -> Interval:
        """Character error rate over all characters."""
        return self.rate(lambda one: one.cer, lambda one: one.characters)

    def mean(self, name: str) -> Interval:
        """Mean of a score over sentences."""
        return bootstrap(np.array([getattr(one, name) for one in self.scores]))

    def median(self, name: str) -> float:
        """Median of a score over the sentences that have one; NaN for none."""
        found = np.array([getattr(one, name) for one in self.scores])
        return float(np.median(found[np.isfinite(found)])) if np.isfinite(found).any() else float("nan")

    def similarity(self, reference: "Row | None") -> Interval:
        """Similarity to the voice of a system; to its own other sentences if it is that system."""
        if reference is None:
            return bootstrap(np.empty(0))
        others = np.array([one.embedding for one in reference.scores])
        targets = [centroid(np.delete(others, i, 0) if reference is self else others) for i in range(len(self.scores))]
        return bootstrap(np.array([one.embedding @ target for one, target in zip(self.scores, targets, strict=True)]))


def page(rows: Mapping[str, Row], reasons: Mapping[str, str], facts: Mapping[str, object], count: int) -> str:
    """The report, Markdown."""
    reference, first = rows.get(REFERENCE), next(iter(rows.values()))
    lines = [f"| {' | '.join(HEAD)} |", f"|---|---|{'--:|' * (len(HEAD) - 2)}"]
    lines += [_line(row, reference) for row in rows.values()]
    return TEXT.format(
        count=count,
        facts=format_facts(facts),
        sentences=len(first.scores),
        words=sum(len(one.words) for one in first.scores),
        reference=reference.label if reference else "Kokoro, which was left out",
        disclaimer=DISCLAIMER,
        table="\n".join(lines),
        verdicts="\n".join([*_verdicts(rows), *(f"- {name} is missing: {why}" for name, why in reasons.items())]),
    )


def _line(row: Row, reference: Row | None) -> str:
    cells = [
        row.label,
        row.version,
        f"{row.megabytes:.1f}",
        _plus_minus(row.wer, 1),
        _plus_minus(row.cer, 1),
        _plus_minus(row.mean("dnsmos"), 2),
        _plus_minus(row.similarity(reference), 3),
        *(_number(row.median(name), digits) for name, digits in (("f0_median", 0), ("f0_spread", 1))),
        *(_number(row.median(name), digits) for name, digits in (("phoneme_ms", 0), ("fricatives", 1))),
        _number(row.speed, 1),
        _number(1000 * row.latency, 0),
    ]
    return f"| {' | '.join(cells)} |"


def _verdicts(rows: Mapping[str, Row]) -> list[str]:
    reference = rows.get(REFERENCE)
    found = []
    for name, row in rows.items():
        if not name.startswith(OURS) or reference is None:
            continue
        checks = {
            f"{row.speed / reference.speed:.1f} times as fast as Kokoro (aim {SPEEDUP:g})": row.speed
            >= SPEEDUP * reference.speed,
            f"WER {row.wer.mean - reference.wer.mean:+.1f} points (aim +{POINTS:g})": row.wer.mean
            <= reference.wer.mean + POINTS,
            f"{row.megabytes:.1f} MB against {reference.megabytes:.1f}": row.megabytes < reference.megabytes,
            f"first audio after {1000 * row.latency:.0f} ms (aim {1000 * LATENCY:.0f})": row.latency <= LATENCY,
        }
        found += [f"- {row.label}: " + "; ".join(f"{what}: {'yes' if met else 'no'}" for what, met in checks.items())]
    return found


def _plus_minus(interval: Interval, digits: int) -> str:
    if not interval.clips:
        return "–"
    return f"{_number(interval.mean, digits)} ± {_number((interval.high - interval.low) / 2, digits)}"


def _number(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")
