"""How recordings lie on disk: one function per layout, each turning a folder into a list of `Recording`.

Nothing is decoded here; a `Recording` says how that is done.
"""

import gzip
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from audiodiff.audio.io import EXTENSIONS, Audio, AudioFile, read
from audiodiff.audio.reading.folder import files_below, obstacle
from audiodiff.data.transcripts import Transcript, Transcripts
from audiodiff.errors import UserError

LONGEST_SECONDS = 1200.0  # of one clip
_REMARK = re.compile(r"\s*(\[[^\]]*\]|\([^)]*\)|<[^>]*>)\s*$")
_LUA_STRING = r'"((?:[^"\\]|\\.)*)"'
_DIALOG = re.compile(
    rf"dialogId\({_LUA_STRING},\s*{_LUA_STRING}(?:,\s*{_LUA_STRING})?\s*\)\s*dialogStr\(\s*{_LUA_STRING}\)"
)
# Levels that were added later, spoken over a constant noise: between the 5th and the 95th percentile of their frames'
# level lie 12 dB (median of the clips); in every other level it is 29 dB or more.
_NOISY_LEVELS = ("keys", "linux")
_UTTERANCE = re.compile(r'^\(\s*(\S+)\s+"(.*)"\s*\)\s*$')


@dataclass(frozen=True)
class Recording:
    """One recording that has not been prepared yet.

    Attributes:
        key: its name within the corpus, unique there; with slashes for folders, without a suffix.
        read: returns the samples; raises UserError where they cannot be read.
        text: what is said, "" if that is not known.
        speaker: within the corpus, "" if that is not known.
        stamp: time of last modification of its file in nanoseconds; None where the key itself names the content.
        remark: why it is left out, "" if it is not.
        label: as of `manifest.Clip`, "" if it is not known.
        tempo: beats a minute, 0 if that is not known.
        piece: what it is a part of, within the corpus; "" for nothing larger.
        license: its own; "" for the corpus'.
    """

    key: str
    read: Callable[[], Audio]
    text: str = ""
    speaker: str = ""
    stamp: int | None = None
    remark: str = ""
    label: str = ""
    tempo: float = 0.0
    piece: str = ""
    license: str = ""


def recording(key: str, path: Path, text: str = "", speaker: str = "", **others) -> Recording:
    """That of a file, read as it is unless `others`, further fields, say how."""
    stamp = path.stat().st_mtime_ns if os.path.exists(path) else 0  # Path.exists fails for names that are too long
    return Recording(readable(key), others.pop("read", partial(read, path)), text, readable(speaker), stamp, **others)


def readable(name: str) -> str:
    """A file's name in UTF-8: bytes of it that are not become `?`."""
    return name.encode(errors="replace").decode()


def asterisk(root: Path, texts: Path) -> list[Recording]:
    """Voice prompts in G.722 at 16 kHz below VOICE/, and a list `key: text` (gzipped); the speaker is the voice.

    A text that ends with a remark in brackets loses it; where nothing else is left it is a tone or silence, not speech.

    Raises:
        UserError: PyAV, which decodes them, is not installed.
    """
    if find_spec("av") is None:
        raise UserError("PyAV", "is needed to decode G.722 and is not installed", "pip install av")
    with gzip.open(texts, "rt", encoding="utf-8") as lines:
        said = dict(line.strip().split(": ", 1) for line in lines if ": " in line and not line.startswith(";"))
    found = []
    for path in sorted(root.rglob("*.g722")):
        voice, *rest = path.relative_to(root).with_suffix("").parts
        key = "/".join(rest)
        text = _REMARK.sub("", said.get(key, "").strip())
        remark = f"not speech: {said[key].strip()}" if key in said and not text else ""
        found.append(recording(key, path, text, voice, read=partial(read_g722, path), remark=remark))
    return found


def read_g722(path: Path) -> Audio:
    """Decode headerless G.722 (64 kbit/s), which says nothing of itself: 16 kHz mono."""
    import av

    try:
        with av.open(str(path), format="g722") as container:
            frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(path, f"cannot be decoded as G.722 ({error})") from error
    if not frames:
        raise UserError(path, "holds no samples")
    return Audio(torch.from_numpy(np.concatenate(frames).astype(np.float32) / 32768), 16000)


