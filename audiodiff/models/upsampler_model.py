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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.audio.band import KNOWN, half_length, highpass, lowpass
from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.audio.prior import Prior
from audiodiff.conditioners.known_band import KnownBand
from audiodiff.conditioners.mel import denormalize_mel, normalize_mel
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.distillation import Distillation
from audiodiff.nn.condition import Condition
from audiodiff.nn.envelope import EnvelopeNetwork
from audiodiff.nn.network import Network
from audiodiff.ranges import Positive

ENVELOPE = "envelope."
QUANTILE = 0.75  # of the full band's mel that the envelope network predicts
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


class UpsamplerModel(DiffusionModel):
    """Network, schedule, objective, mel spec, prior and envelope network, which together complete a signal's band.

    Args:
        network: predicts from (B, 1, T) with 2 x `mel_spec.n_mels` conditioning channels and one signal.
        schedule: how much signal and noise there is at time t.
        objective: what the network predicts.
        mel_spec: of the spectral envelopes.
        prior: that the missing band is whitened by.
        envelope: predicts the full band's mel.
        steps: default number of steps.
        sampler, grids, validated, distillation: as of `DiffusionModel`.

    Raises:
        UserError: a network, prior or envelope network for other mels, or as `DiffusionModel`.
    """

    TYPE = "upsampler"
    ARGUMENTS = (
        "network",
        "schedule",
        "objective",
        "mel_spec",
        "prior",
        "envelope",
        "steps",
        "sampler",
        "grids",
        "validated",
        "distillation",
    )

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        objective: Objective,
        mel_spec: MelSpec,
        prior: Prior,
        envelope: EnvelopeNetwork,
        steps: Positive = 2,
        sampler: str = "ddim",
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
        distillation: Distillation | None = None,
    ):
        denoiser = Denoiser(network, schedule, objective)
        known = [KnownBand(mel_spec)]
        super().__init__(denoiser, sampler, grids, validated, built_in=known, distillation=distillation)
        self.mel_spec, self.prior, self.envelope, self.steps = mel_spec, prior, envelope, steps
        self._check_mels()
        self.analysis = MelSpectrogram(mel_spec)

    def _check_mels(self) -> None:
        spec, hop = self.mel_spec, self.network.condition_hop
        if hop != spec.hop_length:
            problem = f"expects mel frames every {hop} samples, the mel spec has {spec.hop_length}"
            raise UserError("network", problem, f"set network.condition_hop={spec.hop_length}")
        if self.envelope.bands != spec.n_mels:
            problem = f"expects {self.envelope.bands} mel bands, the mel spec has {spec.n_mels}"
            raise UserError("envelope network", problem, f"set its bands={spec.n_mels}")
        if differences := getattr(self.prior, "spec", spec).differences(spec):
            raise UserError("prior", f"different mel spec: {'; '.join(differences)}", "use the model's")
        if spec.log_floor >= 1:
            raise UserError("mel spec, log_floor", f"{spec.log_floor} must be below 1", "use 1e-5")

    @property
    def sample_rate(self) -> int:
        """Of the output, in Hz."""
        return self.mel_spec.sample_rate

    @property
    def default_steps(self) -> int:
        """Default number of steps."""
        return self.steps

    @property
    def lowest_cutoff(self) -> float:
        """The lowest cutoff, in Hz, that it takes."""
        return LOWEST_CUTOFF * self.sample_rate

    @property
    def receptive_field(self) -> int | None:
        """Half-width of everything between a band-limited signal and its full-band one in samples; None: everything.

        The filters of the lowest cutoff, the mel and its envelope, and what whitens, at every one of these, and the
        network.
        """
        own, spec = self.network.receptive_field, self.mel_spec
        if own is None:
            return None
        filters = 3 * half_length((1 - KNOWN) * self.lowest_cutoff, self.sample_rate)
        frames = self.envelope.receptive_field + 2
        return own + filters + frames * spec.hop_length + 3 * spec.n_fft

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
        """(B,) quantile loss of the predicted log-mel against that of the full-band signal (B, T).

        A median envelope would leave fricatives ten times as loud as the noise: what is whitened has about unit
        variance if the envelope is exceeded in a quarter of the time (`QUANTILE`).
        """
        error = self.analysis(waveform) - band.envelope
        return 2 * torch.maximum(QUANTILE * error, (QUANTILE - 1) * error).mean((1, 2))

    def _parts(self) -> dict[str, nn.Module]:
        return super()._parts() | {ENVELOPE: self.envelope}
