"""Levels of signals: root mean square, peak and loudness (ITU-R BS.1770), and normalization to a level."""

import math
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from audiodiff.errors import UserError

SILENT_PEAK = 1e-6  # of full scale; clips whose peak is below are not amplified
_BLOCK_SECONDS = 0.4
_GATE_LUFS, _RELATIVE_GATE = -70.0, -10.0  # blocks below are no part of the program: absolute, and below the mean in LU


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


class LoudnessMeter:
    """Integrated loudness of one signal that arrives in pieces, as `lufs`; of less than a block, without gates.

    Memory is four energies a block of 0.4 s.

    Args:
        channels: 1 or 2, which weigh the same.
        sample_rate: Hz.

    Attributes:
        peak: largest absolute sample so far.
    """

    def __init__(self, channels: int, sample_rate: int):
        self._sections = _k_weighting(sample_rate)
        self._state = np.zeros((len(self._sections), channels, 2))
        self._step = max(round(_BLOCK_SECONDS * sample_rate) // 4, 1)
        self._rest, self._energies = np.zeros(0), [np.zeros(0)]
        self.peak = 0.0

    def add(self, samples: Tensor) -> None:
        """Append samples (C, T)."""
        from scipy.signal import sosfilt  # slow to import

        if not samples.shape[-1]:
            return
        self.peak = max(self.peak, samples.abs().max().item())
        weighted, self._state = sosfilt(self._sections, samples.double().numpy(), zi=self._state)
        energy = np.concatenate([self._rest, np.square(weighted).sum(0)])
        whole = len(energy) // self._step * self._step
        self._energies.append(energy[:whole].reshape(-1, self._step).mean(1))
        self._rest = energy[whole:]

    @property
    def lufs(self) -> float:
        """Loudness in LUFS; -inf for silence."""
        steps = np.concatenate(self._energies)
        if len(steps) < 4:
            sums = np.append(steps * self._step, self._rest.sum())
            return _decibels(sums.sum() / max(len(steps) * self._step + len(self._rest), 1))
        blocks = np.lib.stride_tricks.sliding_window_view(steps, 4).mean(1)
        blocks = blocks[blocks > 10 ** ((_GATE_LUFS + 0.691) / 10)]
        if len(blocks):
            blocks = blocks[blocks > blocks.mean() * 10 ** (_RELATIVE_GATE / 10)]
        return _decibels(blocks.mean()) if len(blocks) else -math.inf


def _decibels(energy: float) -> float:
    return -0.691 + 10 * math.log10(energy) if energy > 0 else -math.inf


def _k_weighting(sample_rate: int) -> np.ndarray:
    """Second-order sections of a shelf of +4 dB above 1.5 kHz, the head, and a high-pass at 38 Hz (ITU-R BS.1770-4)."""
    sections, root = [], 10 ** (4 / 40)
    for frequency, quality, shelf in ((1500, math.sqrt(0.5), True), (38, 0.5, False)):
        angle = 2 * math.pi * frequency / sample_rate
        cosine, alpha = math.cos(angle), math.sin(angle) / 2 / quality
        if shelf:
            one, two, slope = (root - 1) * cosine, (root + 1) * cosine, 2 * math.sqrt(root) * alpha
            above = [root * (root + 1 + one + slope), -2 * root * (root - 1 + two), root * (root + 1 + one - slope)]
            below = [root + 1 - one + slope, 2 * (root - 1 - two), root + 1 - one - slope]
        else:
            above, below = [(1 + cosine) / 2, -1 - cosine, (1 + cosine) / 2], [1 + alpha, -2 * cosine, 1 - alpha]
        sections.append(np.array([*above, *below]) / below[0])
    return np.stack(sections)
