"""Griffin-Lim: the classical way from a mel to a waveform, and the first baseline of every vocoder.

The mel is taken back to magnitudes by the pseudo-inverse of its filterbank; phases are found by alternating between the
signals and the spectrograms with these magnitudes (Griffin and Lim 1984, with the momentum of Perraudin et al. 2013).
"""

from functools import lru_cache

import librosa
import torch
from torch import Tensor

from audiodiff.audio.mel import MelSpec, filterbank


@lru_cache(maxsize=16)
def pseudo_inverse(spec: MelSpec) -> Tensor:
    """Pseudo-inverse of the filterbank, (M, bins), float64."""
    return torch.linalg.pinv(filterbank(spec))


def mel_to_magnitudes(mel: Tensor, spec: MelSpec) -> Tensor:
    """Magnitudes |X| of least norm with this mel, negative ones set to 0: log-mel (..., M, F) -> (..., bins, F)."""
    linear = (pseudo_inverse(spec).T.to(mel) @ spec.expand(mel)).clamp(min=0)
    return linear.sqrt() if spec.power == 2 else linear


def griffin_lim(mel: Tensor, spec: MelSpec, iterations: int = 60, seed: int = 0) -> Tensor:
    """Log-mel (M, F) or (B, M, F) -> waveform (F * hop_length,) or (B, F * hop_length), on the CPU.

    Args:
        mel: as of `spec`.
        spec: of the mel.
        iterations: transform pairs; 60 are customary.
        seed: of the random phases at the start.
    """
    samples, hop = mel.shape[-1] * spec.hop_length, spec.hop_length
    # librosa centers frame k at k * hop; one held frame at the end, and one at the start where the spec's lie later.
    early = int(spec.offset > 0)
    held = torch.arange(-early, mel.shape[-1] + 1).clamp(0, mel.shape[-1] - 1)
    waveform = librosa.griffinlim(
        mel_to_magnitudes(mel.detach().cpu().float(), spec)[..., held].numpy(),
        n_iter=iterations,
        hop_length=hop,
        win_length=spec.win_length,
        n_fft=spec.n_fft,
        pad_mode=spec.padding,
        random_state=seed,
    )
    start = early * hop - spec.offset
    return torch.from_numpy(waveform)[..., start : start + samples]
