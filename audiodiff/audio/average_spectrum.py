"""The average spectrum of a data set, as a whitening filter and its inverse.

Sound has most of its power at low frequencies; above a few kHz it is 40 dB or more below. Under white noise the high
frequencies would be masked at nearly all noise levels, be learned last, and be generated as hiss. Divided by the
average magnitude at each frequency, the recordings have about unit variance at all of them, and white noise added there
is, in the domain of the recordings, noise with their average spectrum (as in SpecGrad, Koizumi et al. 2022, but the
same for all clips).

Both filters have minimum phase (Oppenheim and Schafer, Discrete-Time Signal Processing, section 13.2: the phase is the
Hilbert transform of the log magnitude). They are causal: nothing sounds before a signal begins, and a truncated output
does not depend on what follows. At any length they are inverse to each other.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.mel import scale as mel_scale
from audiodiff.errors import UserError
from audiodiff.precision import double, float64_device

BANDS = 48
_N_FFT = 2048
_FINE = 2**17  # points of the filters' spectrum; wrap-around in time is below rounding
_RANGE_DB = 80.0  # no band is amplified by more than this relative to the loudest


class AverageSpectrum:
    """A smooth average spectrum.

    Args:
        decibels: standard deviation in bands evenly spaced on the mel scale, from 0 Hz to half the sample rate
            inclusive, in dB relative to white noise of variance 1.
        sample_rate: Hz.

    Raises:
        ValueError: fewer than two bands, or a value that is not finite.
    """

    def __init__(self, decibels: Sequence[float], sample_rate: int):
        if len(decibels) < 2 or not np.isfinite(decibels).all():
            raise ValueError(f"a spectrum needs two finite bands or more, got {list(decibels)}")
        self.decibels, self.sample_rate = [float(value) for value in decibels], int(sample_rate)
        self._responses: dict[float, Tensor] = {}

    @classmethod
    def from_signals(cls, signals: Iterable[Tensor], sample_rate: int, bands: int = BANDS) -> "AverageSpectrum":
        """Measure the average spectrum of signals (..., T), each with equal weight.

        Raises:
            UserError: all signals are silent.
        """
        window = torch.hann_window(_N_FFT)
        powers = []
        for signal in signals:
            pieces = torch.nn.functional.pad(signal.float(), (_N_FFT // 2, _N_FFT)).unfold(-1, _N_FFT, _N_FFT // 4)
            spectrum = torch.fft.rfft(pieces * window).abs().square() / window.square().sum()
            # Per sample of the signal, not per piece: padding does not count.
            fraction = pieces.shape[-2] * (_N_FFT // 4) / max(signal.shape[-1], 1)
            powers.append(spectrum.flatten(0, -2).mean(0) * fraction)
        power = torch.stack(powers).cpu().double().mean(0).numpy() if powers else np.zeros(_N_FFT // 2 + 1)
        if not power.any():
            raise UserError("the data", "is silent", "prepare recordings that are not")
        hertz = np.linspace(0, sample_rate / 2, _N_FFT // 2 + 1)
        weights = mel_scale.triangles(_corners(bands, sample_rate), hertz)
        means = (weights @ power) / np.maximum(weights.sum(1), 1e-12)
        # The lowest bands may lie between two bins: there the spectrum is interpolated, not averaged.
        means = np.where(weights.sum(1) > 1, means, np.interp(_centers(bands, sample_rate), hertz, power))
        decibels = 10 * np.log10(np.maximum(means, means.max() * 10 ** (-_RANGE_DB / 10)))
        return cls(decibels.round(3).tolist(), sample_rate)

    @property
    def hertz(self) -> np.ndarray:
        """Center frequency of each band, Hz."""
        return _centers(len(self.decibels), self.sample_rate)

    def whiten(self, signal: Tensor) -> Tensor:
        """Filter signals (..., T) with this spectrum to a flat one."""
        return self._filter(signal, -1.0)

    def color(self, signal: Tensor) -> Tensor:
        """Inverse of `whiten`; both are differentiable."""
        return self._filter(signal, 1.0)

    def gain(self, hertz: Tensor) -> Tensor:
        """Standard deviation at frequencies in Hz, interpolated between the bands in dB over mels."""
        mels = mel_scale.mel_from_hz(hertz.cpu().double().numpy(), "slaney")
        centers = mel_scale.mel_from_hz(_centers(len(self.decibels), self.sample_rate), "slaney")
        decibels = np.interp(mels, centers, self.decibels)
        return torch.from_numpy(10 ** (decibels / 20)).to(hertz)

    def _filter(self, signal: Tensor, sign: float) -> Tensor:
        samples, dtype = signal.shape[-1], torch.promote_types(signal.dtype, torch.float32)
        response = self._response(sign).to(float64_device(signal.device))[:samples]
        length = 1 << (samples + len(response) - 2).bit_length()  # a power of two without wrap-around
        with torch.autocast(response.device.type, enabled=False):
            # In float64: a filter over 100 dB costs five digits.
            spectrum = torch.fft.rfft(double(signal), n=length) * torch.fft.rfft(response, n=length)
            return torch.fft.irfft(spectrum, n=length)[..., :samples].to(signal.device, dtype)

    def _response(self, sign: float) -> Tensor:
        """Impulse response (_FINE / 2,) of the causal filter with this gain to the power of `sign`, by the cepstrum."""
        if sign not in self._responses:
            hertz = torch.linspace(0, self.sample_rate / 2, _FINE // 2 + 1, dtype=torch.float64)
            cepstrum = torch.fft.irfft(sign * self.gain(hertz).log(), n=_FINE)
            cepstrum[1 : _FINE // 2] *= 2
            cepstrum[_FINE // 2 + 1 :] = 0
            self._responses[sign] = torch.fft.irfft(torch.fft.rfft(cepstrum).exp(), n=_FINE)[: _FINE // 2]
        return self._responses[sign]


def filter_like(signal: Tensor, other: Tensor, sample_rate: int, most_db: float) -> Tensor:
    """Filter a signal to the average spectrum of another one, with zero phase.

    Args:
        signal: (C, T), not silent.
        other: (C', T'), not silent; its level does not matter.
        sample_rate: of both, in Hz.
        most_db: largest change of a frequency relative to the signal's mean change; what a signal hardly has cannot be
            raised without end.

    Returns:
        (C, T).

    Raises:
        UserError: one of the two is silent.
    """
    spectra = [AverageSpectrum.from_signals([one], sample_rate) for one in (signal, other)]
    length = 1 << (signal.shape[-1] + _N_FFT - 1).bit_length()  # no wrap-around
    spectrum = torch.fft.rfft(double(signal), n=length)
    gains = [one.gain(torch.fft.rfftfreq(length, 1 / sample_rate).double()) for one in spectra]
    decibels = 20 * (gains[1] / gains[0]).log10()
    power = spectrum.abs().square().mean(0)
    change = (decibels - (decibels * power).sum() / power.sum()).clamp(-most_db, most_db)
    return torch.fft.irfft(spectrum * 10 ** (change / 20), n=length)[..., : signal.shape[-1]].to(signal.dtype)


def _centers(bands: int, sample_rate: int) -> np.ndarray:
    return mel_scale.corners(bands - 2, 0, sample_rate / 2, "slaney")


def _corners(bands: int, sample_rate: int) -> np.ndarray:
    """Corners of triangles around the centers; the first and the last extend beyond the ends."""
    centers = _centers(bands, sample_rate)
    beyond = mel_scale.hz_from_mel(mel_scale.mel_from_hz(sample_rate / 2, "slaney") * bands / (bands - 1), "slaney")
    return np.concatenate([[-centers[1]], centers, [beyond]])
