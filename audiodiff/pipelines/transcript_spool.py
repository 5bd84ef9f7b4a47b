"""`TranscriptSpool`: the transcript of a text on disk, while it is spoken part by part."""

import json
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any, Generic, Self

from audiodiff.pipelines.speech import Transcript
from audiodiff.pipelines.timed_text import Timed, TimedPhoneme, TimedWord, later


class TranscriptSpool:
    """A transcript of any length: what it holds in memory does not grow with it. Closing it removes its files.

    Args:
        text: as written.

    Attributes:
        text, seconds, words, phonemes, sentences: as of `speech.Transcript`; the collections are read from disk.
    """

    def __init__(self, text: str):
        self.text, self.seconds = text, 0.0
        self._folder = tempfile.TemporaryDirectory(prefix="audiodiff-")
        root = Path(self._folder.name)
        self.words = _Spooled(root / "words", TimedWord)
        self.phonemes = _Spooled(root / "phonemes", TimedPhoneme)
        self.sentences = _Spooled(root / "sentences", TimedWord)

    def __enter__(self) -> Self:
        """The spool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the files."""
        for spooled in (self.words, self.phonemes, self.sentences):
            spooled.close()
        self._folder.cleanup()

    def add(self, part: Transcript) -> None:
        """Append the transcript of the next part."""
        for spooled, found in ((self.words, part.words), (self.sentences, part.sentences)):
            spooled.extend(later(one, self.seconds) for one in found)
        self.phonemes.extend(later(one, self.seconds) for one in part.phonemes)
        self.seconds += part.seconds


class _Spooled(Collection[Timed], Generic[Timed]):
    """Words or phonemes in a file, one a line."""

    def __init__(self, path: Path, kind: Callable[..., Timed]):
        self._path, self._length = path, 0
        self._kind: Callable[..., Timed] = kind
        self._file = path.open("w", encoding="ascii")

    def extend(self, items: Iterator[Timed]) -> None:
        for one in items:
            self._file.write(json.dumps(astuple(one)) + "\n")
            self._length += 1

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._length

    def __contains__(self, one: Any) -> bool:
        return any(one == other for other in self)

    def __iter__(self) -> Iterator[Timed]:
        self._file.flush()
        with self._path.open(encoding="ascii") as file:
            for line in file:
                yield self._kind(*json.loads(line))
