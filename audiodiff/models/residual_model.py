"""`ResidualModel`: a denoiser of what a degraded signal lacks, whitened by an envelope that is predicted from it."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.audio.prior import Prior
from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.distillation import Distillation
from audiodiff.nn.envelope import EnvelopeNetwork
from audiodiff.nn.network import Network
from audiodiff.ranges import Positive

ENVELOPE = "envelope."
QUANTILE = 0.75  # of the mel that the envelope network predicts


class ResidualModel(DiffusionModel):
    """Network, schedule, objective, mel spec, prior and envelope network, which together estimate a residual.

    Args:
        network: predicts from (B, 1, T) with the channels of `CONDITIONER`.
        schedule: how much signal and noise there is at time t.
        objective: what the network predicts.
        mel_spec: of the spectral envelopes.
        prior: that the residual is whitened by.
        envelope: predicts the mel that it is whitened with.
        steps: default number of steps.
        sampler, grids, validated, distillation: as of `DiffusionModel`.

    Raises:
        UserError: a network, prior or envelope network for other mels, or as `DiffusionModel`.
    """

    CONDITIONER: ClassVar[type[Conditioner]]
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
        known = [self.CONDITIONER(mel_spec)]
        super().__init__(denoiser, sampler, grids, validated, built_in=known, distillation=distillation)
        self.mel_spec, self.prior, self.envelope, self.steps = mel_spec, prior, envelope, steps
        self._check_mels()
        self.analysis = MelSpectrogram(mel_spec)

    def _check_mels(self) -> None:
        spec = self.mel_spec
        self._check_hop(spec)
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
    def receptive_field(self) -> int | None:
        """Half-width of everything between a degraded signal and its estimate in samples; None: everything.

        The mel and its envelope, what whitens, at every one of these, and the network.
        """
        own, spec = self.network.receptive_field, self.mel_spec
        frames = self.envelope.receptive_field + 2
        return None if own is None else own + frames * spec.hop_length + 3 * spec.n_fft

    def quantile_loss(self, envelope: Tensor, waveform: Tensor) -> Tensor:
        """(B,) quantile loss of a predicted log-mel (B, M, F) against that of a signal (B, T).

        A median envelope would leave fricatives ten times as loud as the noise: what is whitened has about unit
        variance if the envelope is exceeded in a quarter of the time (`QUANTILE`).
        """
        error = self.analysis(waveform) - envelope
        return 2 * torch.maximum(QUANTILE * error, (QUANTILE - 1) * error).mean((1, 2))

    def _parts(self) -> dict[str, nn.Module]:
        return super()._parts() | {ENVELOPE: self.envelope}
