"""Manners of reading that plain sentences lack: another pitch, and single words, letters and numbers.

A voice that is trained on sentences only hurries a single letter, and does not follow a pitch that its speaker never
has. So some of the texts are read in a manner that is chosen at random.
"""

import random
import re
import string
from dataclasses import dataclass

from audiodiff.data.corpora.corpus import text_hash

MOST_SEMITONES = 7.0  # higher or lower
_WORD = re.compile(r"[A-Za-z']{3,}")


@dataclass(frozen=True)
class Reading:
    """A text and the manner that it is read in.

    Attributes:
        text: to read.
        semitones: shift of the pitch.
    """

    text: str
    semitones: float = 0.0


def shifted(sentence: str) -> Reading:
    """A reading of a sentence at another pitch, drawn by its hash."""
    return _shifted(sentence, random.Random(text_hash(sentence)))


def varied(sentence: str) -> Reading:
    """A reading of a sentence, or of one of its words, a letter or a number; drawn by the hash of the sentence.

    Two thirds of them have another pitch, a third are short.
    """
    draw = random.Random(text_hash(sentence))
    if draw.randrange(3):
        return _shifted(sentence, draw)
    words = _WORD.findall(sentence) or [sentence]
    short = draw.choice(
        [draw.choice(words).capitalize(), draw.choice(string.ascii_uppercase), str(draw.randrange(100))]
    )
    return Reading(short + draw.choice("...?!"))


def _shifted(sentence: str, draw: random.Random) -> Reading:
    return Reading(sentence, semitones=round(draw.uniform(-MOST_SEMITONES, MOST_SEMITONES), 2))
