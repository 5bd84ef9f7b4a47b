"""The composed vocoder model: a denoiser on prior-whitened waveforms, told the mel spectrogram.

The process runs on z = whiten(waveform - mean | mel), in which speech has about unit variance at all times and
frequencies, so its pure noise is noise with the mel's spectral envelope (after PriorGrad, Lee et al. 2022, and
SpecGrad, Koizumi et al. 2022). What is sampled is colored back, and may be projected onto the signals that have the
given mel.

With a bridge (`diffusion.bridge`) the mean is not subtracted but begun from: whitened as the waveform is, it is the
first of the signals that the network is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audiodiff.audio.consistency import project
from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.audio.prior import Prior
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.diffusion.bridge import Bridge
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.nn.condition import Condition
from audiodiff.nn.network import Network
from audiodiff.nn.unet1d import length_mask
from audiodiff.ranges import NonNegative, PositiveFloat

MOST_ITERATIONS = 1000  # of mel consistency
SOURCE = "source."  # what a source's weights begin with in a checkpoint


@dataclass(frozen=True)
class Estimate:
    """What one training step sees of the denoiser.

    Args:
        loss: (B,) the objective's loss.
        waveform: (B, T) the clean signal's estimate, restored.
        log_snr: (B,) the noise level.
        source_loss: (B,) of the source, 0 without one.
    """

    loss: Tensor
    waveform: Tensor
    log_snr: Tensor
    source_loss: Tensor


class VocoderModel(DiffusionModel):
    """Network, schedule, objective, mel spec and prior, which together turn a mel into a waveform.

    Args:
        network: predicts from (B, 1, T) with `mel_spec.n_mels` conditioning channels.
        schedule: how much signal and noise there is at time t.
        objective: what the network predicts.
        mel_spec: of the mels that it is conditioned on.
        prior: what the waveform is whitened by.
        sampler: name of the sampler used when none is asked for.
        consistency: iterations of mel-consistency projection used when none are asked for.
        grids: time grids that take the place of a sampler's own, each for one sampler and number of network calls.
        validated: least and most network calls that it was checked at; fewer bring a warning. None: it was not.
        source: makes the excitation that the network is told; None: it is told the mel alone.
        bridge: the noise of a bridge from the prior's mean to the waveform, as of `Bridge`; None: no bridge.

    Raises:
        UserError: a network, prior or source for other mels or signals, a bridge from a prior without a mean, more
            iterations than `MOST_ITERATIONS`, or as `DiffusionModel`.
        ValueError: a bridge's noise that is not above 0.
    """

    TYPE = "vocoder"
    ARGUMENTS = (
        "network",
        "schedule",
        "objective",
        "mel_spec",
        "prior",
        "sampler",
        "consistency",
        "grids",
        "validated",
        "source",
        "bridge",
    )

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        objective: Objective,
        mel_spec: MelSpec,
        prior: Prior,
        sampler: str = "recommended",
        consistency: NonNegative = 32,
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
        source: HarmonicExcitation | None = None,
        bridge: PositiveFloat | None = None,
    ):
        denoiser = Denoiser(network if bridge is None else Bridge(network, bridge), schedule, objective)
        super().__init__(denoiser, sampler, grids, validated)
        self.source, self.bridge, self.consistency = source, bridge, consistency
        self.mel_spec, self.prior = mel_spec, prior
        self._check_network()
        self._check_mels()
        self.analysis = MelSpectrogram(mel_spec)

    def _check_network(self) -> None:
        network, mel_spec = self.network, self.mel_spec
        if self.bridge is not None and not self.prior.has_mean:
            problem = f"has nowhere to begin, {type(self.prior).__name__} has no mean"
            raise UserError("bridge", problem, "choose prior=rough, or bridge=null")
        if network.condition != mel_spec.n_mels or network.condition_hop != mel_spec.hop_length:
            raise UserError(
                "network",
                f"takes {network.condition} bands every {network.condition_hop} samples, "
                f"the mel spec makes {mel_spec.n_mels} every {mel_spec.hop_length}",
                "set network.condition and network.condition_hop to the mel spec's",
            )
        signals = (self.source.signals if self.source else 0) + (self.bridge is not None)
        if network.frontend.signals != signals:
            raise UserError(
                "network",
                f"takes {network.frontend.signals} conditioning signals, source and bridge make {signals}",
                f"set network.frontend.signals={signals}",
            )

    def _check_mels(self) -> None:
        if not 0 <= self.consistency <= MOST_ITERATIONS:
            raise UserError(f"consistency {self.consistency}", f"is not in 0 to {MOST_ITERATIONS}", "0 is none")
        if self.mel_spec.log_floor >= 1:
            raise UserError("mel spec, log_floor", f"{self.mel_spec.log_floor} is not below 1, which a network needs")
        specs = {"prior": self.prior, "prior's shape": getattr(self.prior, "shape", None)}
        specs = {name: part.spec for name, part in specs.items() if hasattr(part, "spec")}
        specs |= {"source": self.source.mel_spec} if self.source else {}
        for name, spec in specs.items():
            if differences := spec.differences(self.mel_spec):
                raise UserError(name, f"is for another mel spec: {'; '.join(differences)}", "give it the model's")
        if self.source and self.source.pitch.bands != self.mel_spec.n_mels:
            problem = f"reads {self.source.pitch.bands} bands, the mel spec has {self.mel_spec.n_mels}"
            raise UserError("source", problem, "set source.pitch.bands")

    @property
    def sample_rate(self) -> int:
        """Of the audio it makes, in Hz."""
        return self.mel_spec.sample_rate

    @property
    def network(self) -> Network:
        """The denoiser's network, within the bridge if there is one."""
        network = self.denoiser.network
        return network.network if isinstance(network, Bridge) else network

    def condition(
        self, mel: Tensor, samples: Tensor | None = None, waveform: Tensor | None = None, aligned: bool = True
    ) -> Condition:
        """What the network is told: the mel, brought to about -2 to 2 by its spec's own floor, and the signals.

        Those are the bridge's beginning and the excitation, as far as the model has them.

        Args:
            mel: (B, M, F).
            samples: (B,) valid samples of each clip, multiples of hop_length; None: all.
            waveform: (B, T) the recording that the mel is of, in training.
            aligned: whether the excitation is put in phase with the waveform.
        """
        hop, told, signals = self.mel_spec.hop_length, self._normalized(mel), []
        total = mel.shape[-1] * hop if waveform is None else waveform.shape[-1]
        if self.bridge is not None:
            signals.append(self.rough(mel, total, samples))
        if self.source is not None:
            frames = None if samples is None else samples // hop
            signals.append(self.source(told, total, frames, waveform if aligned else None))
        return Condition(told, samples, torch.cat(signals, 1) if signals else None)

    def rough(self, mel: Tensor, total: int, samples: Tensor | None = None) -> Tensor:
        """Where a bridge begins, the whitened mean: log-mel (B, M, F) -> (B, 1, total), of `samples` (B,) valid."""
        mean = self.prior.mean(mel, total)
        if samples is not None:
            mean = mean * length_mask(samples, total, mean.dtype)[:, 0]
        return self.prior.whiten(mean, mel)[:, None]

    def normalize(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """What the process runs on: waveform (B, T), log-mel (B, M, F) -> (B, T)."""
        return (self.prior.normalize if self.bridge is None else self.prior.whiten)(waveform, mel)

    def restore(self, z: Tensor, mel: Tensor) -> Tensor:
        """The waveform of a sample, the inverse of `normalize`, (B, T)."""
        return (self.prior.restore if self.bridge is None else self.prior.color)(z, mel)

    def source_loss(self, condition: Condition, waveform: Tensor) -> Tensor:
        """(B,) how wrong the source reads the condition's mel, of the waveform (B, T); 0 without a source."""
        if self.source is None:
            return waveform.new_zeros(len(waveform))
        return self.source.loss(condition.frames, waveform)

    def _normalized(self, mel: Tensor) -> Tensor:
        return 2 - 4 * mel / float(self.mel_spec.compress(torch.zeros(())))

    def estimate(self, waveform: Tensor, noise: Tensor, t: Tensor) -> Estimate:
        """Noise a batch of clips and estimate it back: what training minimizes.

        Args:
            waveform: (B, T).
            noise: (B, 1, T) standard normal.
            t: (B,) in [0, 1].
        """
        mel = self.analysis(waveform)
        condition = self.condition(mel, waveform=waveform)
        losses = self.denoiser.loss(self.normalize(waveform, mel)[:, None], noise, t, condition)
        restored = self.restore(losses.x0_hat[:, 0], mel)
        return Estimate(losses.loss, restored, losses.log_snr, self.source_loss(condition, waveform))

    def project(self, waveform: Tensor, mel: Tensor, iterations: int | None = None) -> Tensor:
        """Bring (B, T) towards the signals that have this mel; `iterations` None for the model's own number."""
        iterations = self.consistency if iterations is None else iterations
        return project(waveform, mel, self.mel_spec, iterations) if iterations else waveform

    def _parts(self) -> dict[str, nn.Module]:
        return super()._parts() | ({SOURCE: self.source} if self.source else {})
