"""The shipped models render what they always rendered.

`reference_renders.json` holds, clip by clip, what the default settings gave in one thread: a hash, and some samples of
each clip. Bits depend on the processor and on torch, so the hash counts where both are those of the file, and the
samples count everywhere. Where a change is meant to change bits, `python tests/pipelines/test_reference_renders.py`
writes the file anew and prints how far each clip is from the one before, of its peak.
"""

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch

from audiodiff import Audio, AudioGenerator, Vocoder
from audiodiff.audio.excitation import accumulate_phase, pulse_train
from audiodiff.evaluation.environment import processor

FILE = Path(__file__).with_name("reference_renders.json")
POINTS = 128  # samples of each clip that are stored, evenly spaced
ENVIRONMENT = {"cpu": processor(), "torch": torch.__version__, "simd": torch.backends.cpu.get_cpu_capability()}


def gliding_voice(seconds: float, sample_rate: int, lowest: float) -> Audio:
    """Harmonics of a pitch that rises by an octave, swelling twice a second, above a little noise."""
    samples = int(seconds * sample_rate)
    f0 = lowest * 2 ** torch.linspace(0, 1, samples, dtype=torch.float64)[None]
    tone = pulse_train(accumulate_phase(f0, sample_rate), f0, sample_rate)[0]
    swell = torch.sin(2 * math.pi * torch.arange(samples) / sample_rate).square()
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Audio((0.1 * tone * swell + 0.005 * noise).float(), sample_rate)


def speech(name: str) -> dict[str, torch.Tensor]:
    """Copy synthesis of four voices by a vocoder, alone and as a batch, and in a single step."""
    vocoder = Vocoder.from_pretrained(name)
    voices = [
        gliding_voice(seconds, 16000, lowest) for seconds, lowest in ((1.2, 90), (0.7, 120), (2.0, 160), (0.3, 210))
    ]
    mels = [vocoder.mel(voice) for voice in voices]
    clips = {f"{name} alone, {i}": vocoder.generate(mel, clip_seeds=[i]).samples for i, mel in enumerate(mels)}
    batch = vocoder.generate(mels, clip_seeds=[0, 1, 2, 3])
    clips |= {f"{name} batch, {i}": audio.samples for i, audio in enumerate(batch)}
    return clips | {f"{name} one step": vocoder.generate(mels[0], 1, clip_seeds=[0]).samples}


def speech_16k() -> dict[str, torch.Tensor]:
    """Speech by the vocoder of `speech_16k` mels."""
    return speech("speech-16k")


def speech_16k_fine() -> dict[str, torch.Tensor]:
    """Speech by the vocoder of `speech_16k_fine` mels."""
    return speech("speech-16k-fine")


def drums() -> dict[str, torch.Tensor]:
    """Drum strokes: of any kind, and of one kind with guidance."""
    generator = AudioGenerator.from_pretrained("drums")
    clips = {f"drums, {i}": clip(generator, i) for i in range(3)}
    return clips | {"drums kick, guidance 2": clip(generator, 0, labels=["kick"], guidance_scale=2.0)}


def music() -> dict[str, torch.Tensor]:
    """Clips by `music`: one window, several windows, a loop, a tempo in several windows, a variation."""
    generator = AudioGenerator.from_pretrained("music")
    given = gliding_voice(2.0, generator.sample_rate, 110)
    given = Audio(given.samples.expand(2, -1), given.sample_rate)
    return {
        "music": clip(generator, 0),
        "music, 20 s": clip(generator, 1, seconds=20),
        "music, loop": clip(generator, 2, seconds=4, loop=True),
        "music, 120 BPM": clip(generator, 4, seconds=14, tempo=120.0),
        "music, variation": clip(generator, 3, init_audio=given, init_noise_level=0.4),
    }


def clip(generator: AudioGenerator, clip_seed: int, **options) -> torch.Tensor:
    return generator.generate(clip_seeds=[clip_seed], **options).samples[0]


def rendered(models) -> dict[str, torch.Tensor]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return models()
    finally:
        torch.set_num_threads(threads)


def fingerprint(samples: torch.Tensor) -> dict:
    samples = samples.contiguous()
    flat = samples.flatten()
    picked = flat[torch.linspace(0, len(flat) - 1, POINTS).long()]
    return {
        "shape": list(samples.shape),
        "sha256": hashlib.sha256(samples.numpy().tobytes()).hexdigest(),
        "peak": float(samples.abs().max()),
        "samples": [float(f"{value:.7g}") for value in picked.tolist()],
    }


def distance(found: dict, reference: dict) -> float:
    """The largest difference of the stored samples, of the reference's peak."""
    pairs = zip(found["samples"], reference["samples"], strict=True)
    return max(abs(a - b) for a, b in pairs) / reference["peak"]


MODELS = (speech_16k, speech_16k_fine, drums, music)


@pytest.mark.parametrize("models", MODELS, ids=lambda models: models.__name__)
def test_default_renders_are_those_of_the_reference(models):
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    for name, samples in rendered(models).items():
        found, reference = fingerprint(samples), stored["clips"][name]
        assert found["shape"] == reference["shape"], name
        if stored["environment"] == ENVIRONMENT:
            assert found["sha256"] == reference["sha256"], f"{name}: {distance(found, reference):.1e} of the peak away"
        assert distance(found, reference) < 1e-3, name


if __name__ == "__main__":
    before = json.loads(FILE.read_text(encoding="utf-8"))["clips"] if FILE.exists() else {}
    clips = {name: fingerprint(samples) for models in MODELS for name, samples in rendered(models).items()}
    for name, found in clips.items():
        if name in before and found["sha256"] != before[name]["sha256"]:
            print(f"{name}: {distance(found, before[name]):.1e} of the peak from the reference before")
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in clips.items())  # a clip a line
    text = f'{{\n "environment": {json.dumps(ENVIRONMENT)},\n "clips": {{\n{rows}\n }}\n}}\n'
    FILE.write_text(text, encoding="utf-8")
