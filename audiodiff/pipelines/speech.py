"""`Speech`: synthesized audio with the times of its words and phonemes (a `Transcript`), and these as files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from audiodiff.audio.io import Audio
from audiodiff.pipelines.timed_text import TimedPhoneme, TimedWord, later
from audiodiff.pipelines.transcript_formats import json_pieces, srt_pieces, textgrid_pieces


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
            words += [later(word, start) for word in part.words]
            phonemes += [later(phoneme, start) for phoneme in part.phonemes]
            sentences += [later(sentence, start) for sentence in part.sentences]
            start += part.seconds
        return Transcript(
            text=text, seconds=start, words=tuple(words), phonemes=tuple(phonemes), sentences=tuple(sentences)
        )

    def to_json(self) -> str:
        """Text, sentences, words and phonemes with their times, as JSON."""
        return "".join(json_pieces(self))

    def to_srt(self) -> str:
        """Subtitles of the sentences in SubRip's format."""
        return "".join(srt_pieces(self))

    def to_textgrid(self) -> str:
        """Words and phonemes as two interval tiers of a Praat TextGrid."""
        return "".join(textgrid_pieces(self))


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
