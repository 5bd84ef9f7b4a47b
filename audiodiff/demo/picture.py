"""Pictures of sound for the page: a waveform above a spectrogram, on one time axis, as a small JPEG.

They are drawn at every step of a sampler, for every visitor. So they are arrays of the width of the picture, mapped by
a table of colors; the page itself writes the numbers at the axes.
"""

import base64
import io
from functools import cache

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image
from torch import Tensor, nn

from audiodiff.audio.io import Audio

WIDTH, WAVE, SPECTRUM = 720, 56, 150  # pixels
RANGE_DB = 90.0  # below the loudest point
_FFT_SECONDS = 0.046  # of a window of the spectrogram, about
_WAVE_COLOR, _BACKGROUND = 0.72, 0.08  # in the table of colors
_QUALITY = 80


def picture(audio: Audio) -> str:
    """The waveform and the spectrogram of audio (T,) or (C, T), as a data URL.

    Channels are mixed for the spectrogram; the waveform shows the lowest and the highest sample of all of them.
    """
    samples = torch.atleast_2d(audio.samples.detach().float().cpu())
    if not samples.shape[-1]:
        samples = torch.zeros(1, 1)
    return _encode(np.concatenate([_waveform(samples), _spectrum(samples.mean(0), audio.sample_rate)]))


def mel_picture(mel: Tensor) -> str:
    """A log-mel (M, F), low bands at the bottom, as a data URL."""
    values = mel.detach().float().cpu()
    low, high = values.amin(), values.amax()
    scaled = (values - low) / (high - low).clamp(min=1e-6)
    return _encode(_resized(scaled).flip(0).numpy())


def _waveform(samples: Tensor) -> np.ndarray:
    """(WAVE, WIDTH) of 0 to 1: filled between the lowest and highest sample (C, T) of each column."""
    padded = samples.clamp(-1, 1)
    if padded.shape[-1] < WIDTH:
        padded = padded.repeat_interleave(-(-WIDTH // padded.shape[-1]), -1)
    high = nn.functional.adaptive_max_pool1d(padded, WIDTH).amax(0)
    low = -nn.functional.adaptive_max_pool1d(-padded, WIDTH).amax(0)
    rows = torch.linspace(1, -1, WAVE)[:, None]
    half = 1 / WAVE  # of a row: silence is a line
    filled = (rows <= high + half) & (rows >= low - half)
    return torch.where(filled, _WAVE_COLOR, _BACKGROUND).numpy()


def _spectrum(samples: Tensor, sample_rate: int) -> np.ndarray:
    """(SPECTRUM, WIDTH) of 0 to 1: dB below the loudest point of a signal (T,), high frequencies at the top."""
    n_fft = 2 ** max(6, round(np.log2(_FFT_SECONDS * sample_rate)))
    hop = max(1, min(n_fft // 4, len(samples) // WIDTH)) if len(samples) < WIDTH * n_fft else len(samples) // WIDTH
    window = torch.hann_window(n_fft)
    found = torch.stft(samples, n_fft, hop, window=window, return_complex=True, pad_mode="constant").abs()
    decibels = 20 * (found / found.max().clamp(min=1e-9)).clamp(min=1e-9).log10()
    return _resized((decibels / RANGE_DB + 1).clamp(0, 1)).flip(0).numpy()


def _resized(values: Tensor) -> Tensor:
    """(SPECTRUM, WIDTH) of values (F, T): the largest where there are more, else each repeated."""
    rows, columns = max(values.shape[0], SPECTRUM), max(values.shape[1], WIDTH)
    larger = nn.functional.interpolate(values[None, None], (rows, columns), mode="nearest")
    return nn.functional.adaptive_max_pool2d(larger, (SPECTRUM, WIDTH))[0, 0]


@cache
def _colors() -> np.ndarray:
    return (colormaps["magma"](np.arange(256))[:, :3] * 255).astype(np.uint8)


def _encode(values: np.ndarray) -> str:
    """Values of 0 to 1 as a JPEG in a data URL."""
    image = Image.fromarray(_colors()[(values * 255).astype(np.uint8)])
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
