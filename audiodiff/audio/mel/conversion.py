"""Conversion of mels between specs.

If only the logarithm differs, the conversion is exact (`audiodiff.audio.mel.convert`). Otherwise it goes through a
signal: noise with the mel's envelope is brought to have the mel (`audio.consistency`), resampled and analyzed with the
target's transform and filters. Any signal that has the mel is blurred in time and frequency by the
target's window as speech is, which an estimate of magnitudes alone is not: magnitudes by the pseudo-inverse of the
filter bank or by Richardson and Lucy's iteration, interpolated to the target's frames and frequencies, are three times
as far from the mel of the recording. Between different transforms (window, hop, sample rate) the conversion is an
approximation all the same, and has to be allowed explicitly.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from audiodiff.audio.consistency import project
from audiodiff.audio.io import resample
from audiodiff.audio.mel import MelSpec, MelSpectrogram, convert
from audiodiff.audio.prior import MelPrior
from audiodiff.errors import UserError

_ITERATIONS = 64
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
    kind = "approximate" if differing & _TRANSFORM else "estimated"
    return Conversion(_analyze(_signal(mel.float(), source), source, target, mel.shape[-1]).to(mel.dtype), kind, notes)


def _notes(source: MelSpec, target: MelSpec, differing: set[str]) -> Iterator[str]:
    if differing & {"padding"}:
        yield "the first and last frames keep the source's padding"
    if target.log_floor < source.log_floor and target.power == source.power:
        yield f"values below the source's floor of {source.log_floor:g} are unknown"
    if target.f_min < source.f_min:
        yield f"below {source.f_min:g} Hz the source has no bands: filled with silence"
    if target.f_max > source.f_max:
        yield f"above {source.f_max:g} Hz the source has no bands: filled with silence"


def _signal(mel: Tensor, spec: MelSpec) -> Tensor:
    """A signal (F * hop_length,) that has a mel (M, F)."""
    noise = torch.randn(1, mel.shape[-1] * spec.hop_length, generator=torch.Generator().manual_seed(0))
    return project(MelPrior(spec).color(noise, mel[None]), mel[None], spec, _ITERATIONS)[0]


def _analyze(signal: Tensor, source: MelSpec, target: MelSpec, frames: int) -> Tensor:
    """The target's mel of a signal that has `frames` frames of the source, silent outside the source's bands."""
    seconds = (frames - source.center) * source.hop_length / source.sample_rate
    signal = resample(signal, source.sample_rate, target.sample_rate)
    samples = max(round(seconds * target.sample_rate), target.hop_length)
    signal = torch.nn.functional.pad(signal, (0, max(0, samples - len(signal))))[:samples]
    analysis = MelSpectrogram(target)
    hertz = torch.arange(target.bins) * (target.sample_rate / target.n_fft)
    inside = (source.f_min <= hertz) & (hertz <= source.f_max)
    analysis.filterbank = analysis.filterbank * inside[:, None]
    return analysis(signal)


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
