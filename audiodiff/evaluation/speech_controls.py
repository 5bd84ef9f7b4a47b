"""Checks of a voice's controls: whether rate and pitch do what they say, and whether the words stay intelligible."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiodiff.data.manifest import Clip
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.scoring import MetricPool
from audiodiff.evaluation.speech_scoring import SpeechScores, SpokenClip, score_speech
from audiodiff.evaluation.speech_synthesis import say_clip, spoken_clip
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer

RATES = (0.5, 0.75, 1.5, 2.0)
PITCHES = (-6.0, -3.0, 3.0, 6.0)  # semitones
CLIPS = 10
MAX_DURATION_ERROR = 0.05  # relative
MAX_PITCH_ERROR = 0.5  # semitones


@dataclass(frozen=True)
class ControlCheck:
    """A control at one value.

    Attributes:
        control: "rate" or "pitch".
        value: rate, or semitones.
        measured: factor by which durations were divided (sums over clips), or the median change of the median F0 in
            semitones.
        wer: word error rate, %; NaN for other languages than English.
        neutral_wer: of the same texts without the control.
    """

    control: str
    value: float
    measured: float
    wer: float
    neutral_wer: float

    @property
    def error(self) -> float:
        """Relative for rates, in semitones for pitches."""
        return abs(self.measured / self.value - 1) if self.control == "rate" else abs(self.measured - self.value)

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit."""
        return self.error <= (MAX_DURATION_ERROR if self.control == "rate" else MAX_PITCH_ERROR)


def check_controls(
    synthesizer: SpeechSynthesizer, clips: Sequence[Clip], settings: Settings, pool: MetricPool
) -> list[ControlCheck]:
    """Speak the first `CLIPS` texts at every rate and pitch, and measure."""
    chosen = list(clips[:CLIPS])

    def scores(**options: float) -> list[SpeechScores]:
        return list(pool.map(score_speech, _speak(synthesizer, chosen, settings, **options)))

    neutral = scores()
    checks = []
    for rate in RATES:
        found = scores(rate=rate)
        measured = sum(one.seconds for one in neutral) / sum(one.seconds for one in found)
        checks.append(ControlCheck("rate", rate, measured, word_error_rate(found), word_error_rate(neutral)))
    for pitch in PITCHES:
        found = scores(pitch=pitch)
        changes = [12 * np.log2(b.f0_median / a.f0_median) for a, b in zip(neutral, found, strict=True)]
        measured = float(np.nanmedian(changes)) if np.isfinite(changes).any() else float("nan")
        checks.append(ControlCheck("pitch", pitch, measured, word_error_rate(found), word_error_rate(neutral)))
    return checks


def word_error_rate(scores: Sequence[SpeechScores]) -> float:
    """Errors per word over all clips, in %; NaN without words."""
    words = sum(len(one.words) for one in scores)
    return 100 * sum(one.errors.count for one in scores if one.words) / words if words else float("nan")


def _speak(
    synthesizer: SpeechSynthesizer, clips: Sequence[Clip], settings: Settings, **options: float
) -> list[SpokenClip]:
    spoken = (say_clip(synthesizer, clip, settings, **options) for clip in clips)
    return [spoken_clip(speech, synthesizer.model.language) for speech in spoken]
