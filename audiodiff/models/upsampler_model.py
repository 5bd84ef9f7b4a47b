"""`UpsamplerModel`: a denoiser of the band that a recording lacks, conditioned on the band that it has.

A recording y that was sampled at a low rate has nothing above a cutoff, half of that rate. The process runs on what is
missing, the residual r = x - y of the full-band signal x. r is as loud as the upper band of speech is, which changes by
60 dB from a vowel to a fricative, so a small network first predicts the spectral envelope of x from that of y, and the
process runs on z = whiten(r | envelope), as that of a vocoder does (`audio.prior`, after PriorGrad, Lee et al. 2022,
with a learned envelope in place of a known one). Noise of the predicted envelope is then what sampling starts from.

The network is conditioned on both envelopes and on an excitation with a flat spectrum: y itself below the cutoff, and
above it the rectified y, which continues the harmonics of a voiced sound at multiples of its pitch (high-frequency
regeneration, Makhoul and Berouti 1979). Rectifying does not depend on the cutoff, so one model serves all of them.

What is sampled is high-pass filtered before it is added to y: below the cutoff the output is the recording.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audiodiff.audio.band import KNOWN, half_length, highpass, lowpass
from audiodiff.conditioners.known_band import KnownBand
from audiodiff.conditioners.mel import denormalize_mel, normalize_mel
from audiodiff.models.residual_model import ResidualModel
from audiodiff.nn.condition import Condition

LOWEST_CUTOFF = 1 / 16  # of the sample rate: an eighth of the band


@dataclass(frozen=True)
class Band:
    """A band-limited signal, and what follows from it once per clip.

    Attributes:
        signal: (B, T).
        cutoff: (B,) Hz.
        mel: (B, M, F) its log-mel.
        envelope: (B, M, F) the log-mel that the full-band signal is predicted to have.
        condition: of the network.
    """

    signal: Tensor
    cutoff: Tensor
    mel: Tensor
    envelope: Tensor
    condition: Condition

    def repeated(self, times: int) -> "Band":
        """The batch repeated `times` times, one after the other."""
        tensors = {name: torch.cat([getattr(self, name)] * times) for name in ("signal", "cutoff", "mel", "envelope")}
        return Band(**tensors, condition=self.condition.repeated(times))


class UpsamplerModel(ResidualModel):
    """A residual model of the band above a cutoff, which together with the recording completes it.

    Args:
        arguments: those of `ResidualModel`; the network has 2 x `mel_spec.n_mels` conditioning channels and one signal,
            and the envelope network predicts the full band's mel.
    """

    TYPE = "upsampler"
    CONDITIONER = KnownBand

    @property
    def lowest_cutoff(self) -> float:
        """The lowest cutoff, in Hz, that it takes."""
        return LOWEST_CUTOFF * self.sample_rate

    @property
    def receptive_field(self) -> int | None:
        """As of `ResidualModel`, and the filters of the lowest cutoff."""
        own = super().receptive_field
        return None if own is None else own + 3 * half_length((1 - KNOWN) * self.lowest_cutoff, self.sample_rate)

    def embed_band(self, signal: Tensor, cutoff: Tensor) -> Band:
        """What the network is conditioned on.

        Args:
            signal: (B, T) with nothing above the cutoff.
            cutoff: (B,) Hz.
        """
        mel, rectified = self.analysis(signal), signal.abs()
        predicted = self.envelope(normalize_mel(mel, self.mel_spec))
        envelope = denormalize_mel(predicted.float(), self.mel_spec)
        low = self.prior.whiten(signal, mel)
        high = self.prior.whiten(rectified, self.analysis(rectified))
        excitation = high + lowpass(low - high, cutoff, self.sample_rate)
        batch: dict[str, Any] = {"mel": mel, "envelope": envelope.detach(), "excitation": excitation}
        return Band(signal, cutoff, mel, envelope, self.embed_condition(batch))

    def normalize(self, missing: Tensor, band: Band) -> Tensor:
        """What the process runs on (B, T), of what the band-limited signal lacks (B, T)."""
        return self.prior.whiten(missing, band.envelope.detach())

    def restore(self, z: Tensor, band: Band) -> Tensor:
        """The full-band signal of a sample (B, T): below the cutoff it is the band-limited one."""
        missing = self.prior.color(z, band.envelope.detach())
        return band.signal + highpass(missing, band.cutoff, self.sample_rate)

    def envelope_loss(self, band: Band, waveform: Tensor) -> Tensor:
        """(B,) loss of the predicted log-mel against that of the full-band signal (B, T)."""
        return self.quantile_loss(band.envelope, waveform)
