"""Levels of signals: root mean square, peak and loudness (ITU-R BS.1770), and normalization to a level."""

import math
from types import ModuleType

import torch
from torch import Tensor

from audiodiff.errors import UserError

SILENT_PEAK = 1e-6  # of full scale; clips whose peak is below are not amplified
_BLOCK_SECONDS = 0.4


def load_torchaudio() -> ModuleType:
    """Import torchaudio, which works only with the torch version that it was built for.

    Raises:
        UserError: the import fails.
    """
    try:
        import torchaudio.functional
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            "torchaudio",
            f"does not load beside torch {torch.__version__} ({reason})",
            "run: pip install torch==2.11.0 torchaudio==2.11.0",
        ) from error
    return torchaudio


def rms_dbfs(samples: Tensor) -> Tensor:
    """Root mean square of (..., T) in dB relative to full scale 1, (...); -inf for silence, -3.01 for a full sine."""
    return 10 * samples.square().mean(-1).log10()


def peak_dbfs(samples: Tensor) -> Tensor:
    """Largest absolute sample of (..., T) in dB relative to full scale 1, (...); -inf for silence."""
    return 20 * samples.abs().amax(-1).log10()


def lufs(samples: Tensor, sample_rate: int) -> Tensor:
    """Integrated loudness of mono (..., T), gated, in LUFS, (...). Source: ITU-R BS.1770-4.

    Raises:
        ValueError: shorter than one block of 0.4 s.
        UserError: torchaudio does not load.
    """
    if samples.shape[-1] < _BLOCK_SECONDS * sample_rate:
        raise ValueError(f"loudness needs {_BLOCK_SECONDS} s, got {samples.shape[-1]} samples at {sample_rate} Hz")
    # torchaudio's filters clip at full scale, and the weighting amplifies: measure at half the level.
    return load_torchaudio().functional.loudness(samples.unsqueeze(-2) / 2, sample_rate) + 20 * math.log10(2)


def normalize_rms(samples: Tensor, target_dbfs: float = 0.0, rms: Tensor | None = None, silence: float = 0.0) -> Tensor:
    """Scale clips to a root mean square level.

    Args:
        samples: (T,), (B, T) or (B, C, T); each clip is scaled as a whole.
        target_dbfs: level in dB relative to full scale 1; 0 is unit power.
        rms: level of each clip, broadcastable to `samples`; None: measured.
        silence: clips at this level or below are not scaled.
    """
    if rms is None:
        rms = samples.square().mean((-2, -1) if samples.ndim == 3 else -1, keepdim=True).sqrt()
    return torch.where(rms > silence, samples * 10 ** (target_dbfs / 20) / rms.clamp(min=silence), samples)


def normalize_peak(samples: Tensor, peak: float) -> Tensor:
    """Remove the mean (DC offset) of clips (..., C, T) and scale each to a peak level; silent clips are not scaled."""
    samples = samples - samples.mean(-1, keepdim=True)
    return samples * peak_gain(samples.abs().amax((-2, -1), keepdim=True), peak)


def peak_gain(measured: Tensor, peak: float) -> Tensor:
    """Gain from a measured peak to another, both relative to full scale 1; 1 for silence."""
    return torch.where(measured > SILENT_PEAK, peak / measured.clamp(min=SILENT_PEAK), 1.0)
