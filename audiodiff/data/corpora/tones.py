"""Synthetic clips for smoke runs and tests: harmonic tones with a gliding pitch and a moving formant."""

from collections.abc import Sequence
from pathlib import Path

import torch

from audiodiff.audio.io import Audio, write
from audiodiff.data.manifest import Clip, Manifest


def tone(seed: int, samples: int, sample_rate: int) -> torch.Tensor:
    """One voice-like tone (samples,), a pure function of its arguments."""
    generator = torch.Generator().manual_seed(seed)
    start, end, formant = torch.rand(3, generator=generator).tolist()
    time = torch.linspace(0, 1, samples)
    pitch = 100 + 150 * start + 100 * (end - 0.5) * time
    phase = 2 * torch.pi * torch.cumsum(pitch / sample_rate, 0)
    harmonics = torch.arange(1, 21)[:, None]
    center = 500 + 1500 * formant + 600 * torch.sin(2 * torch.pi * 2 * time)
    amplitude = torch.exp(-(((harmonics * pitch - center) / 600) ** 2)) + 0.05
    amplitude = amplitude * (harmonics * pitch < sample_rate / 2)
    voice = (amplitude * torch.sin(harmonics * phase)).sum(0)
    breath = 0.01 * torch.randn(samples, generator=generator)
    swell = torch.sin(torch.pi * time).clamp(min=0).sqrt()
    return 0.05 * swell * voice + breath


def caption(seed: int) -> str:
    """Description of the tone of a seed: it is low or high, and its pitch falls or rises."""
    start, end, _ = torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()
    return f"{'high' if start > 0.5 else 'low'} tone, {'rising' if end > 0.5 else 'falling'}"


_PHONEMES = "həlˈO."  # of a tone that stands for a sentence, all of the same duration


def write_tones(
    folder: str | Path,
    clips: int = 12,
    seconds: float = 1.5,
    sample_rate: int = 16000,
    labels: Sequence[str] = (),
    speakers: Sequence[str] = (),
) -> Manifest:
    """Write `clips` tones as FLAC with a manifest: two thirds in the training split, the rest held out.

    Args:
        folder: of the manifest.
        clips: how many.
        seconds: duration of each.
        sample_rate: Hz.
        labels: assigned to the clips in turn.
        speakers: assigned to the clips in turn, which then have phonemes, durations and pitch, too.
    """
    folder = Path(folder)
    entries = []
    for i in range(clips):
        split = "train" if i % 3 else ("validation" if i % 2 else "test")
        path = f"tones/{i:03}.flac"
        write(folder / path, Audio(tone(i, round(seconds * sample_rate), sample_rate), sample_rate))
        entries.append(
            Clip(
                id=f"tones/{i:03}",
                path=path,
                seconds=round(seconds * sample_rate) / sample_rate,
                sample_rate=sample_rate,
                speaker=speakers[i % len(speakers)] if speakers else "synthetic tone",
                split=split,
                license="CC0-1.0",
                source="synthetic, made by audiodiff",
                synthetic=True,
                caption=caption(i),
                label=labels[i % len(labels)] if labels else "",
                **(_spoken(round(seconds * sample_rate) / sample_rate) if speakers else {}),
            )
        )
    manifest = Manifest(tuple(entries), folder)
    manifest.save()
    return manifest


def _spoken(seconds: float) -> dict:
    """What a manifest says of a sentence of this duration."""
    parts = len(_PHONEMES) + 2
    spoken = {"text": "Hello.", "language": "en-us", "phonemes": _PHONEMES}
    return spoken | {"durations": (seconds / parts,) * parts, "pitch": (0.0, *(150.0,) * (parts - 2), 0.0)}
