"""The teacher of a voice, for texts that no corpus has: hibari-tts, which states the durations of its phonemes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from audiodiff.data.corpora import hibari
from audiodiff.evaluation.speech_scoring import SpokenClip
from audiodiff.extras import load_module
from audiodiff.metrics.prosody import Timed, timed

HIBARI = f"hibari/{hibari.VOICE}"


@dataclass(frozen=True)
class Teacher:
    """Whose speech a speaker of a voice was trained on.

    Attributes:
        speaker: name of the speaker.
        speak: speaks a text.
    """

    speaker: str
    speak: Callable[[str], SpokenClip]


def find_teacher(speakers: Sequence[str]) -> Teacher | None:
    """The teacher of one of these speakers that is installed; None without one."""
    if HIBARI not in speakers or find_spec("hibari") is None:
        return None
    return Teacher(HIBARI, partial(speak_sentences, say=hibari.speak))


def speak_sentences(text: str, say: Callable[[str, int], Any]) -> SpokenClip:
    """Speak a text sentence by sentence.

    Args:
        text: English.
        say: of phonemes and a seed, to audio (`data.corpora.corpus.TimedAudio`).
    """
    parts, symbols, start, rate = [np.zeros(0, np.float32)], [], 0.0, hibari.SAMPLE_RATE
    for phonemes in _front_end().phonemize(text):
        audio = say(phonemes, 0)
        symbols += [Timed(one.symbol, start + one.start, start + one.end) for one in timed(phonemes, audio.durations)]
        parts.append(audio.samples.numpy().reshape(-1))
        start += len(parts[-1]) / rate
    return SpokenClip(np.concatenate(parts), rate, text, hibari.LANGUAGE, tuple(symbols))


@cache
def _front_end() -> Any:
    return load_module("hibari").Hibari()