def festvox(root: Path) -> list[Recording]:
    """A Festival voice: wav/KEY.wav and etc/txt.done.data; one speaker. Texts keep their stress marks (`+`)."""
    lines = (root / "etc/txt.done.data").read_text(encoding="utf-8").split("\n")
    said = dict(match.groups() for match in map(_UTTERANCE.match, lines) if match)
    return [recording(path.stem, path, said.get(path.stem, ""), root.name) for path in sorted(root.glob("wav/*.wav"))]


def fillets(sounds: Path, scripts: Path, language: str = "cs") -> list[Recording]:
    """Game dialogues: sound/LEVEL/.../LANGUAGE/KEY.ogg, and script/LEVEL/*dialogs_LANGUAGE.lua with text and font.

    Every character speaks in a font of its own, which names the speaker. Levels recorded in noise are left out.
    """
    said = {}
    for script in sorted(scripts.glob(f"*/*dialogs_{language}.lua")):
        for key, font, _, text in _DIALOG.findall(script.read_text(encoding="utf-8")):
            said[f"{script.parent.name}/{key}"] = (re.sub(r"\\(.)", r"\1", text), font)
    found = []
    for path in sorted(sounds.rglob("*.ogg")):
        parts = path.relative_to(sounds).with_suffix("").parts
        if language in parts:
            text, speaker = said.get(f"{parts[0]}/{parts[-1]}", ("", ""))
            key = "/".join(part for part in parts if part != language)
            remark = "recorded in constant noise" if parts[0] in _NOISY_LEVELS else ""
            found.append(recording(key, path, text, speaker, remark=remark))
    return found


def ljspeech(root: Path) -> list[Recording]:
    """LJSpeech 1.1: wavs/ID.wav, and metadata.csv with `ID|text|normalized text`; one speaker, or those it names."""
    if not (root / "wavs").is_dir():
        raise UserError(root, "has no folder wavs/", "name the folder that holds wavs/ and metadata.csv")
    there = {readable(path.stem): path for path in root.glob("wavs/*.wav")}
    texts = Transcripts.read(root / "metadata.csv", there)
    whole = texts.unmatched | dict.fromkeys(there, Transcript()) | texts.by_key
    return [
        recording(key, there.get(key, root / "wavs" / f"{key}.wav"), one.text, one.speaker or "LJ")
        for key, one in sorted(whole.items())
    ]


def vctk(root: Path) -> list[Recording]:
    """VCTK: wav48_silence_trimmed/SPEAKER/KEY_micM.flac (0.92) or wav48/SPEAKER/KEY.wav (0.80); txt/SPEAKER/KEY.txt.

    Of two microphones the first is taken, or the one that is there. Speaker p315 has no texts.
    """
    folder = next((root / name for name in ("wav48_silence_trimmed", "wav48") if (root / name).is_dir()), None)
    if folder is None:
        raise UserError(root, "has no folder wav48_silence_trimmed/", "name the folder that holds it and txt/")
    chosen: dict[str, Path] = {}
    for path in sorted(p for p in folder.glob("*/*") if p.suffix in (".flac", ".wav")):
        chosen.setdefault(re.sub(r"_mic\d$", "", path.stem), path)
    found = []
    for key, path in chosen.items():
        speaker = path.parent.name
        text = root / "txt" / speaker / f"{key}.txt"
        said, problem = _text_of(text)
        found.append(recording(f"{speaker}/{key}", path, said, speaker, remark=problem))
    return found


def _text_of(path: Path) -> tuple[str, str]:
    """What a text file says, "" where there is none; and why it cannot be read, "" if it can."""
    if not os.path.isfile(path):  # no file has a name that is too long, of which Path.is_file makes an error
        return "", ""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace").strip(), ""
    except OSError as error:
        return "", f"its text {path.name} cannot be read ({error.strerror})"


