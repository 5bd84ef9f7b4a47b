"""Mel spectrograms and the contract that says which kind one is.

A log-mel is `log(max(floor, F |X|^p))`: X the short-time Fourier transform of the padded waveform (Hann window), F a
bank of triangular filters, p the power. Every choice in this line is a field of `MelSpec`; two mels can be exchanged
only when all fields agree, because a vocoder trained on one kind turns another kind into noise without complaint.

Frame k is centered at sample `spec.offset + k * hop_length`: with `center` the signal is padded by n_fft/2 on both
sides (librosa, torchaudio, Tacotron 2; offset 0, 1 + T // hop frames), without it by (n_fft - hop) / 2 (HiFi-GAN and
its descendants; offset hop/2, T // hop frames).
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache, wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiodiff.audio.mel.scale import corners, triangles
from audiodiff.errors import UserError

_CHOICES = {
    "power": (1, 2),
    "mel_scale": ("slaney", "htk"),
    "norm": ("slaney", None),
    "log_base": ("e", "10", "db"),
    "center": (True, False),
    "padding": ("reflect", "constant"),
    "version": (1,),
}
# Whole numbers from 1; the largest keep the filter bank within a quarter of a gigabyte.
_COUNTS = {"sample_rate": 10**6, "n_fft": 2**16, "hop_length": 2**16, "win_length": 2**16, "n_mels": 2**10}
_QUIETEST = 1e-30  # of float32, which a floor must not underflow


@dataclass(frozen=True)
class MelSpec:
    """Everything that decides the numbers in a log-mel.

    Attributes:
        sample_rate: Hz.
        n_fft: length of the Fourier transform, samples.
        hop_length: samples from frame to frame.
        win_length: length of the (periodic) Hann window, samples, centered in n_fft.
        n_mels: bands.
        f_min: lower edge of the first band, Hz.
        f_max: upper edge of the last band, Hz.
        power: 1 sums magnitudes, 2 sums powers.
        mel_scale: "slaney" (linear below 1 kHz; librosa) or "htk" (torchaudio's default).
        norm: "slaney" divides each filter by half its width in Hz, None leaves peaks at 1.
        log_base: "e", "10", or "db" (20 log10 of magnitudes, 10 log10 of powers).
        log_floor: smallest linear value, applied before the logarithm.
        center: padding n_fft/2 (True) or (n_fft - hop_length)/2 (False) on both sides.
        padding: "reflect" or "constant" (zeros).
        power_offset: added to re^2 + im^2 (HiFi-GAN: 1e-9).
        version: of this contract.

    Raises:
        UserError: a field is out of its range; the message names it.
    """

    sample_rate: int
    n_fft: int
    hop_length: int
    win_length: int
    n_mels: int
    f_min: float
    f_max: float
    power: int
    mel_scale: str
    norm: str | None
    log_base: str
    log_floor: float
    center: bool
    padding: str
    power_offset: float = 0.0
    version: int = 1

    def __post_init__(self):
        """Check every field, then the fields against each other."""
        for name, most in _COUNTS.items():
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise UserError(f"mel spec, {name}", f"{value!r} is not a whole number above 0")
            if value > most:
                raise UserError(f"mel spec, {name}", f"{value} is above {most}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"mel spec, {name}", f"{getattr(self, name)!r} is not one of {choices}")
        for name in ("f_min", "f_max", "log_floor", "power_offset"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise UserError(f"mel spec, {name}", f"{value!r} is not a number")
        for name, problem in self._contradictions():
            raise UserError(f"mel spec, {name}", problem)

    def _contradictions(self):
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            yield "f_max", f"0 <= f_min < f_max <= sample_rate / 2 does not hold for {self.f_min} and {self.f_max}"
        if self.n_mels < 2:
            yield "n_mels", "one band is no spectrogram"
        if self.win_length > self.n_fft:
            yield "win_length", f"{self.win_length} is longer than n_fft = {self.n_fft}"
        if self.hop_length * 2 > self.win_length:
            yield "hop_length", f"{self.hop_length} is more than half of win_length = {self.win_length}"
        if self.log_floor < _QUIETEST:
            yield "log_floor", f"{self.log_floor} is below {_QUIETEST}, what float32 can hold"
        if self.power_offset < 0:
            yield "power_offset", f"{self.power_offset} is below 0"

    @property
    def bins(self) -> int:
        """Frequencies of the Fourier transform, from 0 to half the sample rate."""
        return self.n_fft // 2 + 1

    @property
    def pad(self) -> int:
        """Samples put before and after the signal."""
        return self.n_fft // 2 if self.center else (self.n_fft - self.hop_length) // 2

    @property
    def offset(self) -> int:
        """The sample at which frame 0 is centered."""
        return self.n_fft // 2 - self.pad

    def frames(self, samples: int | Tensor) -> int | Tensor:
        """How many frames a signal of `samples` samples has."""
        return 1 + (samples + 2 * self.pad - self.n_fft) // self.hop_length

    @property
    def _log_scale(self) -> float:
        return {"e": 1.0, "10": 1 / math.log(10), "db": (20 if self.power == 1 else 10) / math.log(10)}[self.log_base]

    def compress(self, linear: Tensor) -> Tensor:
        """Linear mel -> log-mel, any shape."""
        return linear.clamp(min=self.log_floor).log() * self._log_scale

    def expand(self, mel: Tensor) -> Tensor:
        """Log-mel -> linear mel, any shape."""
        return (mel / self._log_scale).exp()

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "MelSpec":
        """The inverse of `to_dict`.

        Raises:
            UserError: not a mapping, a field is missing, unknown or out of range.
        """
        if not isinstance(values, dict):
            raise UserError("mel spec", f"expected fields and values, got {values!r:.60}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise UserError(
                "mel spec", f"unknown fields: {', '.join(unknown)}", f"known are {', '.join(sorted(known))}"
            )
        if missing := sorted(known - values.keys() - {"power_offset", "version"}):
            raise UserError("mel spec", f"missing fields: {', '.join(missing)}", f"or name one of {', '.join(PRESETS)}")
        return cls(**values)

    @classmethod
    def preset(cls, name: str) -> "MelSpec":
        """The spec of this name in `PRESETS`.

        Raises:
            UserError: there is none; the message lists the names.
        """
        if name not in PRESETS:
            raise UserError(f"mel spec {name!r}", "there is none of this name", f"known are {', '.join(PRESETS)}")
        return PRESETS[name]

    def differences(self, other: "MelSpec") -> list[str]:
        """The fields in which `other` differs, as `name: mine != theirs`; empty when the mels are exchangeable."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [f"{name}: {mine[name]} != {theirs[name]}" for name in mine if mine[name] != theirs[name]]


PRESETS: dict[str, MelSpec] = {
    "speech_16k": MelSpec(
        sample_rate=16000,
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        n_mels=80,
        f_min=0.0,
        f_max=8000.0,
        power=1,
        mel_scale="slaney",
        norm="slaney",
        log_base="e",
        log_floor=1e-5,
        center=True,
        padding="reflect",
    ),
    # HiFi-GAN (Kong et al. 2020), configuration V1, and the checkpoints that follow it.
    "hifigan_22k": MelSpec(
        sample_rate=22050,
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        n_mels=80,
        f_min=0.0,
        f_max=8000.0,
        power=1,
        mel_scale="slaney",
        norm="slaney",
        log_base="e",
        log_floor=1e-5,
        center=False,
        padding="reflect",
        power_offset=1e-9,
    ),
    # Tacotron 2 and WaveGlow as published by NVIDIA: as HiFi-GAN's, but centered frames and plain magnitudes.
    "tacotron2_22k": MelSpec(
        sample_rate=22050,
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        n_mels=80,
        f_min=0.0,
        f_max=8000.0,
        power=1,
        mel_scale="slaney",
        norm="slaney",
        log_base="e",
        log_floor=1e-5,
        center=True,
        padding="reflect",
    ),
    # Vocos (Siuzdak 2023), the 24 kHz mel model: torchaudio's defaults.
    "vocos_24k": MelSpec(
        sample_rate=24000,
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        n_mels=100,
        f_min=0.0,
        f_max=12000.0,
        power=1,
        mel_scale="htk",
        norm=None,
        log_base="e",
        log_floor=1e-7,
        center=True,
        padding="reflect",
    ),
}


def _constant(make: Callable[[MelSpec], Tensor]) -> Callable[..., Tensor]:
    """Remember `make(spec)` and its copies in other dtypes and on other devices."""

    @lru_cache(maxsize=32)
    @torch.inference_mode(False)  # else what is first asked for while rendering could not be used in training
    def remembered(spec: MelSpec, dtype: torch.dtype | None, device: torch.device | None) -> Tensor:
        return make(spec) if dtype is None else remembered(spec, None, None).to(device, dtype)

    @wraps(make)
    def constant(spec: MelSpec, like: Tensor | None = None) -> Tensor:
        return remembered(spec, None, None) if like is None else remembered(spec, like.dtype, like.device)

    return constant


@_constant
def filterbank(spec: MelSpec) -> Tensor:
    """The triangular filters, (bins, M), float64 on the CPU or as `like`.

    Raises:
        UserError: bands so narrow that no frequency of the transform falls into them.
    """
    hz = corners(spec.n_mels, spec.f_min, spec.f_max, spec.mel_scale)
    weights = triangles(hz, np.fft.rfftfreq(spec.n_fft, 1 / spec.sample_rate))
    if spec.norm == "slaney":
        weights *= 2 / (hz[2:] - hz[:-2])[:, None]
    if not (weights.max(1) > 0).all():
        raise UserError("mel spec, n_mels", f"some of {spec.n_mels} bands hold no bin", "take fewer, or a larger n_fft")
    return torch.from_numpy(weights.T.copy())


@_constant
def interpolation(spec: MelSpec) -> Tensor:
    """Weights (M, bins): values per band -> per bin, linear in Hz between the bands' peaks, held outside."""
    peaks = torch.from_numpy(corners(spec.n_mels, spec.f_min, spec.f_max, spec.mel_scale)[1:-1])
    bins = torch.arange(spec.bins, dtype=torch.float64) * spec.sample_rate / spec.n_fft
    right = torch.searchsorted(peaks, bins).clamp(1, spec.n_mels - 1)
    share = ((bins - peaks[right - 1]) / (peaks[right] - peaks[right - 1])).clamp(0, 1)
    weights = torch.zeros(spec.n_mels, spec.bins, dtype=torch.float64)
    weights.scatter_(0, right[None], share[None])
    return weights.scatter_(0, right[None] - 1, 1 - share[None])


@_constant
def window(spec: MelSpec) -> Tensor:
    """The analysis window, centered in (n_fft,)."""
    hann = torch.hann_window(spec.win_length, dtype=torch.float64)
    before = (spec.n_fft - spec.win_length) // 2
    return F.pad(hann, (before, spec.n_fft - spec.win_length - before))


@lru_cache(maxsize=32)
def full_scale(spec: MelSpec) -> float:
    """A linear mel that no signal within +-1 exceeds: each frequency has at most the sum of the window."""
    power = float(window(spec).sum()) ** 2 + spec.power_offset
    return float(filterbank(spec).sum(0).max()) * power ** (spec.power / 2)


def pad_waveform(waveform: Tensor, spec: MelSpec, samples: Tensor | None = None) -> Tensor:
    """Pad (B, T) as the spec does: -> (B, T + 2 * spec.pad).

    Mirroring leaves out the end sample itself, as everywhere; signals shorter than the padding are mirrored again.

    Args:
        waveform: (B, T).
        spec: says how much and with what.
        samples: (B,) valid samples of each clip, at which the padding begins; None: all T.
    """
    pad, total = spec.pad, waveform.shape[-1]
    if samples is None and (spec.padding == "constant" or total > pad):
        return F.pad(waveform, (pad, pad), mode=spec.padding)
    length = torch.tensor([total], device=waveform.device) if samples is None else samples.to(waveform.device)
    length = length[:, None]
    position = torch.arange(-pad, total + pad, device=waveform.device)
    if spec.padding == "constant":
        return F.pad(waveform, (pad, pad)) * (position < length)
    period = 2 * (length - 1).clamp(min=1)
    folded = position % period
    source = torch.minimum(torch.minimum(folded, period - folded), length - 1)
    return waveform.gather(1, source.expand(len(waveform), -1))


def spectrum(padded: Tensor, window: Tensor, hop_length: int) -> Tensor:
    """Short-time Fourier transform of a signal that is padded already: (B, L) -> (B, K, bins), complex."""
    return torch.fft.rfft(padded.unfold(-1, window.shape[-1], hop_length) * window)


def magnitudes(stft: Tensor, power_offset: float) -> Tensor:
    """|X|, or sqrt(|X|^2 + offset) where the spec has an offset."""
    if power_offset == 0:
        return stft.abs()
    return (stft.real.square() + stft.imag.square() + power_offset).sqrt()


class MelSpectrogram(nn.Module):
    """Waveform -> log-mel, (B, T) -> (B, M, F) or (T,) -> (M, F), on any device, differentiable.

    Computed in float32 (float64 after `.double()`), also under autocast. No parameters, nothing in the state dict.

    Raises:
        ValueError: the waveform is empty or shorter than one frame.
    """

    def __init__(self, spec: MelSpec):
        super().__init__()
        self.spec = spec
        self.register_buffer("window", window(spec).float(), persistent=False)
        self.register_buffer("filterbank", filterbank(spec).float(), persistent=False)

    def linear(self, waveform: Tensor) -> Tensor:
        """The mel before the logarithm; same shapes."""
        if waveform.ndim == 1:
            return self.linear(waveform[None])[0]
        spec = self.spec
        if waveform.shape[-1] == 0 or spec.frames(waveform.shape[-1]) < 1:
            raise ValueError(f"{waveform.shape[-1]} samples hold no frame of {spec.hop_length}")
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.to(self.window.dtype)
            values = magnitudes(spectrum(pad_waveform(waveform, spec), self.window, spec.hop_length), spec.power_offset)
            values = values.square() if spec.power == 2 else values
            return (values @ self.filterbank).transpose(-1, -2)

    def forward(self, waveform: Tensor) -> Tensor:
        """Log-mel of `waveform`."""
        return self.spec.compress(self.linear(waveform))


def convert(mel: Tensor, source: MelSpec, target: MelSpec) -> Tensor:
    """Rewrite a log-mel of any shape in another logarithm: base and floor may differ, nothing else.

    Values at a floor that `target` sets lower stay where they are: what lay below it is not known.

    Raises:
        UserError: other fields differ; the message names them.
    """
    same_numbers = replace(source, log_base=target.log_base, log_floor=target.log_floor)
    if differences := same_numbers.differences(target):
        raise UserError(
            "mel",
            f"is of another mel spec: {'; '.join(differences)}",
            "compute it again from audio with the other spec",
        )
    return target.compress(source.expand(mel))
