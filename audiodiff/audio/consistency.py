"""Mel consistency: the projection of a waveform towards the signals that have a given mel.

A vocoder knows the mel of its output exactly. One iteration takes the short-time Fourier transform, multiplies each
bin by the ratio of the given to the current mel (interpolated between the bands), and goes back. It is Griffin and
Lim's alternation (1984) with the set "magnitudes as given" replaced by the larger "mel as given", so phases and fine
structure stay as they come. Each iteration starts a little beyond where the last one ended, in its direction, as in
fast Griffin-Lim (Perraudin, Balazs and Sondergaard 2013, algorithm 2): the mel error falls about twice as far in as
many iterations. And each gain is a little too large: a frame gets only its share of what it asks for, as its neighbors
overlap it and ask for something else.
"""

import torch
from torch import Tensor

from audiodiff.audio.mel import MelSpec, filterbank, interpolation, magnitudes, pad_waveform, spectrum, window
from audiodiff.audio.prior import overlap_add

MOMENTUM = 0.8
RELAXATION = 1.25  # exponent of the gains; with this momentum it diverges from 1.5 on
_LARGEST_STEP = 3.0  # of the logarithm of a gain: an empty bin must not be blown up to fill a band


def project(
    waveform: Tensor,
    mel: Tensor,
    spec: MelSpec,
    iterations: int = 32,
    momentum: float = MOMENTUM,
    samples: Tensor | None = None,
    relaxation: float = RELAXATION,
) -> Tensor:
    """Move a waveform towards those with a given mel; differentiable.

    Args:
        waveform: (B, T), T = F * hop_length.
        mel: the log-mel that it should have, (B, M, F).
        spec: of the mel.
        iterations: one transform pair each.
        momentum: how far beyond the last step the next begins; 0 is the plain alternation.
        samples: (B,) valid samples of each clip, multiples of hop_length; None: all T. A clip comes out of a padded
            batch as it does alone; behind its end the answer is 0.
        relaxation: exponent of the gains; 1 is the plain alternation.

    Returns:
        Waveform (B, T).

    Raises:
        ValueError: shapes that do not fit.
    """
    batch, total = waveform.shape
    if mel.shape != (batch, spec.n_mels, total // spec.hop_length) or total % spec.hop_length:
        raise ValueError(f"mel {tuple(mel.shape)} does not fit waveform {tuple(waveform.shape)}, {spec.n_mels} bands")
    with torch.autocast(waveform.device.type, enabled=False):
        x = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
        step = _Step(x, mel.to(x), spec, samples, relaxation)
        start = x
        for _ in range(iterations):
            previous, x = x, step(start)
            start = x + momentum * (x - previous)
        return x * step.valid


class _Step:
    """One alternation, with all that stays the same from one to the next."""

    def __init__(self, x: Tensor, mel: Tensor, spec: MelSpec, samples: Tensor | None, relaxation: float):
        self.spec, self.samples, self.total, self.relaxation = spec, samples, x.shape[-1], relaxation
        length = torch.full((len(x),), self.total) if samples is None else samples
        length = length.to(x.device)[:, None]
        frame = torch.arange(spec.frames(self.total), device=x.device)
        # A centered spec has one frame more at the very end: the last one given is held.
        held = torch.minimum(frame, length // spec.hop_length - 1)[:, None].expand(-1, spec.n_mels, -1)
        self.target = spec.expand(mel.gather(2, held)).clamp(min=spec.log_floor).transpose(1, 2)
        self.window, self.bank = window(spec, x), filterbank(spec, x)
        # Of frequencies outside its bands the mel says nothing: their gain is 1.
        hertz = torch.arange(spec.bins, device=x.device) * (spec.sample_rate / spec.n_fft)
        self.bridge = interpolation(spec, x) * ((spec.f_min <= hertz) & (hertz <= spec.f_max)) / spec.power
        self.synthesis = self.window
        if samples is not None:
            self.synthesis = self.window * (frame < spec.frames(length))[..., None]
        weight = overlap_add((self.window * self.synthesis).expand(len(x), len(frame), -1), spec.hop_length)
        self.weight = self._cut(weight).clamp(min=1e-6)
        self.valid = torch.arange(self.total, device=x.device) < length

    def _cut(self, padded: Tensor) -> Tensor:
        return padded[:, self.spec.pad : self.spec.pad + self.total]

    def __call__(self, x: Tensor) -> Tensor:
        spec = self.spec
        stft = spectrum(pad_waveform(x, spec, self.samples), self.window, spec.hop_length)
        values = magnitudes(stft, spec.power_offset)
        values = values.square() if spec.power == 2 else values
        now = (values @ self.bank).clamp(min=spec.log_floor)
        # The logarithm of the ratio and not a difference of logarithms, in which float32 would lose a digit.
        steps = (self.target / now).log().clamp(-_LARGEST_STEP, _LARGEST_STEP)
        change = (self.relaxation * steps @ self.bridge).expm1()
        # What the gain adds, not what it leaves: rounding then shrinks with the steps and does not add up.
        frames = torch.fft.irfft(stft * change, n=spec.n_fft) * self.synthesis
        return x + self._cut(overlap_add(frames, spec.hop_length)) / self.weight
