r"""The modified discrete cosine transform: an orthonormal basis of signals, localized in time and frequency.

With hop N and the sine window w of 2 N samples, frame m has N coefficients

    X_m[k] = sqrt(2 / N) sum_n w[n] x[m N + n] cos(pi / N (n + 1/2 + N / 2) (k + 1/2)),   n = 0 ... 2 N - 1.

Neighboring frames overlap by half, the window satisfies w[n]^2 + w[n + N]^2 = 1, and the aliasing of one frame cancels
that of the next (Princen and Bradley 1986, "Analysis/synthesis filter bank design based on time domain aliasing
cancellation"; Malvar 1992, "Signal processing with lapped transforms"). So the functions are orthonormal: setting
coefficients to zero is an orthogonal projection, and a function changes the signal on its 2 N samples only, smoothly
from 0 at both ends. A spectrogram has neither property: no region of it can be changed alone.
"""

import math

import torch
from torch import Tensor

from audiodiff.errors import UserError


class LappedTransform:
    """Modified discrete cosine transform with the sine window.

    Args:
        hop: N, samples between frames and coefficients of a frame.

    Raises:
        ValueError: hop below 1.
    """

    def __init__(self, hop: int):
        if hop < 1:
            raise ValueError(f"a lapped transform needs a hop of at least 1, got {hop}")
        self.hop = hop
        n = torch.arange(2 * hop, dtype=torch.float64)[:, None] + 0.5
        k = torch.arange(hop, dtype=torch.float64) + 0.5
        window = (math.pi / (2 * hop) * n).sin()
        self.basis = math.sqrt(2 / hop) * window * (math.pi / hop * (n + hop / 2) * k).cos()  # (2 N, N)

    def analyze(self, signal: Tensor) -> Tensor:
        """Coefficients (..., M, N) of a signal (..., T), frame m from sample (m - 1) N; zeros lie around the signal."""
        samples = signal.shape[-1]
        padded = torch.nn.functional.pad(signal, (self.hop, self.hop + -samples % self.hop))
        return padded.unfold(-1, 2 * self.hop, self.hop) @ self.basis.to(signal)

    def synthesize(self, coefficients: Tensor, samples: int) -> Tensor:
        """The signal (..., samples) of coefficients (..., M, N); the inverse of `analyze`, and its transpose."""
        halves = (coefficients @ self.basis.to(coefficients).T).unflatten(-1, (2, self.hop))
        ends = torch.zeros_like(halves[..., :1, 0, :])
        overlapped = torch.cat([halves[..., 0, :], ends], -2) + torch.cat([ends, halves[..., 1, :]], -2)
        return overlapped.flatten(-2)[..., self.hop : self.hop + samples]


class BandRegion:
    """The orthogonal projection onto what sounds in a part of time and a band of frequencies.

    It is spanned by those functions of a `LappedTransform` that begin and end within the part and are centered in the
    band. So what it returns is exactly zero outside of the part.

    Args:
        samples: length T of the signals.
        parts: (start, stop) in samples, each within 0 to T.
        band: lowest and highest frequency in Hz.
        sample_rate: Hz.
        hop: of the transform.

    Raises:
        UserError: a part is shorter than a function, or the band is narrower than the distance of two.
    """

    def __init__(
        self, samples: int, parts: list[tuple[int, int]], band: tuple[float, float], sample_rate: int, hop: int = 512
    ):
        self.samples, self.hop, self.parts = samples, hop, parts
        self.transform = LappedTransform(hop)
        hertz = (torch.arange(hop) + 0.5) * sample_rate / (2 * hop)
        self.bins = ((hertz >= band[0]) & (hertz < band[1])).float()
        if not self.bins.any():
            problem, fix = "is narrower than can be edited alone", f"make it {sample_rate / (2 * hop):.0f} Hz or more"
            raise UserError(f"band {band[0]:g}:{band[1]:g}", problem, fix)
        for start, stop in parts:
            if stop - start < 2 * hop:
                subject = f"region of {(stop - start) / sample_rate:.3g} s"
                problem = "is too short for a band"
                raise UserError(subject, problem, f"make it {2 * hop / sample_rate:.3g} s or more, or leave --band out")

    @property
    def dimensions(self) -> int:
        """Number of functions, for each channel."""
        return sum((stop - start) // self.hop - 1 for start, stop in self.parts) * int(self.bins.sum())

    def __call__(self, signal: Tensor) -> Tensor:
        """The part of signals (..., T) in time and band, like them; differentiable."""
        pieces, at = [], 0
        for start, stop in self.parts:
            whole = (stop - start) // self.hop * self.hop  # the frames begin at the start of the part
            coefficients = self.transform.analyze(signal[..., start : start + whole])
            # The first frame and the last one hang over the ends of the part.
            inner = coefficients[..., 1:-1, :] * self.bins.to(signal)
            padded = torch.nn.functional.pad(inner, (0, 0, 1, 1))
            pieces += [torch.zeros_like(signal[..., at:start]), self.transform.synthesize(padded, whole)]
            at = start + whole
        return torch.cat([*pieces, torch.zeros_like(signal[..., at:])], -1)
