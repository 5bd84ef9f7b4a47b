"""Griffin-Lim: the classical method from mel to waveform, a baseline for vocoders.

The pseudo-inverse of the filter bank converts the mel to magnitudes; phases are found by alternating projections onto
signals and onto spectrograms with these magnitudes (Griffin and Lim 1984, with the momentum of Perraudin et al. 2013).
"""

from functools import lru_cache

import librosa
import torch
from torch import Tensor

from audiodiff.audio.mel import MelSpec, filterbank


@lru_cache(maxsize=16)
def pseudo_inverse(spec: MelSpec) -> Tensor:
    """Pseudo-inverse of the filter bank, (M, bins), float64."""
    return torch.linalg.pinv(filterbank(spec))


def mel_to_magnitudes(mel: Tensor, spec: MelSpec) -> Tensor:
    """Magnitudes |X| of least norm with a mel, clipped at 0: log-mel (..., M, F) -> (..., bins, F)."""
    linear = (pseudo_inverse(spec).T.to(mel) @ spec.expand(mel)).clamp(min=0)
    return linear.sqrt() if spec.power == 2 else linear


def griffin_lim(mel: Tensor, spec: MelSpec, iterations: int = 60, seed: int = 0) -> Tensor:
    """Log-mel (M, F) or (B, M, F) -> waveform (F * hop_length,) or (B, F * hop_length), on the CPU.

    Args:
        mel: log-mel.
        spec: spec of the mel.
        iterations: number of transform pairs; 60 is common.
        seed: seed of the random initial phases.
    """
    samples, hop = mel.shape[-1] * spec.hop_length, spec.hop_length
    # librosa centers frame k at k * hop: repeat the last frame, and the first if the spec's frames are later.
    early = int(spec.offset > 0)
    held = torch.arange(-early, mel.shape[-1] + 1).clamp(0, mel.shape[-1] - 1)
    waveform = librosa.griffinlim(
        mel_to_magnitudes(mel.detach().cpu().float(), spec)[..., held].numpy(),
        n_iter=iterations,
        hop_length=hop,
        win_length=spec.win_length,
        n_fft=spec.n_fft,
        pad_mode="reflect" if spec.padding == "reflect" else "constant",
        random_state=seed,
    )
    start = early * hop - spec.offset
    return torch.from_numpy(waveform)[..., start : start + samples]
