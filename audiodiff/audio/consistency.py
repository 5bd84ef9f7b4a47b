"""Mel consistency: projection of a waveform towards the signals that have a given mel.

A vocoder's output should have exactly the mel that it is conditioned on. One iteration multiplies each bin of the
short-time Fourier transform by the ratio of the given to the current mel (interpolated between the bands) and
transforms back. It is Griffin and Lim's alternation (1984) with the constraint on magnitudes replaced by the weaker one
on the mel, so that phases and fine structure are kept. Momentum, as in fast Griffin-Lim (Perraudin, Balazs and
Sondergaard 2013, algorithm 2), reduces the mel error about twice as much in as many iterations. The gains are
over-relaxed, since overlapping neighbors attenuate the change of each frame.
"""

from functools import lru_cache

import torch
from torch import Tensor

from audiodiff.audio.mel import MelSpec, filterbank, interpolation, pad_waveform, window
from audiodiff.products import Factor
from audiodiff.stft import magnitudes, overlap_add, scale, spectrum

MOMENTUM = 0.8
RELAXATION = 1.25  # exponent of the gains; with this momentum it diverges from 1.5 on
_MAX_STEP = 3.0  # of the logarithm of a gain: an empty bin must not be amplified to fill a band


def project(
    waveform: Tensor,
    mel: Tensor,
    spec: MelSpec,
    iterations: int = 32,
    momentum: float = MOMENTUM,
    samples: Tensor | None = None,
    relaxation: float = RELAXATION,
    known: Tensor | None = None,
) -> Tensor:
    """Move a waveform towards those with a given mel; differentiable.

    Args:
        waveform: (B, T), T = F * hop_length.
        mel: target log-mel, (B, M, F).
        spec: spec of the mel.
        iterations: number of transform pairs.
        momentum: extrapolation of each step; 0 is plain alternation.
        samples: (B,) valid samples of each clip, multiples of hop_length; None: all T. A clip in a padded batch gives
            the same result as alone, and 0 beyond its end.
        relaxation: exponent of the gains; 1 is plain alternation.
        known: (B, K) the first K <= T samples, which stay as they are: the others are fitted to them.

    Returns:
        Waveform (B, T).

    Raises:
        ValueError: shapes that do not fit.
    """
    batch, total = waveform.shape
    if mel.shape != (batch, spec.n_mels, total // spec.hop_length) or total % spec.hop_length:
        raise ValueError(f"mel {tuple(mel.shape)} does not fit waveform {tuple(waveform.shape)}, {spec.n_mels} bands")
    with torch.autocast(waveform.device.type, enabled=False):
        x = _begin_with(known, waveform.to(torch.promote_types(waveform.dtype, torch.float32)))
        step = _Step(x, mel.to(x), spec, samples, relaxation)
        start = x
        for _ in range(iterations):
            previous, x = x, _begin_with(known, step(start))
            start = torch.lerp(previous, x, 1 + momentum)
        return x * step.valid


def _begin_with(known: Tensor | None, x: Tensor) -> Tensor:
    return x if known is None else torch.cat([known.to(x), x[:, known.shape[-1] :]], -1)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # inference tensors could not be used in training later
def _factors(spec: MelSpec, relaxation: float, dtype: torch.dtype, device: torch.device) -> tuple[Factor, Factor]:
    """From bins to bands, and from steps of the logarithm of bands to those of bins."""
    like = torch.empty(0, dtype=dtype, device=device)
    # Frequencies outside the mel's bands are unknown: their gain is 1.
    hertz = torch.arange(spec.bins, device=device) * (spec.sample_rate / spec.n_fft)
    inside = (spec.f_min <= hertz) & (hertz <= spec.f_max)
    return Factor(filterbank(spec, like)), Factor(interpolation(spec, like) * inside * (relaxation / spec.power))


class _Step:
    """One iteration, with its constants precomputed."""

    def __init__(self, x: Tensor, mel: Tensor, spec: MelSpec, samples: Tensor | None, relaxation: float):
        self.spec, self.samples, self.total = spec, samples, x.shape[-1]
        length = torch.full((len(x),), self.total) if samples is None else samples
        length = length.to(x.device)[:, None]
        frame = torch.arange(spec.frames(self.total), device=x.device)
        # A centered spec has one frame more at the end: the last mel frame is repeated.
        held = torch.minimum(frame, length // spec.hop_length - 1)[:, None].expand(-1, spec.n_mels, -1)
        self.target = spec.expand(mel.gather(2, held)).clamp(min=spec.log_floor).transpose(1, 2)
        self.window, (self.bank, self.bridge) = window(spec, x), _factors(spec, relaxation, x.dtype, x.device)
        self.synthesis = self.window
        if samples is not None:
            self.synthesis = self.window * (frame < spec.frames(length))[..., None]
        weight = overlap_add((self.window * self.synthesis).expand(len(x), len(frame), -1), spec.hop_length)
        self.weight = 1 / self._cut(weight).clamp(min=1e-6)
        self.valid = torch.arange(self.total, device=x.device) < length

    def __call__(self, x: Tensor) -> Tensor:
        spec, hop = self.spec, self.spec.hop_length
        stft = spectrum(pad_waveform(x, spec, self.samples), self.window, hop)
        values = magnitudes(stft, spec.power_offset)
        values = values.square() if spec.power == 2 else values
        now = self.bank(values).clamp(min=spec.log_floor)
        # The logarithm of the ratio, not a difference of logarithms, which would cost float32 a digit.
        steps = (self.target / now).log().clamp(-_MAX_STEP, _MAX_STEP)
        change = self.bridge(steps).expm1()
        # Only the change is transformed back: rounding errors then shrink with the steps and do not accumulate.
        frames = torch.fft.irfft(scale(stft, change), n=spec.n_fft)
        return torch.addcmul(x, self._cut(overlap_add(frames, hop, self.synthesis)), self.weight)

    def _cut(self, padded: Tensor) -> Tensor:
        return padded[:, self.spec.pad : self.spec.pad + self.total]
