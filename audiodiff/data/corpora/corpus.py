"""A corpus: recordings that have not been decoded yet, their source and their license."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from audiodiff.audio.io import Audio
from audiodiff.data.captions import Caption


def text_hash(text: str) -> str:
    """Name of a text, which all its readings share."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, repr=False, eq=False)
class TimedAudio(Audio):
    """Synthetic speech that states how long each of its symbols lasts, and may state their pitch.

    Attributes:
        durations, pitch: as in `manifest.Clip`; a pitch of () is measured.
    """

    durations: tuple[float, ...] = ()
    pitch: tuple[float, ...] = ()


@dataclass(frozen=True)
class Recording:
    """One recording of a corpus. Nothing is decoded until `read` is called.

    Attributes:
        key: name within the corpus, unique there; with slashes for folders, without a suffix.
        read: returns the samples; raises UserError if they cannot be read.
        text: transcript, "" if unknown.
        speaker: name within the corpus, "" if unknown.
        modified_ns: time of last modification of its file, nanoseconds; None if the key identifies the content.
        exclude_reason: why the recording is left out, "" if it is not.
        label: as in `manifest.Clip`, "" if unknown.
        tempo: beats per minute, 0 if unknown.
        piece: the larger work that it is part of, within the corpus; "" if there is none.
        license: its own license; "" if it has that of the corpus.
        phonemes, durations: as in `manifest.Clip`; those of synthetic speech come with the `TimedAudio` that it reads.
        text_piece: whether all readings of its text, in every corpus, are one piece.
        caption: description of the sound.
    """

    key: str
    read: Callable[[], Audio]
    text: str = ""
    speaker: str = ""
    modified_ns: int | None = None
    exclude_reason: str = ""
    label: str = ""
    tempo: float = 0.0
    piece: str = ""
    license: str = ""
    phonemes: str = ""
    durations: tuple[float, ...] = ()
    text_piece: bool = False
    caption: Caption = field(default_factory=Caption)


@dataclass(frozen=True)
class Corpus:
    """An opened corpus.

    Attributes:
        recordings: all of them, also those to be left out.
        source: where they come from, such as package and version.
        license: as the corpus states it.
        copyright_file: file that states the license, copied beside the clips.
        synthetic: whether the recordings are machine-made.
        attribution: who is to be named.
        language: of the texts, such as "en-us"; "" if unknown.
        speakers_of: the corpus that its speakers are named after, "" if they are its own.
    """

    recordings: list[Recording]
    source: str
    license: str
    copyright_file: Path | None = None
    synthetic: bool = False
    attribution: str = ""
    language: str = ""
    speakers_of: str = ""


@dataclass(frozen=True)
class Request:
    """Options for opening a corpus.

    Attributes:
        folder: the user's folder, of corpora that take one (`music:PATH`).
        clips: number of clips (of each voice), of corpora that are synthesized.
        downloads: folder for downloads, removed afterwards.
        voices: of corpora that have several.
        manner: how all texts are read, of corpora that can read them otherwise than usual; or which sounds.
        language: of the texts in the user's folder.
        captions: whether texts and names in the user's folder are captions.
    """

    folder: Path = Path()
    clips: int = 0
    downloads: Path = Path()
    voices: tuple[str, ...] = ()
    manner: str = ""
    language: str = ""
    captions: bool = False
