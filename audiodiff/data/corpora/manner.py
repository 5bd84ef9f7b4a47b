"""Manners of reading that plain sentences lack: another rate, another pitch, and single words, letters and numbers.

A voice that is trained on sentences at one pace only hurries a single letter, does not follow a pitch that its speaker
never has, and slurs at twice the rate. So some of the texts are read in a manner that is chosen at random.
"""

import random
import re
import string
from dataclasses import dataclass

from audiodiff.data.corpora.corpus import text_hash

MOST_SEMITONES = 7.0  # higher or lower
MOST_OCTAVES_OF_RATE = 1.0  # faster or slower
_WORD = re.compile(r"[A-Za-z']{3,}")


@dataclass(frozen=True)
class Reading:
    """A text and the manner that it is read in.

    Attributes:
        text: to read.
        rate: pace; 2 is twice as fast.
        semitones: shift of the pitch.
    """

    text: str
    rate: float = 1.0
    semitones: float = 0.0


def shifted(sentence: str) -> Reading:
    """A reading of a sentence at another pitch, drawn by its hash."""
    return _shifted(sentence, random.Random(text_hash(sentence)))


def varied(sentence: str) -> Reading:
    """A reading of a sentence, or of one of its words, a letter or a number; drawn by the hash of the sentence.

    Half of them have another pitch, a quarter another rate, and a quarter are short.
    """
    draw = random.Random(text_hash(sentence))
    kind = draw.randrange(4)
    if kind < 2:
        return _shifted(sentence, draw)
    if kind == 2:
        return Reading(sentence, rate=round(2 ** draw.uniform(-MOST_OCTAVES_OF_RATE, MOST_OCTAVES_OF_RATE), 3))
    words = _WORD.findall(sentence) or [sentence]
    short = draw.choice(
        [draw.choice(words).capitalize(), draw.choice(string.ascii_uppercase), str(draw.randrange(100))]
    )
    return Reading(short + draw.choice("...?!"))


def _shifted(sentence: str, draw: random.Random) -> Reading:
    return Reading(sentence, semitones=round(draw.uniform(-MOST_SEMITONES, MOST_SEMITONES), 2))
