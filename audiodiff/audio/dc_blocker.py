"""`DcBlocker`: a high-pass filter below hearing, for signals that come in chunks.

y[n] = x[n] - x[n-1] + r y[n-1], with r = exp(-2 pi f / rate): 0 at 0 Hz, -3 dB at f, 1 above. Unlike the subtraction of
the mean it leaves silence behind a sound silent.
"""

import math

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor

CUTOFF = 10.0  # Hz


class DcBlocker:
    """Filters one signal (..., T) in consecutive chunks; the result does not depend on where they are cut.

    Args:
        sample_rate: Hz.
        cutoff: Hz, where the gain is -3 dB.
    """

    def __init__(self, sample_rate: int, cutoff: float = CUTOFF):
        self.pole = math.exp(-2 * math.pi * cutoff / sample_rate)
        self._state: np.ndarray | None = None

    def __call__(self, chunk: Tensor) -> Tensor:
        """The next chunk, filtered on the CPU."""
        if not chunk.shape[-1]:
            return chunk.cpu()
        x = chunk.detach().cpu().double().numpy()
        state = np.zeros((*x.shape[:-1], 1)) if self._state is None else self._state
        y, self._state = lfilter([1.0, -1.0], [1.0, -self.pole], x, zi=state)
        return torch.from_numpy(y).to(chunk.dtype)
