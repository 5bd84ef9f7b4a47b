"""Scores of synthesized speech: without a reference signal, because nothing is aligned sample by sample.

A clip is transcribed (English only) and compared with its text, and scored by DNSMOS; its speaker embedding, its pitch
statistics and, if the times of its phonemes are known, its phoneme duration and the level of its fricatives are
measured. Comparisons with a teacher's or a speaker's recordings are made between these scores.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np

from audiodiff.metrics import dnsmos, speaker, transcript
from audiodiff.metrics.prosody import TimedSymbol, fricative_level, mean_phoneme_seconds, pitch_statistics
from audiodiff.metrics.word_alignment import WordErrors, word_errors

MIN_SECONDS = 0.05  # shorter clips are scored as silent


@dataclass(frozen=True)
class SpokenClip:
    """A spoken text.

    Attributes:
        samples: (T,), in [-1, 1].
        sample_rate: Hz.
        text: what it says.
        language: ISO 639-1 code, with or without a region ("en-us").
        phonemes: with their times, silence (an empty symbol) or not; empty if unknown.
    """

    samples: np.ndarray
    sample_rate: int
    text: str
    language: str = transcript.LANGUAGE
    phonemes: Sequence[TimedSymbol] = ()


@dataclass(frozen=True)
class SpeechScores:
    """Scores of a clip; NaN where undefined.

    Attributes:
        transcript: by the recognizer, "" for other languages than English.
        words: normalized words of the text.
        characters: number of their characters.
        errors: differences of the transcript from the text.
        wer: word error rate, %.
        cer: character error rate, %.
        dnsmos: MOS.
        f0_median: Hz.
        f0_spread: standard deviation, semitones.
        phoneme_ms: mean duration of a phoneme without pauses, ms.
        fricatives: level of the fricatives above 4 kHz, dB relative to the clip.
        seconds: duration.
        embedding: speaker embedding (256,); all zero for a silent clip.
    """

    transcript: str
    words: tuple[str, ...]
    characters: int
    errors: WordErrors
    wer: float
    cer: float
    dnsmos: float
    f0_median: float
    f0_spread: float
    phoneme_ms: float
    fricatives: float
    seconds: float
    embedding: np.ndarray

    def to_json(self) -> dict:
        """As JSON values, NaN as None."""
        found = asdict(self) | {"embedding": [round(float(value), 5) for value in self.embedding]}
        return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in found.items()}

    @classmethod
    def from_json(cls, content: dict) -> Self:
        """Read what `to_json` returns."""
        numbers = {key: np.nan for key, value in content.items() if value is None}
        errors = {key: tuple(map(_hashable, value)) for key, value in content["errors"].items()}
        exact = {"words": tuple(content["words"]), "embedding": np.array(content["embedding"], np.float32)}
        return cls(**content | numbers | exact | {"errors": WordErrors(**errors)})


def score_speech(clip: SpokenClip) -> SpeechScores:
    """Score a clip.

    Raises:
        ValueError: its samples are not one finite (T,).
        UserError: the package behind a metric is not installed.
    """
    samples = np.asarray(clip.samples, np.float32)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"needs finite samples (T,), got shape {samples.shape}")
    audible = bool(samples.any()) and len(samples) >= MIN_SECONDS * clip.sample_rate
    english = is_english(clip.language)
    said = transcript.transcript(samples, clip.sample_rate) if audible and english else ""
    words, found = (transcript.words(text) if english else [] for text in (clip.text, said))
    errors = word_errors(words, found)
    characters = " ".join(words)
    wrong = transcript.errors(characters, " ".join(found))
    pitch = pitch_statistics(samples, clip.sample_rate) if audible else None
    return SpeechScores(
        transcript=said,
        words=tuple(words),
        characters=len(characters),
        errors=errors,
        wer=100 * errors.count / len(words) if words else np.nan,
        cer=100 * wrong / len(characters) if words else np.nan,
        dnsmos=dnsmos.dnsmos_overall(samples, samples, clip.sample_rate) if audible else 1.0,
        f0_median=pitch.median if pitch else np.nan,
        f0_spread=pitch.spread if pitch else np.nan,
        phoneme_ms=1000 * mean_phoneme_seconds(clip.phonemes),
        fricatives=fricative_level(samples, clip.sample_rate, clip.phonemes) if audible else np.nan,
        seconds=len(samples) / clip.sample_rate,
        embedding=speaker.embedding(samples, clip.sample_rate) if audible else np.zeros(256, np.float32),
    )


def is_english(language: str) -> bool:
    """Whether the recognizer knows a language, given by its code with or without a region."""
    return language.partition("-")[0] == transcript.LANGUAGE


def centroid(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of embeddings (256,) at unit length: a speaker; all zero for none."""
    mean = np.mean(embeddings, axis=0) if len(embeddings) else np.zeros(256, np.float32)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
