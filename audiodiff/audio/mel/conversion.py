"""From one kind of mel to another, as far as the numbers allow.

Where only the logarithm differs nothing is lost (`audiodiff.audio.mel.convert`). Where the bank differs, but not the
transform under it, the spectrum is estimated first: of all non-negative spectra that have the mel, the one that the
multiplicative iteration of Richardson (1972) and Lucy (1974) reaches from the mel's own smooth envelope; its harmonics
are as blurred as the source's bands. Where the transform differs as well, window or clock, that spectrum is read as
power per hertz and interpolated in frequency and time, which is an approximation and has to be asked for.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from audiodiff.audio.mel import MelSpec, convert, filterbank, window
from audiodiff.audio.prior import envelope
from audiodiff.errors import UserError

_ITERATIONS = 40
_LOGARITHM = {"log_base", "log_floor"}
# Differ at the edges of a clip or far below any floor only.
_HARMLESS = {"padding", "power_offset", "version"}
_TRANSFORM = {"sample_rate", "n_fft", "win_length", "hop_length", "center"}


class Conversion(NamedTuple):
    """A converted mel (M, F); whether it is "exact", "estimated" or "approximate"; what should be known about it."""

    mel: Tensor
    kind: str
    notes: tuple[str, ...]


def convert_mel(mel: Tensor, source: MelSpec, target: MelSpec, approximate: bool = False) -> Conversion:
    """Rewrite a log-mel (M, F) of one spec as one of another.

    Args:
        mel: as of `source`.
        source: what it is.
        target: what is wanted.
        approximate: allow another window, hop, sample rate or place of the frames.

    Raises:
        UserError: the transforms differ and `approximate` is not given; the line names the fields.
    """
    differing = {line.partition(":")[0] for line in source.differences(target)}
    notes = tuple(_notes(source, target, differing))
    if differing <= _LOGARITHM | _HARMLESS:
        same = replace(source, **{name: getattr(target, name) for name in _HARMLESS})
        return Conversion(convert(mel, same, target), "exact", notes)
    if differing & _TRANSFORM and not approximate:
        lines = [line for line in source.differences(target) if line.partition(":")[0] in _TRANSFORM]
        raise UserError("mel", f"has another clock or window: {'; '.join(lines)}", "allow it with --approximate")
    spectrum = magnitudes(mel.double(), source)
    if differing & _TRANSFORM:
        spectrum = _resampled(spectrum, source, target)
    linear = filterbank(target, spectrum).T @ spectrum.pow(target.power)
    kind = "approximate" if differing & _TRANSFORM else "estimated"
    return Conversion(target.compress(linear).to(mel.dtype), kind, notes)


def _notes(source: MelSpec, target: MelSpec, differing: set[str]):
    if differing & {"padding"}:
        yield "the first and last frames keep the source's padding"
    if target.log_floor < source.log_floor and target.power == source.power:
        yield f"what lay below the source's floor of {source.log_floor:g} is not known"
    if target.f_min < source.f_min:
        yield f"below {source.f_min:g} Hz the source says nothing: filled with silence"
    if target.f_max > source.f_max:
        yield f"above {source.f_max:g} Hz the source says nothing: filled with silence"


def magnitudes(mel: Tensor, spec: MelSpec, iterations: int = _ITERATIONS) -> Tensor:
    """Smooth non-negative magnitudes with a given mel: log-mel (M, F) -> |X|, (bins, F); 0 where no band looks."""
    filters = filterbank(spec, mel)
    reach = filters.sum(1, keepdim=True)
    linear = spec.expand(mel)
    estimate = envelope(mel[None], spec)[0].T.pow(spec.power) * (reach > 0)
    tiny = torch.finfo(mel.dtype).tiny
    for _ in range(iterations):
        ratio = linear / (filters.T @ estimate).clamp(min=tiny)
        estimate = estimate * (filters @ ratio) / reach.clamp(min=tiny)
    return estimate.pow(1 / spec.power)


def _resampled(spectrum: Tensor, source: MelSpec, target: MelSpec) -> Tensor:
    """Magnitudes (bins, F) of the source's transform -> those of the target's, by power per hertz."""
    scale = _power_per_hertz(target, spectrum) / _power_per_hertz(source, spectrum)
    hertz = torch.arange(target.bins, dtype=spectrum.dtype) * target.sample_rate / target.n_fft
    silence = spectrum[spectrum > 0].min() * 1e-6
    level = (spectrum.clamp(min=silence)).log()
    level = _interpolated(level, hertz * source.n_fft / source.sample_rate)
    samples = (spectrum.shape[-1] - source.center) * source.hop_length * target.sample_rate / source.sample_rate
    frames = max(1, target.frames(round(samples)))
    seconds = (torch.arange(frames, dtype=spectrum.dtype) * target.hop_length + target.offset) / target.sample_rate
    place = (seconds * source.sample_rate - source.offset) / source.hop_length
    level = _interpolated(level.T, place).T
    return (level.exp() * scale.sqrt()) * (hertz <= source.sample_rate / 2)[:, None]


def _power_per_hertz(spec: MelSpec, like: Tensor) -> Tensor:
    """|X|^2 of white noise of one unit of power per hertz."""
    return window(spec, like).square().sum() * spec.sample_rate


def _interpolated(values: Tensor, position: Tensor) -> Tensor:
    """Rows of `values` (N, K) at fractional positions (P,), linearly, the ends held: (P, K)."""
    position = position.clamp(0, len(values) - 1)
    left = position.floor().long().clamp(max=max(len(values) - 2, 0))
    share = (position - left)[:, None]
    return values[left] * (1 - share) + values[(left + 1).clamp(max=len(values) - 1)] * share


def round_trip(mel: Tensor, source: MelSpec, target: MelSpec) -> tuple[float, float]:
    """Decibels by which a mel differs from itself after `convert_mel` to `target` and back: (mean, 95th percentile).

    Cells at the floor on either side are left out, and with them bands of which the target says nothing; (0, 0) where
    none stays.
    """
    there = convert_mel(mel, source, target, approximate=True).mel
    back = convert_mel(there, target, source, approximate=True).mel
    frames = min(mel.shape[-1], back.shape[-1])
    before, after = source.expand(mel.double())[:, :frames], source.expand(back.double())[:, :frames]
    floor = 1.01 * max(source.log_floor, after.min().item())  # the target's floor, come back
    error = (20 / source.power) * (before / after).log10().abs()[(before > floor) & (after > floor)]
    return (error.mean().item(), error.quantile(0.95).item()) if len(error) else (0.0, 0.0)
