"""Synthetic speech by hibari-tts, a text-to-speech model whose weights come inside its wheel.

The first hundred texts come with this package and need Python packages only; more are `sentences`. Every clip states
its phonemes and their durations, and is marked as synthetic.
"""

import hashlib
import json
from functools import cache, partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from audiodiff.data.corpora import sentences
from audiodiff.data.corpora.corpus import Corpus, Recording, Request, TimedAudio, text_hash
from audiodiff.data.corpora.onnx_model import OnnxModel
from audiodiff.data.corpora.teacher import FRAME_SECONDS, readings, symbol_durations
from audiodiff.data.licenses import spdx
from audiodiff.errors import UserError
from audiodiff.extras import install_command, locate

VOICE = "heart"
LANGUAGE = "en-us"
SAMPLE_RATE = 24000
DEFAULT_CLIPS = 100  # the packaged sentences: about 10 minutes
_DURATIONS = "/Clip_output_0"  # frames of each symbol, with a pad at each end


def open_corpus(request: Request) -> Corpus:
    """`request.clips` utterances as a corpus."""
    release = package()
    stated = spdx(release.metadata["License"] or release.metadata["License-Expression"])
    license = f"{stated} (the model's; synthetic speech)"
    chosen, credit = texts(request.clips, request.downloads)
    found = [_recording(text, phonemes) for text, phonemes in readings(chosen, LANGUAGE)]
    source = f"synthetic: hibari-tts {release.version}"
    return Corpus(found, source, license, synthetic=True, attribution=credit, language=LANGUAGE)


def package() -> metadata.Distribution:
    """The installed distribution.

    Raises:
        UserError: it is not installed.
    """
    try:
        return metadata.distribution("hibari-tts")
    except metadata.PackageNotFoundError as error:
        raise UserError("hibari", "needs the package hibari-tts", install_command("hibari")) from error


def texts(clips: int, downloads: Path) -> tuple[list[str], str]:
    """`clips` different texts, and whom to credit for them: the packaged sentences, then those of `sentences`.

    Raises:
        UserError: `clips` is out of range, or the sentences cannot be fetched.
    """
    found, credit = sentences.packaged(), ""
    if clips > len(found):
        more = sentences.fetch(downloads)
        found, credit = list(dict.fromkeys([*found, *more.texts])), more.credit
    if not 1 <= clips <= len(found):
        raise UserError("--clips", f"is {clips}", f"choose 1 to {len(found)} for hibari")
    return found[:clips], credit


def _recording(text: str, phonemes: str) -> Recording:
    read = partial(speak, phonemes, int(text_hash(text)[:8], 16))
    reason = "" if phonemes else "its text cannot be read as one sentence"
    key = f"{VOICE}/{hashlib.sha256(f'{package().version}/{text}'.encode()).hexdigest()[:16]}"
    return Recording(key, read, text, VOICE, exclude_reason=reason, phonemes=phonemes, text_piece=True)


@cache
def _model() -> tuple[OnnxModel, dict[str, int]]:
    return OnnxModel((_assets() / "hibari.onnx").read_bytes(), _DURATIONS), symbols()


def symbols() -> dict[str, int]:
    """The network's input of each symbol."""
    return json.loads((_assets() / "vocab.json").read_text(encoding="utf-8"))


def _assets() -> Path:
    return locate("hibari") / "assets"


def speak(phonemes: str, seed: int = 0) -> TimedAudio:
    """Synthesize a phoneme string of at most `teacher.MOST_SYMBOLS` symbols; `seed` is that of the noise in it."""
    from hibari import dsp

    model, inputs = _model()
    ids = np.array([[0, *(inputs[symbol] for symbol in phonemes), 0]], np.int64)
    out = model.run(ids=ids, speed=np.ones(1, np.float32))
    parts = (out[name][0] for name in ("lh", "theta", "ln", "lr", "phi", "f0"))
    samples = dsp.synth(*parts, np.random.default_rng(seed))
    frames = np.ravel(out[_DURATIONS]).tolist()
    if round(sum(frames) * FRAME_SECONDS * SAMPLE_RATE) != len(samples):
        raise UserError(phonemes, "hibari states durations that are not those of its audio")
    return TimedAudio(torch.from_numpy(samples), SAMPLE_RATE, symbol_durations(frames))
