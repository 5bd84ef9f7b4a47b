"""What users pass in Python, converted once and checked: clips, mels, seeds and other numbers."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from audiodiff.audio.arrays import real_tensor
from audiodiff.audio.io import Audio, resample
from audiodiff.audio.mel import MelSpec, full_scale
from audiodiff.errors import UserError

Mels = Tensor | ArrayLike | Sequence[Tensor | ArrayLike]
_LOUDEST = 100.0  # amplitudes a mel may be above full scale: 40 dB


def fit_clip(audio: Audio, channels: int, sample_rate: int, name: str = "the audio") -> Tensor:
    """A clip (T,), (C, T) or (1, C, T) at another sample rate, (channels, T'): mono is repeated, stereo mixed to mono.

    Args:
        audio: the clip.
        channels: of the result, 1 or 2.
        sample_rate: of the result, Hz.
        name: that errors call it.

    Raises:
        UserError: several clips, or other than one or two channels.
    """
    samples = torch.atleast_2d(audio.samples)
    samples = samples[0] if samples.ndim == 3 and len(samples) == 1 else samples
    if samples.ndim > 2:
        raise UserError(name, f"samples of shape {tuple(samples.shape)}", "pass one clip (C, T)")
    if len(samples) not in (1, 2):
        raise UserError(name, f"{len(samples)} channels", "pass one or two, channels first")
    if len(samples) > channels:
        samples = samples.mean(0, keepdim=True)
    return resample(samples.expand(channels, -1).contiguous(), audio.sample_rate, sample_rate)


def mel_tensors(mel: Mels, spec: MelSpec) -> Tensor | list[Tensor]:
    """Log-mels in float32: (M, F) or (B, M, F) of an array, a list of (M, F_i) of a sequence of arrays.

    Nested lists of numbers are one mel (M, F).

    Raises:
        UserError: as `mel_tensor`.
    """
    if not isinstance(mel, Iterable):
        raise UserError("mel", f"is of type {type(mel).__name__}", "give an array of bands x frames")
    if hasattr(mel, "ndim"):
        array = real_tensor(cast(Any, mel), "mel")
        return torch.stack(_each(array, spec)) if array.ndim == 3 and len(array) else mel_tensor(array, spec)
    items = [real_tensor(item, f"mel {i}") for i, item in enumerate(mel)]
    if items and all(item.ndim == 1 and len(item) == len(items[0]) for item in items):
        return mel_tensor(torch.stack(items), spec)
    return _each(items, spec)


def _each(items: Iterable[Tensor], spec: MelSpec) -> list[Tensor]:
    return [mel_tensor(item, spec, f"mel {i}") for i, item in enumerate(items)]


def mel_tensor(mel: Tensor | ArrayLike, spec: MelSpec, name: str = "mel", empty: bool = False) -> Tensor:
    """One log-mel (M, F) of this spec, in float32.

    Args:
        mel: a tensor, an array or nested lists, (M, F) or (1, M, F).
        spec: that it must have.
        name: that errors call it.
        empty: whether it may have no frames.

    Raises:
        UserError: another number of bands, no frames, values that are not finite real numbers, or 40 dB above what
            audio within full scale can have.
    """
    mel = real_tensor(mel, name).float()
    mel = mel[0] if mel.ndim == 3 and len(mel) == 1 else mel
    if mel.ndim != 2 or mel.shape[0] != spec.n_mels:
        shape = "x".join(map(str, mel.shape))
        turned = mel.ndim == 2 and mel.shape[1] == spec.n_mels
        fix = "transpose it" if turned else "see `spec`"
        raise UserError(name, f"has shape {shape}, this model expects {spec.n_mels} bands x frames", fix)
    if mel.shape[1] == 0:
        if empty:
            return mel
        raise UserError(name, "has no frames", "give at least one")
    if not torch.isfinite(mel).all():
        raise UserError(name, "has NaN or infinite values", "compute it again from clean audio")
    most = float(spec.compress(torch.tensor(full_scale(spec) * _LOUDEST**spec.power)))
    if (highest := float(mel.max())) > most:
        problem = f"has values up to {highest:.3g}, full-scale audio stays below {most:.3g}"
        raise UserError(name, problem, "check that it has this model's mel spec")
    return mel
