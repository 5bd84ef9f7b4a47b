"""How loud a signal is: root mean square and peak against full scale, and loudness as heard (ITU-R BS.1770)."""

import math
from types import ModuleType

import torch
from torch import Tensor

from audiodiff.errors import UserError

_BLOCK_SECONDS = 0.4


def load_torchaudio() -> ModuleType:
    """torchaudio, which loads only beside the torch it was built for.

    Raises:
        UserError: it does not load here.
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
    """Root mean square of (..., T) in dB against full scale 1, (...); -inf for silence. A full-scale sine has -3.01."""
    return 10 * samples.square().mean(-1).log10()


def peak_dbfs(samples: Tensor) -> Tensor:
    """Largest absolute sample of (..., T) in dB against full scale 1, (...); -inf for silence."""
    return 20 * samples.abs().amax(-1).log10()


def lufs(samples: Tensor, sample_rate: int) -> Tensor:
    """Integrated loudness of mono (..., T), gated, in LUFS, (...); source: ITU-R BS.1770-4.

    Raises:
        ValueError: shorter than one block of 0.4 s.
        UserError: torchaudio does not load.
    """
    if samples.shape[-1] < _BLOCK_SECONDS * sample_rate:
        raise ValueError(f"loudness needs {_BLOCK_SECONDS} s, got {samples.shape[-1]} samples at {sample_rate} Hz")
    # torchaudio's filters clip at full scale, and the weighting amplifies: measured at half the level.
    return load_torchaudio().functional.loudness(samples.unsqueeze(-2) / 2, sample_rate) + 20 * math.log10(2)


def normalize_rms(samples: Tensor, target_dbfs: float) -> Tensor:
    """Scale (..., T) to a root mean square of `target_dbfs` dB; silence stays silence."""
    rms = samples.square().mean(-1, keepdim=True).sqrt()
    return torch.where(rms > 0, samples * 10 ** (target_dbfs / 20) / rms, samples)
