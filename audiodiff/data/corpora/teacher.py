"""What text-to-speech teachers have in common: which texts they read, and seconds from their frames.

hibari and Kokoro predict a whole number of frames of 25 ms for each symbol, and for a pad at each end; together they
are the length of the audio, exactly. The sound of a symbol comes before its frames: correlated with voicing (YIN) and
with the energy above 4 kHz, the labels of both teachers fit best when they are moved by 50 to 65 ms (60 clips of each
of seven voices). Kokoro's own word times subtract three frames from the first pad for the same reason.
"""

from collections.abc import Iterable, Iterator, Sequence

from audiodiff.data.corpora.phonemes import phonemes_of

FRAME_SECONDS = 0.025
LAG_SECONDS = 0.06  # of the frames behind the sound
MOST_SYMBOLS = 400  # that both teachers read at once


def readings(texts: Iterable[str], language: str) -> Iterator[tuple[str, str]]:
    """Each text with its phonemes, which are "" if a teacher cannot read it at once.

    Raises:
        UserError: the front end of the language is not installed.
    """
    for text in texts:
        phonemes = phonemes_of(text, language)
        yield text, phonemes if 2 <= len(phonemes) <= MOST_SYMBOLS else ""


def symbol_durations(frames: Sequence[float]) -> tuple[float, ...]:
    """Seconds of the leading silence, each symbol and the trailing silence.

    Args:
        frames: of the leading pad, each symbol and the trailing pad.
    """
    lag = min(LAG_SECONDS, frames[0] * FRAME_SECONDS)
    seconds = [count * FRAME_SECONDS for count in frames]
    seconds[0] -= lag
    seconds[-1] += lag
    return tuple(round(one, 6) for one in seconds)
