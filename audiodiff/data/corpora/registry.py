"""The table of corpora: their names on the command line and how each is opened."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from audiodiff.audio.io import EXTENSIONS
from audiodiff.audio.reading.folder import files_below
from audiodiff.data import caption_files
from audiodiff.data.captions.vocabulary import rules_hash
from audiodiff.data.corpora import debian, hibari, instruments, kokoro, music, scores, sentences, sounds, speech, tunes
from audiodiff.data.corpora.corpus import Corpus, Recording, Request
from audiodiff.data.corpora.folder import utf8_name
from audiodiff.errors import UserError


def _open_folder(
    layout: Callable[[Path], list[Recording]], source: str, license: str, language: str, request: Request
) -> Corpus:
    source = f"{source}, {utf8_name(request.folder.name or 'root')}"
    found = layout(request.folder)
    if request.captions or caption_files.has_captions(request.folder):
        found = caption_files.add_captions(found, request.folder, request.captions)
    return Corpus(found, source, license, language=language or request.language)


# Corpora that are composed: the default number of clips, and what composes the first so many.
_COMPOSED: dict[str, tuple[int, Callable[[int], Mapping[str, object]]]] = {
    instruments.NAME: (instruments.DEFAULT_CLIPS, instruments.takes),
    tunes.NAME: (tunes.DEFAULT_CLIPS, tunes.tunes),
}
_CAPTIONED = ("folder", "music")  # layouts whose recordings may have captions
CORPORA: dict[str, Callable[[Request], Corpus]] = {
    "festvox-ru": debian.festvox_ru,
    **{f"asterisk-{language}": partial(debian.asterisk, language) for language in ("en", "fr", "es", "it", "ru")},
    "fillets-cs": debian.fillets_cs,
    "sonic-pi-samples": debian.sonic_pi,
    "hydrogen-drumkits": debian.hydrogen,
    "singularity-music": debian.singularity,
    "wesnoth-music": debian.wesnoth,
    "scores": scores.open_corpus,
    "hibari": hibari.open_corpus,
    "kokoro": kokoro.open_corpus,
    sounds.NAME: sounds.open_corpus,
    instruments.NAME: instruments.open_corpus,
    tunes.NAME: tunes.open_corpus,
    # Corpora that the user has; the licenses are those stated in the corpora's own READMEs.
    "ljspeech:PATH": partial(_open_folder, speech.ljspeech, "LJSpeech", "public domain", "en-us"),
    "vctk:PATH": partial(_open_folder, speech.vctk, "VCTK", "CC-BY-4.0", "en-gb"),
    "folder:PATH": partial(_open_folder, speech.folder, "the user's folder", "not stated", ""),
    "music:PATH": partial(_open_folder, music.folder, "the user's folder", "not stated", ""),
}


@dataclass(frozen=True)
class Preparation:
    """A corpus to prepare, before anything is fetched.

    Attributes:
        label: name of its folder, and first part of its clips' ids.
        inputs: what it is prepared from; while this is unchanged, nothing has to be prepared again.
        open: opens the corpus, given a folder for downloads.
    """

    label: str
    inputs: dict[str, str]
    open: Callable[[Path], Corpus]


def resolve(name: str, clips: int | None = None, language: str = "", captions: bool = False) -> Preparation:
    """The corpus of a name, such as `asterisk-en`, `kokoro:af_heart`, `hibari:shifted`, `sounds:all` or `music:PATH`.

    Args:
        name: of the corpus.
        clips: of each voice, for synthetic speech, or of instruments; None: the corpus's default.
        language: of the texts of a user's folder.
        captions: whether texts and names of the recordings in a user's folder are captions.

    Raises:
        UserError: there is no such corpus, voice or manner, PATH is missing or not a folder, or captions would be
            ignored.
    """
    kind, _, path = name.partition(":")
    if kind in ("kokoro", hibari.NAME):
        return _synthetic(kind, path, clips)
    if kind == sounds.NAME:
        return _sounds(path)
    if name in _COMPOSED:
        default, compose = _COMPOSED[name]
        clips = default if clips is None else clips
        inputs = {"corpus": name, "takes": content_hash(list(compose(clips)))}
        return Preparation(name, inputs, _opener(name, Request(clips=clips)))
    key = f"{kind}:PATH" if path else name
    if key not in CORPORA:
        raise UserError(name, "is not a corpus", f"choose among {', '.join(CORPORA)}")
    label, inputs, request = kind, {"corpus": kind}, Request(language=language, captions=captions)
    if path:
        folder = Path(path).expanduser().resolve()
        if not folder.is_dir():
            raise UserError(folder, "no such folder", f"give {kind}: the path of the corpus")
        if kind not in _CAPTIONED:
            _refuse_captions(kind, folder, captions)
        label = utf8_name(folder.name or "root") if kind == "folder" else kind
        inputs |= {"path": str(folder), "files": content_hash(_listing(folder))}
        inputs |= {"language": language} if language else {}
        inputs |= {"captions": rules_hash()} if captions else {}
        request = replace(request, folder=folder)
    return Preparation(label, inputs, _opener(key, request))


def _refuse_captions(kind: str, folder: Path, captions: bool) -> None:
    """Raise where captions of a layout that has none would be ignored."""
    if captions:
        raise UserError("--captions", f"does not apply to {kind}", "leave it out or use folder:PATH")
    if caption_files.has_captions(folder):
        problem, fix = f"{kind} has no captions, they would be ignored", "remove the file or use folder:PATH"
        raise UserError(folder / caption_files.NAME, problem, fix)


def _opener(key: str, request: Request) -> Callable[[Path], Corpus]:
    return lambda downloads: CORPORA[key](replace(request, downloads=downloads))


def _sounds(manner: str) -> Preparation:
    manner = sounds.parse_manner(manner)
    inputs = {"corpus": sounds.NAME, "manner": manner, "rules": rules_hash()}
    label = f"{sounds.NAME}-{manner}" if manner else sounds.NAME
    return Preparation(label, inputs, _opener(sounds.NAME, Request(manner=manner)))


def _synthetic(kind: str, names: str, clips: int | None) -> Preparation:
    voices = kokoro.parse_voices(names) if kind == "kokoro" else (hibari.VOICE,)
    clips = (kokoro.DEFAULT_CLIPS if kind == "kokoro" else hibari.DEFAULT_CLIPS) if clips is None else clips
    manner = hibari.parse_manner(names) if kind == hibari.NAME else ""
    inputs = {"corpus": kind, "voices": ",".join(voices), "clips": str(clips)}
    inputs["texts"] = content_hash(sentences.packaged())
    request = Request(clips=clips, voices=voices, manner=manner)
    return Preparation(f"{kind}-{manner}" if manner else kind, inputs, _opener(kind, request))


def content_hash(value: list) -> str:
    """Short hash of a list of JSON values."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _listing(root: Path) -> list:
    """Name, size and time of modification of every file below `root` that could matter."""
    files = [path for path in files_below(root, {*EXTENSIONS, ".txt", ".lab", ".csv"}) if path.is_file()]
    return [(path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
