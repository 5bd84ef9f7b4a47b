"""A voice without networks, and a manifest of its recordings: every phoneme is a tone of the speaker's pitch."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
import torch

from audiodiff.audio.io import Audio
from audiodiff.audio.mel import PRESETS
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.metrics.prosody import Timed, timed

RATE = 24000
PITCHES = {"low": 110.0, "high": 220.0}  # Hz
SECONDS = 0.08  # of a phoneme
TEXTS = ("Six sheep.", "She sees.", "Fish and chips.", "A safe sea.", "No, not yet.", "Some of these.")


def sound(phonemes: str, f0: float, seconds: float) -> np.ndarray:
    """A tone for every symbol, without fricative noise."""
    time = np.arange(round((len(phonemes) + 2) * seconds * RATE)) / RATE
    return (0.1 * sum(np.sin(2 * np.pi * f0 * k * time) / k for k in range(1, 12))).astype(np.float32)


@dataclass
class Synthesizer:
    """The interface of `SpeechSynthesizer` that evaluations use; `pitch` is broken if `deaf`."""

    speakers: tuple[str, ...] = tuple(PITCHES)
    language: str = "en-us"
    deaf: bool = False

    def __post_init__(self):
        self.said = []
        network = torch.nn.Linear(2, 2)
        self.model = SimpleNamespace(
            TYPE="acoustic",
            speakers=self.speakers,
            language=self.language,
            default_steps=4,
            sampler="recommended",
            mel_spec=PRESETS["vocos_24k"],
            parameters=network.parameters,
        )
        self.vocoder = SimpleNamespace(model=network, model_hash="v" * 64, resynthesize=lambda audio, seed: audio)
        self.sample_rate, self.device = RATE, torch.device("cpu")
        self.model_hash, self.training = "m" * 64, {"steps": 1}

    def say(self, text, speaker=None, rate=1.0, pitch=0.0, steps=None, seed=0, **options):
        self.said.append({"text": text, "speaker": speaker, "steps": steps, "seed": seed} | options)
        f0 = PITCHES[speaker or "low"] * 2 ** (0 if self.deaf else pitch / 12)
        symbols = timed(text, [SECONDS / rate] * (len(text) + 2))
        symbols = (Timed("", 0.0, SECONDS / rate), *symbols)  # silence
        audio = Audio(torch.from_numpy(sound(text, f0, SECONDS / rate)), RATE)
        return SimpleNamespace(audio=audio, text=text, phonemes=symbols, words=())

    def stream(self, text, **options):
        yield self.say(text[:20], **options)


def write_recordings(root: Path, language: str = "en-us") -> Manifest:
    """Twelve recordings: every text by every speaker, 25 % slower than the voice."""
    root.mkdir(parents=True, exist_ok=True)
    clips = []
    for number, text in enumerate(TEXTS):
        for speaker, f0 in PITCHES.items():
            samples = sound(text, f0, 1.25 * SECONDS)
            soundfile.write(root / f"{speaker}{number}.wav", samples, RATE)
            durations = (len(samples) / RATE / (len(text) + 2),) * (len(text) + 2)
            clip = Clip(f"made/{speaker}{number}", f"{speaker}{number}.wav", len(samples) / RATE, RATE, text, speaker)
            clips.append(replace(clip, split="test", language=language, phonemes=text, durations=durations))
    manifest = Manifest(tuple(clips), root)
    manifest.save()
    return manifest