def folder(root: Path) -> list[Recording]:
    """Any audio below `root`. Texts, if any: KEY.txt beside it, or metadata.csv (`transcripts`). Speaker: first folder.

    What lasts for hours and has no text is taken in parts.
    """
    there, metadata = files(root), root / "metadata.csv"
    texts = Transcripts.read(metadata, there).by_key if metadata.exists() else {}
    found = []
    for key, path in there.items():
        known, (beside, problem) = texts.get(key, Transcript()), _text_of(path.with_suffix(".txt"))
        one = found_at(key, path, root, beside or known.text)
        one = replace(one, speaker=known.speaker or one.speaker, remark=one.remark or problem)
        found += [replace(one, read=partial(_whole, path))] if one.text else parts(one, path, read)
    return found


def _whole(path: Path) -> Audio:
    """A recording whose text is known, which would go on where the recording was cut off."""
    with AudioFile(path) as file:
        if file.may_be_cut:
            raise UserError(path, f"{file.remark}, while its text is whole", "copy it again, or convert it to WAV")
        return read(file)


def files(root: Path) -> dict[str, Path]:
    """Any audio below `root` by its key: its path without the suffix, and in UTF-8.

    Files that differ in the suffix alone, such as a.mp3 and a.wav, are all taken: all their keys keep it, so that none
    of them moves to another file with what is added later. Keys that are still the same, of names that are not UTF-8,
    get a hash.
    Links are followed, each folder is searched once; links to nothing and folders that may not be searched are there
    as well.

    Raises:
        UserError: no such folder, or no audio.
    """
    if not root.is_dir():
        raise UserError(root, "no such folder")
    paths = files_below(root, EXTENSIONS)
    if not paths:
        raise UserError(root, "holds no audio", f"expected files ending in {' '.join(EXTENSIONS)}")
    keys = {path: readable(path.relative_to(root).with_suffix("").as_posix()) for path in paths}
    suffixes = {path: path.suffix.replace(".", "_") for path in paths}
    digests = {path: f"-{hashlib.sha256(os.fsencode(path.relative_to(root))).hexdigest()[:12]}" for path in paths}
    for endings in (suffixes, digests):
        uses = Counter(keys.values())
        keys = {path: key + endings[path] if uses[key] > 1 else key for path, key in keys.items()}
    return {key: path for path, key in keys.items()}


def found_at(key: str, path: Path, root: Path, text: str = "", **others) -> Recording:
    """That of a file below `root`, whose first folder is the speaker."""
    first, *rest = path.relative_to(root).parts
    return recording(key, path, text, first if rest else "", remark=obstacle(path), **others)


def parts(one: Recording, path: Path, sounds: Callable[..., Audio]) -> list[Recording]:
    """A recording, or of a very long one its parts: hours of samples are not to be in memory at once.

    Args:
        one: the whole.
        path: its file.
        sounds: reads a piece of it, `sounds(file, start=..., samples=...)`.
    """
    if one.remark:
        return [one]
    try:
        with AudioFile(path) as file:
            if file.seconds <= LONGEST_SECONDS / 2:  # about
                return [one]
            samples, step = file.samples, round(LONGEST_SECONDS * file.sample_rate)
    except Exception:
        return [one]  # it will say so when it is read
    if samples <= step:
        return [one]
    in_order = _InOrder(path, sounds, samples)
    return [
        replace(
            one,
            key=f"{one.key}/part{number:03d}",
            read=partial(in_order, start, step),
            piece=one.piece or one.key,
        )
        for number, start in enumerate(range(0, samples, step))
    ]


class _InOrder:
    """Reads a long file part by part: in order, it is decoded once, in whatever format it is.

    The file is open from one part to the next. Of all files one is: parts that are prepared already are not read.
    """

    _open: ClassVar["_InOrder | None"] = None

    def __init__(self, path: Path, sounds: Callable[..., Audio], total: int):
        self.path, self.sounds, self.total = path, sounds, total
        self.file: AudioFile | None = None

    def __call__(self, start: int, samples: int) -> Audio:
        if _InOrder._open is not self:
            _InOrder.close()
            self.file, _InOrder._open = AudioFile(self.path), self
        last = True
        try:
            audio = self.sounds(self.file, start=start, samples=samples)
            last = start + samples >= self.total
            return audio
        finally:
            if last:
                _InOrder.close()

    @classmethod
    def close(cls) -> None:
        """Close the file that is open, if any."""
        if cls._open is not None:
            cls._open.file.close()
            cls._open.file, cls._open = None, None
