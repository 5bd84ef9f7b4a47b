"""Conversion of mels between specs.

If only the logarithm differs, the conversion is exact (`audiodiff.audio.mel.convert`). If the filter bank differs, but
not the transform, the spectrum is estimated first: of all non-negative spectra that have the mel, the one that the
multiplicative iteration of Richardson (1972) and Lucy (1974) reaches from the mel's own smooth envelope; its harmonics
are as blurred as the source's bands. If the transform differs too (window, hop or sample rate), that spectrum is taken
as power per hertz and interpolated in frequency and time, an approximation that has to be allowed explicitly.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from audiodiff.audio.mel import MelSpec, convert, filterbank, window
from audiodiff.audio.prior import envelope
from audiodiff.errors import UserError

_ITERATIONS = 40
_LOGARITHM = {"log_base", "log_floor"}
# These matter only at the edges of a clip or far below any floor.
_HARMLESS = {"padding", "power_offset", "version"}
_TRANSFORM = {"sample_rate", "n_fft", "win_length", "hop_length", "center"}


class Conversion(NamedTuple):
    """A converted mel (M, F), its accuracy ("exact", "estimated" or "approximate") and notes."""

    mel: Tensor
    kind: str
    notes: tuple[str, ...]


def convert_mel(mel: Tensor, source: MelSpec, target: MelSpec, approximate: bool = False) -> Conversion:
    """Convert a log-mel (M, F) from one spec to another.

    Args:
        mel: log-mel of the spec `source`.
        source: spec of the mel.
        target: spec to convert to.
        approximate: allow a different window, hop, sample rate or position of the frames.

    Raises:
        UserError: the transforms differ and `approximate` is False.
    """
    differing = {line.partition(":")[0] for line in source.differences(target)}
    notes = tuple(_notes(source, target, differing))
    if differing <= _LOGARITHM | _HARMLESS:
        same = replace(source, **{name: getattr(target, name) for name in _HARMLESS})
        return Conversion(convert(mel, same, target), "exact", notes)
    if differing & _TRANSFORM and not approximate:
        lines = [line for line in source.differences(target) if line.partition(":")[0] in _TRANSFORM]
        raise UserError("mel", f"has another transform: {'; '.join(lines)}", "allow it with --approximate")
    spectrum = estimate_magnitudes(mel.double(), source)
    if differing & _TRANSFORM:
        spectrum = _resample(spectrum, source, target)
    linear = filterbank(target, spectrum).T @ spectrum.pow(target.power)
    kind = "approximate" if differing & _TRANSFORM else "estimated"
    return Conversion(target.compress(linear).to(mel.dtype), kind, notes)


def _notes(source: MelSpec, target: MelSpec, differing: set[str]) -> Iterator[str]:
    if differing & {"padding"}:
        yield "the first and last frames keep the source's padding"
    if target.log_floor < source.log_floor and target.power == source.power:
        yield f"values below the source's floor of {source.log_floor:g} are unknown"
    if target.f_min < source.f_min:
        yield f"below {source.f_min:g} Hz the source has no bands: filled with silence"
    if target.f_max > source.f_max:
        yield f"above {source.f_max:g} Hz the source has no bands: filled with silence"


def estimate_magnitudes(mel: Tensor, spec: MelSpec, iterations: int = _ITERATIONS) -> Tensor:
    """Estimate smooth magnitudes |X| of a mel: log-mel (M, F) -> (bins, F), 0 outside all bands."""
    filters = filterbank(spec, mel)
    coverage = filters.sum(1, keepdim=True)
    linear = spec.expand(mel)
    estimate = envelope(mel[None], spec)[0].T.pow(spec.power) * (coverage > 0)
    tiny = torch.finfo(mel.dtype).tiny
    for _ in range(iterations):
        ratio = linear / (filters.T @ estimate).clamp(min=tiny)
        estimate = estimate * (filters @ ratio) / coverage.clamp(min=tiny)
    return estimate.pow(1 / spec.power)


def _resample(spectrum: Tensor, source: MelSpec, target: MelSpec) -> Tensor:
    """Convert magnitudes (bins, F) of the source's transform to the target's, by power per hertz."""
    scale = _power_per_hertz(target, spectrum) / _power_per_hertz(source, spectrum)
    hertz = torch.arange(target.bins, dtype=spectrum.dtype) * target.sample_rate / target.n_fft
    silence = spectrum[spectrum > 0].min() * 1e-6
    level = (spectrum.clamp(min=silence)).log()
    level = _interpolate(level, hertz * source.n_fft / source.sample_rate)
    samples = (spectrum.shape[-1] - source.center) * source.hop_length * target.sample_rate / source.sample_rate
    frames = max(1, target.frames(round(samples)))
    seconds = (torch.arange(frames, dtype=spectrum.dtype) * target.hop_length + target.offset) / target.sample_rate
    place = (seconds * source.sample_rate - source.offset) / source.hop_length
    level = _interpolate(level.T, place).T
    return (level.exp() * scale.sqrt()) * (hertz <= source.sample_rate / 2)[:, None]


def _power_per_hertz(spec: MelSpec, like: Tensor) -> Tensor:
    """|X|^2 of white noise with unit power per hertz."""
    return window(spec, like).square().sum() * spec.sample_rate


def _interpolate(values: Tensor, position: Tensor) -> Tensor:
    """Interpolate rows of `values` (N, K) linearly at positions (P,), constant beyond the ends: (P, K)."""
    position = position.clamp(0, len(values) - 1)
    left = position.floor().long().clamp(max=max(len(values) - 2, 0))
    fraction = (position - left)[:, None]
    return values[left] * (1 - fraction) + values[(left + 1).clamp(max=len(values) - 1)] * fraction


def round_trip(mel: Tensor, source: MelSpec, target: MelSpec) -> tuple[float, float]:
    """Error in dB of converting a mel to `target` and back: (mean, 95th percentile).

    Cells at the floor of either spec are excluded, as are bands outside the target's; (0, 0) if none is left.
    """
    there = convert_mel(mel, source, target, approximate=True).mel
    back = convert_mel(there, target, source, approximate=True).mel
    frames = min(mel.shape[-1], back.shape[-1])
    before, after = source.expand(mel.double())[:, :frames], source.expand(back.double())[:, :frames]
    floor = 1.01 * max(source.log_floor, after.min().item())  # the target's floor, converted back
    error = (20 / source.power) * (before / after).log10().abs()[(before > floor) & (after > floor)]
    return (error.mean().item(), error.quantile(0.95).item()) if len(error) else (0.0, 0.0)
