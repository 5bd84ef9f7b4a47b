"""`AudioIndex`: search of the audio files of a folder, by a text or by an example.

Files are embedded once (`AudioTextEmbedder`), recordings longer than `WINDOW` in windows of at most that many seconds,
so that a search also finds the place within a recording. Silent windows have no vector: silence is like nothing that
one searches for. The vectors are stored in a file of the user's cache folder, whose name is a hash of the searched
folder and of the model. A file is embedded again if its size or its time of modification has changed.
"""

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiodiff.audio.io import Audio, read
from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.audio.reading.folder import files_below, obstacle
from audiodiff.audio.reading.formats import EXTENSIONS
from audiodiff.errors import UserError
from audiodiff.files import atomic_write
from audiodiff.options import whole_number
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder

WINDOW = 4.0  # seconds
SILENCE = 1e-4  # peak of windows that are left out: no more than the dither of 16 bits
_ARRAYS = ("starts", "vectors")
_SAVE_EVERY = 100  # files that are lost at most if the process is killed


@dataclass(frozen=True)
class Match:
    """A file that was found: the cosine similarity of its best window, and the second at which that starts."""

    path: Path
    similarity: float
    seconds: float


@dataclass(frozen=True)
class _Entry:
    """An embedded file: what identifies its state, the starts of its windows in seconds (W,), and vectors (W, E)."""

    state: tuple[int, int]
    starts: np.ndarray
    vectors: np.ndarray


class AudioIndex:
    """Vectors of all audio files of a folder.

    Args:
        embedder: the model.
        folder: to search, with all folders below it.
        cache: folder to store vectors in; None: `cache_folder()`.
        report: called with the error of each file that is silent or cannot be read, and of a given cache that cannot be
            written; the search goes on.
        progress: wraps the list of files that are embedded, such as tqdm.

    Raises:
        UserError: no such folder, no audio file in it, or none with sound that can be read.
    """

    def __init__(
        self,
        embedder: AudioTextEmbedder,
        folder: str | Path,
        cache: str | Path | None = None,
        report: Callable[[UserError], None] = lambda error: None,
        progress: Callable[[list[Path]], Any] = iter,
    ):
        self.embedder, self.folder = embedder, Path(folder)
        self.file, self._given_cache = Path(cache or cache_folder()) / self._name(), cache is not None
        if not self.folder.is_dir():
            raise UserError(self.folder, "no such folder", "give a folder of audio files")
        files = files_below(self.folder, EXTENSIONS)
        if not files:
            raise UserError(self.folder, "has no audio file", f"expected {' '.join(EXTENSIONS)}")
        self.entries = self._update(files, report, progress)
        if not self.entries:
            raise UserError(self.folder, "has no audio file with sound that can be read", "see the errors above")

    def search(self, query: str | Audio, limit: int | None = 10) -> list[Match]:
        """The files that are most similar to a text or a clip, best first.

        Args:
            query: a text, or one clip; of a clip longer than `WINDOW`, the window counts that is most similar.
            limit: number of files at most; None: all.

        Raises:
            UserError: an empty or silent query, or a limit below 1.
        """
        if limit is not None:
            whole_number(limit, "limit", 1)
        vectors, matches = embed_query(self.embedder, query), []
        for path, entry in self.entries.items():
            similarity = (entry.vectors.astype(np.float32) @ vectors.T).max(1)
            best = int(similarity.argmax())
            matches.append(Match(path, float(similarity[best]), float(entry.starts[best])))
        return sorted(matches, key=lambda match: (-match.similarity, match.path))[:limit]

    def _name(self) -> str:
        words = f"{os.path.abspath(self.folder)}\0{self.embedder.model_hash}\0{WINDOW}\0{SILENCE}"
        return hashlib.sha256(words.encode(errors="surrogateescape")).hexdigest()[:32] + ".npz"

    def _update(
        self, files: list[Path], report: Callable[[UserError], None], progress: Callable[[list[Path]], Any]
    ) -> dict[Path, _Entry]:
        """The entries of files, those that have changed embedded again."""
        stored = self._load()
        entries, missing = {}, []
        for path in files:
            entry = stored.get(path)
            if entry is not None and entry.state == _state(path):
                entries[path] = entry
            else:
                missing.append(path)
        done = 0
        for path in progress(missing):
            try:
                entries[path] = self._embed(path)
            except UserError as error:
                report(error)
                continue
            done += 1
            if done % _SAVE_EVERY == 0:
                self._save(entries)
        changed = done or entries.keys() != stored.keys()
        if changed and not self._save(entries) and self._given_cache:
            report(UserError(self.file.parent, "cannot be written", "give another --cache; nothing is stored now"))
        for path in files:
            if path in entries and not len(entries[path].starts):
                report(UserError(path, "is silent", "it is left out of the search"))
                del entries[path]
        return {path: entries[path] for path in files if path in entries}

    def _embed(self, path: Path) -> _Entry:
        if problem := obstacle(path):
            raise UserError(path, problem, "check its permissions")
        state = _state(path)
        starts, vectors = [], [np.zeros((0, self.embedder.model.width))]
        with AudioFile(path) as file:
            for start, length in _windows(file.samples, file.sample_rate):
                audio = read(file, start=start, samples=length)
                if not _is_silent(audio):
                    starts.append(start / file.sample_rate)
                    vectors.append(self.embedder.embed_audio(audio).numpy())
        return _Entry(state, np.array(starts, np.float32), np.concatenate(vectors).astype(np.float16))

    def _load(self) -> dict[Path, _Entry]:
        """The stored entries; none if the file is missing, damaged, or of a model that has no hash."""
        if not self.embedder.model_hash:
            return {}
        try:
            with np.load(self.file, allow_pickle=False) as stored:
                files = json.loads(str(stored["files"]))
                starts, vectors = stored["starts"], stored["vectors"]
            entries, first = {}, 0
            for name, size, modified, count in files:
                rows = slice(first, first + count)
                entries[self.folder / name] = _Entry((size, modified), starts[rows], vectors[rows])
                first += count
            whole = len(starts) == len(vectors) == first and vectors.shape[1:] == (self.embedder.model.width,)
            return entries if whole else {}
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return {}

    def _save(self, entries: dict[Path, _Entry]) -> bool:
        """Store the entries; whether the cache can be written."""
        if not self.embedder.model_hash or not entries:
            return True
        files = [
            [os.path.relpath(path, self.folder), *entry.state, len(entry.starts)] for path, entry in entries.items()
        ]
        starts, vectors = (np.concatenate([getattr(one, name) for one in entries.values()]) for name in _ARRAYS)
        try:
            with atomic_write(self.file) as temporary, temporary.open("wb") as file:
                np.savez(file, files=np.array(json.dumps(files)), starts=starts, vectors=vectors)
        except (OSError, UserError):
            return False
        return True


