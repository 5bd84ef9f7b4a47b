"""`Speech`: synthesized audio with the times of its words and phonemes (a `Transcript`), and these as files."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import torch

from audiodiff.audio.io import Audio
from audiodiff.text.markup import MARKUP


@dataclass(frozen=True)
class TimedWord:
    """A word as it is written and when it is spoken, in seconds; `spoken` says how, where it is not read as written."""

    text: str
    start: float
    end: float
    spoken: str = ""


@dataclass(frozen=True)
class TimedPhoneme:
    """A symbol of the phonemes and when it is spoken, in seconds; an empty symbol is silence."""

    symbol: str
    start: float
    end: float


Timed = TypeVar("Timed", TimedWord, TimedPhoneme)


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What is spoken when.

    Attributes:
        text: as written.
        seconds: duration of the audio.
        words: in order.
        phonemes: in order; they cover the audio without gaps.
        sentences: texts of the sentences or clauses that it was synthesized in, with their times.
    """

    text: str
    seconds: float
    words: tuple[TimedWord, ...]
    phonemes: tuple[TimedPhoneme, ...]
    sentences: tuple[TimedWord, ...]

    @classmethod
    def concatenate(cls, parts: Iterable["Transcript"], text: str) -> "Transcript":
        """The transcript of a text that is spoken in parts, one after the other; holds no audio."""
        words: list[TimedWord] = []
        phonemes: list[TimedPhoneme] = []
        sentences: list[TimedWord] = []
        start = 0.0
        for part in parts:
            words += [_later(word, start) for word in part.words]
            phonemes += [_later(phoneme, start) for phoneme in part.phonemes]
            sentences += [_later(sentence, start) for sentence in part.sentences]
            start += part.seconds
        return Transcript(
            text=text, seconds=start, words=tuple(words), phonemes=tuple(phonemes), sentences=tuple(sentences)
        )

    def to_json(self) -> str:
        """Text, sentences, words and phonemes with their times, as JSON."""
        timed = {name: [record(one) for one in getattr(self, name)] for name in ("sentences", "words", "phonemes")}
        whole = {"text": self.text, "seconds": round(self.seconds, 4)}
        return json.dumps(whole | timed, ensure_ascii=False, indent=1) + "\n"

    def to_srt(self) -> str:
        """Subtitles of the sentences in SubRip's format."""
        blocks = [
            f"{number}\n{_srt_time(one.start)} --> {_srt_time(one.end)}\n{_subtitle(one.text)}\n"
            for number, one in enumerate(self.sentences, 1)
        ]
        return "\n".join(blocks)

    def to_textgrid(self) -> str:
        """Words and phonemes as two interval tiers of a Praat TextGrid."""
        words = list(_without_gaps([(word.text, word.start, word.end) for word in self.words], self.seconds))
        phonemes = [(one.symbol, one.start, one.end) for one in self.phonemes if one.end > one.start]
        lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {self.seconds:.6f}"]
        lines += ["tiers? <exists>", "size = 2", "item []:"]
        for number, (name, intervals) in enumerate((("words", words), ("phonemes", phonemes)), 1):
            lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
            lines += ["        xmin = 0", f"        xmax = {self.seconds:.6f}"]
            lines += [f"        intervals: size = {len(intervals)}"]
            for index, (label, start, end) in enumerate(intervals, 1):
                quoted = label.replace('"', '""')
                lines += [f"        intervals [{index}]:", f"            xmin = {start:.6f}"]
                lines += [f"            xmax = {end:.6f}", f'            text = "{quoted}"']
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class Speech(Transcript):
    """Synthesized speech.

    Attributes:
        text, seconds, words, phonemes, sentences: as of `Transcript`.
        audio: (T,).
    """

    audio: Audio

    @classmethod
    def join(cls, parts: Iterable["Speech"], text: str) -> "Speech":
        """Several, one after the other.

        Raises:
            ValueError: there are none.
        """
        audio: list[Audio] = []

        def collected() -> Iterator[Speech]:
            for part in parts:
                audio.append(part.audio)
                yield part

        joined = Transcript.concatenate(collected(), text)
        if not audio:
            raise ValueError("there is nothing to join")
        samples = torch.cat([part.samples for part in audio])
        return cls(**vars(joined), audio=Audio(samples, audio[0].sample_rate))


def record(one: TimedWord | TimedPhoneme) -> dict[str, str | float]:
    """A word or a phoneme with its times as JSON; `spoken` only where there is something to say."""
    return {name: value for name, value in asdict(one).items() if name != "spoken" or value}


def _subtitle(text: str) -> str:
    """A sentence without pauses and without the brackets around phonemes, on one line."""
    return " ".join(MARKUP.sub(lambda found: found["phonemes"] or " ", text).split())


def _later(one: Timed, seconds: float) -> Timed:
    return replace(one, start=one.start + seconds, end=one.end + seconds)


def _without_gaps(intervals: Sequence[tuple[str, float, float]], end: float) -> Iterable[tuple[str, float, float]]:
    """Intervals with empty ones between them, as tiers of a TextGrid need."""
    time = 0.0
    for label, start, stop in intervals:
        if start > time:
            yield "", time, start
        yield label, max(start, time), stop
        time = stop
    if end > time:
        yield "", time, end


def _srt_time(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3600000:02d}:{whole // 60000 % 60:02d}:{whole // 1000 % 60:02d},{whole % 1000:03d}"
