"""The network's own state, projected onto the mel, as a further input at every step.

The state of a mel-shaped process is a signal with the envelope of the speech and some noise. A few iterations of mel
consistency (`audio.consistency`) turn it into a signal that nearly has the mel: without any network, from pure noise,
that already scores higher than a young network alone. Given that signal and what is left of the mel's error, the
network corrects instead of generating. The projection is a function of the state, so sampling is unchanged, one step
included; and it belongs to the network, so that every wrapper around a denoiser works as before.

The idea of a network between projections is that of Masuyama et al., "Deep Griffin-Lim iteration" (arXiv 1903.03971).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiodiff.audio.consistency import project
from audiodiff.audio.mel import MelSpec, filterbank, pad_waveform, window
from audiodiff.audio.prior import Prior
from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.conditioners.mel import denormalize_mel
from audiodiff.nn.condition import Condition
from audiodiff.nn.unet1d import length_mask
from audiodiff.ranges import Positive
from audiodiff.stft import magnitudes, spectrum


class ProjectedState(Conditioner):
    """A state (B, 1, T) after a few iterations of mel consistency, as a signal, and its mel's error, as frames.

    Args:
        prior: that the process is whitened by.
        mel_spec: of the mels.
        iterations: of mel consistency.
    """

    name = "projected"
    signal_channels = 1

    def __init__(self, prior: Prior, mel_spec: MelSpec, iterations: Positive):
        super().__init__()
        self.prior, self.mel_spec, self.iterations = prior, mel_spec, iterations
        self.frame_channels = mel_spec.n_mels

    @property
    def receptive_field(self) -> int:
        """Half-width in samples: the prior's filter twice, the iterations, the mel of the result."""
        return 3 * self.mel_spec.n_fft + self.iterations * self.mel_spec.win_length

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Nothing: it depends on the state and is added at every step."""
        return Condition()

    def compute(self, state: Tensor, cond: Condition) -> Condition:
        """The condition with the projected state and its mel's error; its first frames are the normalized mel."""
        if cond.frames is None:
            raise ValueError("the projected state needs a mel in cond.frames")
        spec, length = self.mel_spec, state.shape[-1]
        whole = F.pad(state[:, 0], (0, -length % spec.hop_length))
        if cond.samples is not None:
            whole = whole * length_mask(cond.samples, whole.shape[-1], whole.dtype)[:, 0]
        mel = denormalize_mel(cond.frames[:, : spec.n_mels], spec).to(whole)
        waveform = self.prior.color(whole, mel)
        target = mel[..., : whole.shape[-1] // spec.hop_length]
        projected = project(waveform, target, spec, self.iterations, samples=cond.samples)
        signal = self.prior.whiten(projected, mel)[:, None, :length]
        error = self._mel(projected, mel.shape[-1], cond.samples) - mel
        held = cond.signal
        return replace(
            cond,
            frames=torch.cat([cond.frames, error.to(cond.frames)], 1),
            signal=signal if held is None else torch.cat([held, signal.to(held)], 1),
        )

    def _mel(self, waveform: Tensor, frames: int, samples: Tensor | None) -> Tensor:
        """The log-mel (B, M, frames) of waveforms (B, T), each as though it was alone; held beyond its end."""
        spec = self.mel_spec
        padded = pad_waveform(waveform, spec, samples)
        values = magnitudes(spectrum(padded, window(spec, waveform), spec.hop_length), spec.power_offset)
        mel = spec.compress(values.pow(spec.power) @ filterbank(spec, waveform)).transpose(1, 2)
        if samples is None:
            return F.pad(mel[..., :frames], (0, max(frames - mel.shape[-1], 0)), mode="replicate")
        last = samples[:, None].to(mel.device) // spec.hop_length - 1
        index = torch.minimum(torch.arange(frames, device=mel.device), last)
        return mel.gather(2, index[:, None].expand(-1, spec.n_mels, -1))


class Projected(nn.Module):
    """A network that is also given the projection of its state.

    Args:
        network: `(x (B, 1, T), log_snr (B,), cond) -> like x`.
        state: computes the projection.
    """

    def __init__(self, network: nn.Module, state: ProjectedState):
        super().__init__()
        self.network, self.state = network, state

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition) -> Tensor:
        """The network's prediction."""
        return self.network(x, log_snr, self.state.compute(x, cond))
