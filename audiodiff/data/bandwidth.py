"""Selection of recordings by bandwidth: many have less than half of their sample rate, after upsampling or filtering.

Measurements are cached in a file beside the manifest, by the hash of the samples, so that a run that is started again
or resumed reads no recording for them.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from audiodiff.audio.io import probe, read
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.files import write_text

NAME = ".bandwidth.json"
WIDTH = 1000.0  # Hz, of the band below the frequency that is looked for
REFERENCE = (100.0, 5500.0)  # Hz, that it is compared with
LEAST_DB = -50.0  # power density, relative to that of the reference; filters and dither leave less
_N_FFT = 2048


def reaches(samples: Tensor, sample_rate: float, frequency: float) -> bool:
    """Whether a recording (T,) has sound up to a frequency in Hz: at least -50 dB of its density below 5.5 kHz."""
    if frequency > sample_rate / 2:
        return False
    padded = torch.nn.functional.pad(samples.float(), (0, max(_N_FFT - len(samples), 0)))
    window = torch.hann_window(_N_FFT)
    spectrum = torch.stft(padded, _N_FFT, _N_FFT // 2, window=window, center=False, return_complex=True)
    power = spectrum.abs().square().mean(-1)
    hertz = torch.arange(len(power)) * sample_rate / _N_FFT
    top = power[(hertz >= frequency - WIDTH) & (hertz < frequency)].mean()
    reference = power[(hertz >= REFERENCE[0]) & (hertz < REFERENCE[1])].mean()
    return bool(reference > 0) and bool(top > 10 ** (LEAST_DB / 10) * reference)


def with_bandwidth(manifests: Sequence[Manifest], frequency: float) -> list[Manifest]:
    """The clips of manifests that reach a frequency in Hz; a file is read once, if its sample rate allows it.

    Raises:
        UserError: no training clip of any manifest does.
    """
    found = [_with_bandwidth(manifest, frequency) for manifest in manifests]
    if not any(clip.split == "train" for manifest in found for clip in manifest.clips):
        problem = f"no training clip reaches it, of {sum(map(len, manifests))} clips"
        raise UserError(f"data.min_bandwidth {frequency:g}", problem, "set less, or null")
    return found


def _with_bandwidth(manifest: Manifest, frequency: float) -> Manifest:
    path = manifest.root / NAME
    measured, key = _load(path), f"{frequency:g} Hz, {WIDTH:g} Hz wide, {LEAST_DB:g} dB"
    known = dict(measured.get(key, {}))
    before, chosen = len(known), []
    for clip in tqdm(manifest.clips, desc=f"clips that reach {frequency:g} Hz", unit="clip", leave=False):
        reached = known.get(clip.content)
        if reached is None:
            reached = _reaches(manifest, clip, frequency)
            if clip.content:  # else nothing says whether the file has changed
                known[clip.content] = reached
        if reached:
            chosen.append(clip)
    if len(known) > before:
        with suppress(UserError):  # in a folder that cannot be written to it is measured again
            write_text(path, json.dumps(measured | {key: known}, sort_keys=True))
    return replace(manifest, clips=tuple(chosen))


def _reaches(manifest: Manifest, clip: Clip, frequency: float) -> bool:
    path = manifest.path(clip)
    if frequency > probe(path).sample_rate / 2:
        return False
    audio = read(path)
    return reaches(audio.samples, audio.sample_rate, frequency)


def _load(path: Path) -> dict[str, dict[str, bool]]:
    """What was measured before, by what it was measured with and by clip; nothing of a file that is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: {clip: value for clip, value in clips.items() if isinstance(value, bool)}
        for key, clips in found.items()
        if isinstance(clips, dict)
    }
