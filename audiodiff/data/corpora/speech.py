"""Layouts of speech corpora: one function each, from a folder to a list of recordings."""

import gzip
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from audiodiff.audio.io import Audio, AudioFile, read
from audiodiff.data.corpora.corpus import Recording
from audiodiff.data.corpora.folder import audio_files, file_recording, recording, split_long, utf8_name
from audiodiff.data.corpora.labels import read_labels, russian_phonemes
from audiodiff.data.transcripts import Transcript, Transcripts
from audiodiff.errors import UserError
from audiodiff.extras import load_module

_COMMENT = re.compile(r"\s*(\[[^\]]*\]|\([^)]*\)|<[^>]*>)\s*$")
_LUA_STRING = r'"((?:[^"\\]|\\.)*)"'
_DIALOG = re.compile(
    rf"dialogId\({_LUA_STRING},\s*{_LUA_STRING}(?:,\s*{_LUA_STRING})?\s*\)\s*dialogStr\(\s*{_LUA_STRING}\)"
)
# Levels that were added later, spoken over constant noise: the 5th and the 95th percentile of their frame levels are
# 12 dB apart (median over clips); in every other level 29 dB or more.
_NOISY_LEVELS = ("keys", "linux")
_UTTERANCE = re.compile(r'^\(\s*(\S+)\s+"(.*)"\s*\)\s*$')


def asterisk(root: Path, texts: Path) -> list[Recording]:
    """Voice prompts in G.722 at 16 kHz below VOICE/, with a gzipped list `key: text`; the voice is the speaker.

    A trailing comment in brackets is removed from a text; if nothing is left, the prompt is a tone or silence.

    Raises:
        UserError: PyAV (`av`), which decodes them, is not installed.
    """
    load_module("av")
    with gzip.open(texts, "rt", encoding="utf-8") as lines:
        entries = dict(line.strip().split(": ", 1) for line in lines if ": " in line and not line.startswith(";"))
    found = []
    for path in sorted(root.rglob("*.g722")):
        voice, *rest = path.relative_to(root).with_suffix("").parts
        key = "/".join(rest)
        text = _COMMENT.sub("", entries.get(key, "").strip())
        reason = f"not speech: {entries[key].strip()}" if key in entries and not text else ""
        found.append(recording(key, path, text, voice, read=partial(read_g722, path), exclude_reason=reason))
    return found


def read_g722(path: Path) -> Audio:
    """Decode headerless G.722 (64 kbit/s): 16 kHz mono."""
    import av

    try:
        with av.open(str(path), format="g722") as container:
            frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(path, f"cannot be decoded as G.722 ({error})") from error
    if not frames:
        raise UserError(path, "holds no samples", "download it again")
    return Audio(torch.from_numpy(np.concatenate(frames).astype(np.float32) / 32768), 16000)


def festvox(root: Path) -> list[Recording]:
    """A Russian Festival voice: wav/KEY.wav, etc/txt.done.data and, if any, phones in lab/KEY.lab; one speaker.

    Texts keep their stress marks (`+`).
    """
    lines = (root / "etc/txt.done.data").read_text(encoding="utf-8").split("\n")
    texts: dict[str, str] = {match[1]: match[2] for match in map(_UTTERANCE.match, lines) if match}
    found = [recording(path.stem, path, texts.get(path.stem, ""), root.name) for path in sorted(root.glob("wav/*.wav"))]
    return [_labeled(one, root / "wav" / f"{one.key}.wav", root / "lab" / f"{one.key}.lab") for one in found]


def _labeled(one: Recording, path: Path, labels: Path) -> Recording:
    """A recording with the phones that its labels state."""
    if not labels.exists():
        return one
    with AudioFile(path) as file:
        phonemes, durations = russian_phonemes(read_labels(labels), file.samples / file.sample_rate)
    return replace(one, phonemes=phonemes, durations=durations) if phonemes else one


