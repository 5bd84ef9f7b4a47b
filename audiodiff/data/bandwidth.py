"""Which recordings reach a frequency: a sample rate does not tell, since many were upsampled or filtered."""

from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from audiodiff.audio.io import probe, read
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError

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


def with_bandwidth(manifest: Manifest, frequency: float) -> Manifest:
    """The clips of a manifest that reach a frequency in Hz; a file is read if its sample rate allows it.

    Raises:
        UserError: no training clip does.
    """
    clips = tqdm(manifest.clips, desc=f"clips that reach {frequency:g} Hz", unit="clip", leave=False)
    chosen = [clip for clip in clips if _reaches(manifest, clip, frequency)]
    if not any(clip.split == "train" for clip in chosen):
        problem = f"no training clip reaches it, of {len(manifest.clips)} clips"
        raise UserError(f"data.min_bandwidth {frequency:g}", problem, "set less, or null")
    return replace(manifest, clips=tuple(chosen))


def _reaches(manifest: Manifest, clip: Clip, frequency: float) -> bool:
    path = manifest.path(clip)
    if frequency > probe(path).sample_rate / 2:
        return False
    audio = read(path)
    return reaches(audio.samples, audio.sample_rate, frequency)
