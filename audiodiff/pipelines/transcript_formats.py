"""A transcript as JSON, SubRip and TextGrid, in pieces: one that is on disk is written without being held in memory."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict
from typing import Protocol

from audiodiff.pipelines.timed_text import TimedPhoneme, TimedWord
from audiodiff.text.markup import MARKUP


class TimedText(Protocol):
    """What is spoken when, in memory (`speech.Transcript`) or on disk (`transcript_spool.TranscriptSpool`)."""

    @property
    def text(self) -> str:
        """As written."""

    @property
    def seconds(self) -> float:
        """Duration of the audio."""

    @property
    def words(self) -> Collection[TimedWord]:
        """In order."""

    @property
    def phonemes(self) -> Collection[TimedPhoneme]:
        """In order, without gaps."""

    @property
    def sentences(self) -> Collection[TimedWord]:
        """In order."""


Format = Callable[[TimedText], Iterator[str]]


def json_pieces(transcript: TimedText) -> Iterator[str]:
    """Text, sentences, words and phonemes with their times, as JSON."""
    whole = {"text": transcript.text, "seconds": round(transcript.seconds, 4)}
    yield json.dumps(whole, ensure_ascii=False, indent=1).removesuffix("\n}")
    for name in ("sentences", "words", "phonemes"):
        yield f',\n "{name}": ['
        start = "\n  "
        for one in getattr(transcript, name):
            yield start + json.dumps(record(one), ensure_ascii=False, indent=1).replace("\n", "\n  ")
            start = ",\n  "
        yield "\n ]" if len(getattr(transcript, name)) else "]"
    yield "\n}\n"


def srt_pieces(transcript: TimedText) -> Iterator[str]:
    """Subtitles of the sentences in SubRip's format."""
    for number, one in enumerate(transcript.sentences, 1):
        separator = "\n" if number > 1 else ""
        yield f"{separator}{number}\n{_srt_time(one.start)} --> {_srt_time(one.end)}\n{_subtitle(one.text)}\n"


def textgrid_pieces(transcript: TimedText) -> Iterator[str]:
    """Words and phonemes as two interval tiers of a Praat TextGrid."""
    end = f"xmax = {transcript.seconds:.6f}"
    yield f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n{end}\n'
    yield "tiers? <exists>\nsize = 2\nitem []:\n"
    for number, (name, intervals) in enumerate((("words", _words), ("phonemes", _phonemes)), 1):
        yield f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{name}"\n'
        yield f"        xmin = 0\n        {end}\n"
        yield f"        intervals: size = {sum(1 for _ in intervals(transcript))}\n"
        for index, (label, start, stop) in enumerate(intervals(transcript), 1):
            quoted = label.replace('"', '""')
            yield f"        intervals [{index}]:\n            xmin = {start:.6f}\n"
            yield f'            xmax = {stop:.6f}\n            text = "{quoted}"\n'


def record(one: TimedWord | TimedPhoneme) -> dict[str, str | float]:
    """A word or a phoneme with its times as JSON; `spoken` only where there is something to say."""
    return {name: value for name, value in asdict(one).items() if name != "spoken" or value}


def _subtitle(text: str) -> str:
    """A sentence without pauses and without the brackets around phonemes, on one line."""
    return " ".join(MARKUP.sub(lambda found: found["phonemes"] or " ", text).split())


def _words(transcript: TimedText) -> Iterable[tuple[str, float, float]]:
    """Words with empty intervals between them, as tiers of a TextGrid need."""
    time = 0.0
    for word in transcript.words:
        if word.start > time:
            yield "", time, word.start
        yield word.text, max(word.start, time), word.end
        time = word.end
    if transcript.seconds > time:
        yield "", time, transcript.seconds


def _phonemes(transcript: TimedText) -> Iterable[tuple[str, float, float]]:
    return ((one.symbol, one.start, one.end) for one in transcript.phonemes if one.end > one.start)


def _srt_time(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3600000:02d}:{whole // 60000 % 60:02d}:{whole // 1000 % 60:02d},{whole % 1000:03d}"
