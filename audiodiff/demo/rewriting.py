"""Recordings of visitors whose files are rewritten: what a model does not change stays as it is encoded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiodiff.audio.io import Audio
from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.audio.rewriting import Encoding, Replacement, default_suffix, encoding_for, rewrite, watermarked
from audiodiff.demo.uploads import check_size, too_long
from audiodiff.errors import UserError
from audiodiff.rendering.file_recording import FileRecording

_PLAYED = (".wav", ".flac")  # formats that keep every sample and that browsers play


@dataclass(frozen=True)
class Rewriting:
    """A recording with parts replaced, in its own encoding.

    Attributes:
        source: the file of the recording.
        parts: of it, as they become.
        encoding: of the file that is written.
        suffix: of its name.
    """

    source: Path
    parts: Sequence[Replacement]
    encoding: Encoding
    suffix: str

    def watermarked(self, sample_rate: int) -> "Rewriting":
        """The same with a watermark in the parts."""
        return replace(self, parts=watermarked(self.parts, sample_rate))

    def write(self, path: Path, metadata: Mapping[str, Any]) -> None:
        """Write the file; raises as `audio.rewriting.rewrite`."""
        with AudioFile(self.source) as file:
            rewrite(file, path, self.parts, self.encoding, metadata)


@contextmanager
def opened(path: str | None, longest: float) -> Iterator[AudioFile]:
    """An uploaded recording.

    Args:
        path: of the upload.
        longest: maximum length in seconds.

    Raises:
        UserError: none, larger than `uploads.MAX_MEGABYTES`, longer than `longest`, or unreadable.
    """
    if not path:
        raise UserError("recording", "is missing", "upload a file or record one")
    check_size(path)
    with AudioFile(path) as file:
        if file.samples > longest * file.sample_rate:
            raise too_long(path, longest)
        yield file


def whole(file: AudioFile) -> Audio:
    """All samples (C, T) of a recording; raises as `FileRecording`."""
    recording = FileRecording(file)
    return Audio(recording.read(0, recording.samples), file.sample_rate)


def encoding_of(file: AudioFile) -> tuple[Encoding, str]:
    """The encoding of a file that keeps all samples of a recording and that browsers play, and its suffix."""
    own = default_suffix(file).lower()
    suffix = own if own in _PLAYED else ".wav"
    return encoding_for(file, Path(f"{file.path.stem}{suffix}")), suffix