def embed_query(embedder: AudioTextEmbedder, query: str | Audio) -> np.ndarray:
    """Vectors (Q, E) of what is searched for: of a text, or of the windows of a clip that are not silent.

    Raises:
        UserError: an empty or silent query, or several clips.
    """
    if isinstance(query, str):
        return embedder.embed_text(query).numpy()
    samples, rate = torch.atleast_2d(query.samples), query.sample_rate
    if samples.ndim == 3:
        if len(samples) != 1:
            raise UserError("query", f"is {len(samples)} clips", "search for one at a time")
        samples = samples[0]
    cut = [Audio(samples[:, start : start + size], rate) for start, size in _windows(samples.shape[-1], rate)]
    audible = [audio for audio in cut if not _is_silent(audio)]
    if not audible:
        raise UserError("query", "is silent", "give an example with sound")
    return embedder.embed_audio(audible).numpy()  # which refuses a clip without samples


def cache_folder() -> Path:
    """Where vectors are stored: below `AUDIODIFF_CACHE`, else the user's cache folder."""
    own = os.environ.get("AUDIODIFF_CACHE")
    base = own or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "audiodiff")
    return Path(base) / "search"


def _windows(samples: int, sample_rate: int) -> Iterator[tuple[int, int]]:
    """Start and length, in samples, of each window: consecutive ones of equal length."""
    length = max(math.ceil(samples / max(math.ceil(samples / (WINDOW * sample_rate)), 1)), 1)
    return ((start, length) for start in range(0, max(samples, 1), length))


def _is_silent(audio: Audio) -> bool:
    return audio.samples.numel() > 0 and float(audio.samples.abs().max()) < SILENCE


def _state(path: Path) -> tuple[int, int]:
    """Size and time of modification of a file; zeros if there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
