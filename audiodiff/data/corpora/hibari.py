"""Synthetic speech by hibari-tts, a text-to-speech model whose weights come inside its wheel.

The first hundred texts come with this package and need Python packages only; more are `sentences`, of which every
eighth is read in another manner (`manner`); as `hibari:shifted`, every one at another pitch. Every clip states its
phonemes and their durations, and is marked as synthetic.
"""

import hashlib
import json
from functools import cache, partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from audiodiff.audio.psola import shift_pitch
from audiodiff.data.corpora import sentences
from audiodiff.data.corpora.corpus import Corpus, Recording, Request, TimedAudio, text_hash
from audiodiff.data.corpora.manner import Reading, shifted, varied
from audiodiff.data.corpora.onnx_model import OnnxModel
from audiodiff.data.corpora.teacher import FRAME_SECONDS, readings, symbol_durations
from audiodiff.data.licenses import spdx
from audiodiff.data.prosody import symbol_pitch
from audiodiff.errors import UserError
from audiodiff.extras import install_command, locate

VOICE = "heart"
LANGUAGE = "en-us"
SAMPLE_RATE = 24000
DEFAULT_CLIPS = 100  # the packaged sentences: about 10 minutes
NAME = "hibari"
SHIFTED = "shifted"  # the manner in which every sentence has another pitch
VARIED = 8  # of the sentences that do not come with this package, every eighth is read in another manner
_DURATIONS = "/Clip_output_0"  # frames of each symbol, with a pad at each end
_LOWEST_HZ = 40.0  # of what is voiced, as hibari has it


def open_corpus(request: Request) -> Corpus:
    """`request.clips` utterances as a corpus."""
    release = package()
    stated = spdx(release.metadata["License"] or release.metadata["License-Expression"])
    license = f"{stated} (the model's; synthetic speech)"
    chosen, credit = texts(request.clips, request.downloads)
    plan = manners(chosen, request.manner)
    texts_read = readings((reading.text for reading in plan), LANGUAGE)
    found = [
        _recording(sentence, reading, phonemes)
        for sentence, reading, (_, phonemes) in zip(chosen, plan, texts_read, strict=True)
    ]
    source = f"synthetic: hibari-tts {release.version}"
    return Corpus(found, source, license, synthetic=True, attribution=credit, language=LANGUAGE, speakers_of=NAME)


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


def parse_manner(name: str) -> str:
    """A manner by its name, "" for the usual one.

    Raises:
        UserError: there is no such manner.
    """
    if name not in ("", SHIFTED):
        raise UserError(f"{NAME}:{name}", "is not a manner of reading", f"write {NAME} or {NAME}:{SHIFTED}")
    return name


def manners(sentences_read: list[str], manner: str = "") -> list[Reading]:
    """How each sentence is read; in the usual manner, those that come with this package as they are."""
    if manner == SHIFTED:
        return [shifted(sentence) for sentence in sentences_read]
    plain = len(sentences.packaged())
    return [
        varied(sentence) if number >= plain and number % VARIED == 0 else Reading(sentence)
        for number, sentence in enumerate(sentences_read)
    ]


def _recording(sentence: str, reading: Reading, phonemes: str) -> Recording:
    manner = () if reading == Reading(sentence) else (reading.semitones,)
    read = partial(speak, phonemes, int(text_hash(sentence)[:8], 16), *manner)
    reason = "" if phonemes else "its text cannot be read as one sentence"
    name = "/".join(map(str, (package().version, sentence, *manner)))
    key = f"{VOICE}/{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return Recording(key, read, reading.text, VOICE, exclude_reason=reason, phonemes=phonemes, text_piece=True)


@cache
def _model() -> tuple[OnnxModel, dict[str, int]]:
    return OnnxModel((_assets() / "hibari.onnx").read_bytes(), _DURATIONS), symbols()


def symbols() -> dict[str, int]:
    """The network's input of each symbol."""
    return json.loads((_assets() / "vocab.json").read_text(encoding="utf-8"))


def _assets() -> Path:
    return locate("hibari") / "assets"


def speak(phonemes: str, seed: int = 0, semitones: float = 0.0) -> TimedAudio:
    """Synthesize a phoneme string.

    Args:
        phonemes: at most `teacher.MOST_SYMBOLS` symbols.
        seed: of the noise in it.
        semitones: shift of the pitch (`audio.psola`). The pitch of the symbols is stated: that which is measured
            without a shift, which a shift cannot make harder to measure, times the factor.

    At 7 semitones up or down, the words are as clear.
    """
    from hibari import dsp

    model, inputs = _model()
    ids = np.array([[0, *(inputs[symbol] for symbol in phonemes), 0]], np.int64)
    out = model.run(ids=ids, speed=np.ones(1, np.float32))
    spectrum, f0 = (out[name][0] for name in ("lh", "theta", "ln", "lr", "phi")), out["f0"][0]
    samples = dsp.synth(*spectrum, f0, np.random.default_rng(seed))
    frames = np.ravel(out[_DURATIONS]).tolist()
    if round(sum(frames) * FRAME_SECONDS * SAMPLE_RATE) != len(samples):
        raise UserError(phonemes, "hibari states durations that are not those of its audio")
    audio = TimedAudio(torch.from_numpy(samples), SAMPLE_RATE, symbol_durations(frames))
    return _shift(audio, np.where(f0 > _LOWEST_HZ, f0, 0), semitones) if semitones else audio


def _shift(audio: TimedAudio, f0: np.ndarray, semitones: float) -> TimedAudio:
    factor = 2 ** (semitones / 12)
    pitch = tuple(round(one * factor, 1) for one in symbol_pitch(audio, audio.durations))
    samples = shift_pitch(audio.samples.numpy(), f0, audio.sample_rate, semitones)
    return TimedAudio(torch.from_numpy(samples), audio.sample_rate, audio.durations, pitch)