def fillets(sounds: Path, scripts: Path, language: str = "cs") -> list[Recording]:
    """Game dialogs: sound/LEVEL/.../LANGUAGE/KEY.ogg, and script/LEVEL/*dialogs_LANGUAGE.lua with text and font.

    Every character has a font, which names the speaker. Levels recorded in noise are left out.
    """
    dialogs = {}
    for script in sorted(scripts.glob(f"*/*dialogs_{language}.lua")):
        for key, font, _, text in _DIALOG.findall(script.read_text(encoding="utf-8")):
            dialogs[f"{script.parent.name}/{key}"] = (re.sub(r"\\(.)", r"\1", text), font)
    found = []
    for path in sorted(sounds.rglob("*.ogg")):
        parts = path.relative_to(sounds).with_suffix("").parts
        if language in parts:
            text, speaker = dialogs.get(f"{parts[0]}/{parts[-1]}", ("", ""))
            key = "/".join(part for part in parts if part != language)
            reason = "recorded in constant noise" if parts[0] in _NOISY_LEVELS else ""
            found.append(recording(key, path, text, speaker, exclude_reason=reason))
    return found


def ljspeech(root: Path) -> list[Recording]:
    """LJSpeech 1.1: wavs/ID.wav, and metadata.csv with `ID|text|normalized text`; one speaker, or those it names."""
    if not (root / "wavs").is_dir():
        raise UserError(root, "has no folder wavs/", "name the folder that holds wavs/ and metadata.csv")
    files = {utf8_name(path.stem): path for path in root.glob("wavs/*.wav")}
    texts = Transcripts.read(root / "metadata.csv", files)
    whole = texts.unmatched | dict.fromkeys(files, Transcript()) | texts.by_key
    return [
        recording(key, files.get(key, root / "wavs" / f"{key}.wav"), one.text, one.speaker or "LJ")
        for key, one in sorted(whole.items())
    ]


def vctk(root: Path) -> list[Recording]:
    """VCTK: wav48_silence_trimmed/SPEAKER/KEY_micM.flac (0.92) or wav48/SPEAKER/KEY.wav (0.80); txt/SPEAKER/KEY.txt.

    The first microphone is used if there are two. Speaker p315 has no texts.
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
        text, problem = _read_text(root / "txt" / speaker / f"{key}.txt")
        found.append(recording(f"{speaker}/{key}", path, text, speaker, exclude_reason=problem, text_piece=True))
    return found


def folder(root: Path) -> list[Recording]:
    """Any audio below `root`; the first folder is the speaker.

    Texts, if any: KEY.txt or KEY.lab beside it, or metadata.csv (`transcripts`). Files of hours without a text are
    split into parts.
    """
    files, metadata = audio_files(root), root / "metadata.csv"
    texts = Transcripts.read(metadata, files).by_key if metadata.exists() else {}
    found = []
    for key, path in files.items():
        known, (text, problem) = texts.get(key, Transcript()), _first_text(path)
        one = file_recording(key, path, root, text or known.text)
        one = replace(one, speaker=known.speaker or one.speaker, exclude_reason=one.exclude_reason or problem)
        found += [replace(one, read=partial(_read_whole, path))] if one.text else split_long(one, path, read)
    return found


def _first_text(path: Path) -> tuple[str, str]:
    """The text beside a recording, .txt before .lab (as for forced aligners), as `_read_text`."""
    text, problem = _read_text(path.with_suffix(".txt"))
    return (text, problem) if text or problem else _read_text(path.with_suffix(".lab"))


def _read_text(path: Path) -> tuple[str, str]:
    """The content of a text file, "" if there is none; and why it cannot be read, "" if it can."""
    if not os.path.isfile(path):  # Path.is_file raises for names that are too long
        return "", ""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace").strip(), ""
    except OSError as error:
        return "", f"its text {path.name} cannot be read ({error.strerror})"


def _read_whole(path: Path) -> Audio:
    """A recording with a text, which must not have been cut off."""
    with AudioFile(path) as file:
        if file.may_be_cut:
            raise UserError(path, f"{file.remark}, while its text is whole", "copy it again, or convert it to WAV")
        return read(file)
