"""`RestorationModel`: a denoiser of what noise, clipping or a gap has changed in a recording.

What is known of each sample of the original x is an interval, and there is a first guess y of the whole: the recording
itself, in gaps an extrapolation of their neighborhood (`audio.observation`). The process runs on the residual
r = x - y, which is minus the noise, the tops that clipping cut off, or the error of the extrapolation. Its level has
nothing to do with that of the recording, so a small network predicts the spectral envelope of r from that of y and from
which samples are known, and the process runs on z = whiten(r | envelope), as that of an upsampler does.

The network is conditioned on both envelopes, on the shares of samples that are missing and that are clipped, on y, and
on the places and signs of the clipped samples: a filter of these pulses is something that is added to the tops alone.
y is whitened by the envelope of r, so that in noise without speech the answer is -y, but it is at most four times as
loud as what its own envelope would whiten.

What is sampled is added to y and projected onto the intervals: samples that are known are returned as they were.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audiodiff.audio.observation import Observation
from audiodiff.conditioners.degraded import Degraded, shares
from audiodiff.conditioners.mel import denormalize_mel, normalize_mel
from audiodiff.models.residual_model import ResidualModel
from audiodiff.nn.condition import Condition

_LOUDEST = math.log(4)  # of the whitened recording, in nepers above what its own envelope whitens


@dataclass(frozen=True)
class EmbeddedObservation:
    """What the network knows of a degraded signal, computed once per clip.

    Attributes:
        envelope: (B, M, F) the log-mel that the residual is predicted to have.
        condition: of the network.
    """

    envelope: Tensor
    condition: Condition

    def repeated(self, times: int) -> "EmbeddedObservation":
        """The batch repeated `times` times, one after the other."""
        return EmbeddedObservation(torch.cat([self.envelope] * times), self.condition.repeated(times))


class RestorationModel(ResidualModel):
    """A residual model of recordings that are noisy, clipped or have gaps.

    Args:
        arguments: those of `ResidualModel`; the network has 2 x `mel_spec.n_mels` + 2 conditioning channels and two
            signals, and the envelope network 2 further channels.
    """

    TYPE = "restorer"
    CONDITIONER = Degraded

    def embed(self, guess: Tensor, free: Tensor, saturation: Tensor) -> EmbeddedObservation:
        """Predict the envelope of the residual, and embed it with what is known as the condition of the network.

        Args:
            guess: (B, T) first guess of the original.
            free: (B, T) 1 where a sample of the original may be anything, else 0.
            saturation: (B, T) 1 or -1 where a sample was clipped, else 0.
        """
        mel, spec = self.analysis(guess), self.mel_spec
        known = shares(free, saturation, spec, mel.shape[-1])
        envelope = denormalize_mel(self.envelope(normalize_mel(mel, spec), known).float(), spec)
        shape = torch.maximum(envelope.detach(), mel - spec.power * spec.log_scale * _LOUDEST)
        excitation = self.prior.whiten(guess, shape)
        batch: dict[str, Any] = {"mel": mel, "envelope": envelope.detach(), "shares": known}
        batch |= {"excitation": excitation, "saturation": saturation}
        return EmbeddedObservation(envelope, self.embed_condition(batch))

    def normalize(self, residual: Tensor, embedded: EmbeddedObservation) -> Tensor:
        """What the process runs on (B, T), of a residual (B, T)."""
        return self.prior.whiten(residual, embedded.envelope.detach())

    def correction(self, z: Tensor, embedded: EmbeddedObservation) -> Tensor:
        """The residual (B, T) of a sample of the process (B, T)."""
        return self.prior.color(z, embedded.envelope.detach())

    def envelope_loss(self, embedded: EmbeddedObservation, residual: Tensor) -> Tensor:
        """(B,) loss of the predicted log-mel against that of the residual (B, T)."""
        return self.quantile_loss(embedded.envelope, residual)

    def embed_observation(self, observation: Observation) -> EmbeddedObservation:
        """`embed` of an observation at the model's sample rate."""
        return self.embed(observation.guess, observation.free, observation.saturation)
