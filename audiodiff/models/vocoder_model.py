"""`VocoderModel`: a denoiser on prior-whitened waveforms, conditioned on the mel spectrogram.

The process runs on z = whiten(waveform - mean | mel), in which speech has about unit variance at all times and
frequencies, so its pure noise is noise with the mel's spectral envelope (after PriorGrad, Lee et al. 2022, and
SpecGrad, Koizumi et al. 2022). What is sampled is colored back, and may be projected onto the signals that have the
given mel.

With a bridge (`diffusion.bridge`) the mean is not subtracted: whitened like the waveform, it is where the process
starts, and the first of the conditioning signals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from audiodiff.audio.consistency import project
from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.audio.prior import Prior
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.conditioners.length_mask import LengthMask
from audiodiff.conditioners.mel import Mel
from audiodiff.conditioners.projected import Projected, ProjectedState
from audiodiff.conditioners.rough import RoughSignal
from audiodiff.diffusion.bridge import Bridge
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import Conditioners, DiffusionModel
from audiodiff.models.distillation import Distillation
from audiodiff.models.setting import DEFAULT, MAX_ITERATIONS, Setting, check_settings, find_setting
from audiodiff.nn.condition import Condition
from audiodiff.nn.network import Network
from audiodiff.ranges import NonNegative, PositiveFloat


@dataclass(frozen=True)
class Estimate:
    """Losses and estimate of one training step.

    Args:
        loss: (B,) the objective's loss.
        waveform: (B, T) the clean signal's estimate, restored.
        log_snr: (B,) the noise level.
        conditioner_loss: (B,) auxiliary losses of the conditioners.
    """

    loss: Tensor
    waveform: Tensor
    log_snr: Tensor
    conditioner_loss: Tensor


class VocoderModel(DiffusionModel):
    """Network, schedule, objective, mel spec and prior, which together turn a mel into a waveform.

    Args:
        network: predicts from (B, 1, T) with `mel_spec.n_mels` conditioning channels.
        schedule: how much signal and noise there is at time t.
        objective: what the network predicts.
        mel_spec: of the mels that it is conditioned on.
        prior: what the waveform is whitened by.
        settings: how it may be sampled, by name; the first is the default.
        grids, validated, distillation: as for `DiffusionModel`.
        conditioners: what the network is conditioned on besides the mel, such as a `HarmonicExcitation`.
        bridge: the noise of a bridge from the prior's mean to the waveform, as of `Bridge`; None: no bridge.
        input_consistency: mel-consistency iterations on each noisy state, the result of which the network is also given
            (`ProjectedState`); 0: it is not.

    Raises:
        UserError: no settings or two of one name, a network, prior or conditioner for other mels or signals, a bridge
            from a prior without a mean, more iterations than `MAX_ITERATIONS`, or as `DiffusionModel`.
        ValueError: a bridge's noise that is not above 0.
    """

    TYPE = "vocoder"
    ARGUMENTS = (
        "network",
        "schedule",
        "objective",
        "mel_spec",
        "prior",
        "settings",
        "grids",
        "validated",
        "conditioners",
        "bridge",
        "input_consistency",
        "distillation",
    )

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        objective: Objective,
        mel_spec: MelSpec,
        prior: Prior,
        settings: Sequence[Setting] = (Setting(),),
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
        conditioners: Conditioners = (),
        bridge: PositiveFloat | None = None,
        input_consistency: NonNegative = 0,
        distillation: Distillation | None = None,
    ):
        state = ProjectedState(prior, mel_spec, input_consistency) if input_consistency else None
        inner = network if state is None else Projected(network, state)
        denoiser = Denoiser(inner if bridge is None else Bridge(inner, bridge), schedule, objective)
        if bridge is not None and not prior.has_mean:
            raise UserError("bridge", f"{type(prior).__name__} has no mean to start from", "choose prior=rough")
        built_in = [Mel(mel_spec), *([] if bridge is None else [RoughSignal(prior)]), LengthMask()]
        built_in += [] if state is None else [state]
        check_settings(settings)
        self.settings = tuple(settings)
        super().__init__(denoiser, settings[0].sampler, grids, validated, conditioners, built_in, distillation)
        self.bridge, self.input_consistency = bridge, input_consistency
        self.mel_spec, self.prior = mel_spec, prior
        self._check_hop(mel_spec)
        self._check_mels()
        self.analysis = MelSpectrogram(mel_spec)

    def _check_mels(self) -> None:
        if not 0 <= self.input_consistency <= MAX_ITERATIONS:
            problem = f"must be 0 to {MAX_ITERATIONS}"
            raise UserError(f"input_consistency {self.input_consistency}", problem, "0 disables it")
        if self.mel_spec.log_floor >= 1:
            raise UserError("mel spec, log_floor", f"{self.mel_spec.log_floor} must be below 1", "use 1e-5")
        priors: dict[str, Any] = {"prior": self.prior, "prior's shape": getattr(self.prior, "shape", None)}
        specs: dict[str, MelSpec] = {name: part.spec for name, part in priors.items() if hasattr(part, "spec")}
        specs |= {part.name: part.mel_spec for part in self.conditioners if hasattr(part, "mel_spec")}
        for name, spec in specs.items():
            if differences := spec.differences(self.mel_spec):
                raise UserError(name, f"different mel spec: {'; '.join(differences)}", "use the model's")

    @property
    def sample_rate(self) -> int:
        """Of the output, in Hz."""
        return self.mel_spec.sample_rate

    def setting(self, name: str | None = None) -> Setting:
        """How it is sampled by the setting of a name; None: by the default one.

        Raises:
            UserError: it has none of that name.
        """
        return find_setting(self.settings, name)

    @property
    def has_named_settings(self) -> bool:
        """Whether it has settings besides an unnamed one."""
        return [setting.name for setting in self.settings] != [DEFAULT]

    @property
    def default_steps(self) -> int:
        """Steps of the default setting."""
        return self.settings[0].steps

    @property
    def consistency(self) -> int:
        """Mel-consistency iterations of the default setting."""
        return self.settings[0].consistency

    @property
    def network(self) -> Network:
        """The denoiser's network, within the bridge and the projection of its state if there are any."""
        network: Any = self.denoiser.network
        while isinstance(network, Bridge | Projected):
            network = network.network
        return network

    @property
    def given_signals(self) -> int:
        """Conditioning signals that are computed once per clip, not at every step."""
        return self.network.frontend.signals - (1 if self.input_consistency else 0)

    @property
    def step_receptive_field(self) -> int | None:
        """Half-width of one evaluation in samples, the projection of its state included; None: everything matters."""
        own = self.network.receptive_field
        state = next((part for part in self.built_in if isinstance(part, ProjectedState)), None)
        return own if own is None or state is None else own + state.receptive_field

    @property
    def excitation(self) -> HarmonicExcitation | None:
        """The conditioner of harmonic excitation, if the model has one."""
        return next((part for part in self.conditioners if isinstance(part, HarmonicExcitation)), None)

    @property
    def rough(self) -> RoughSignal | None:
        """The conditioner of a bridge's rough signal, if the model has a bridge."""
        return next((part for part in self.built_in if isinstance(part, RoughSignal)), None)

    def embed_mel(
        self, mel: Tensor, samples: Tensor | None = None, waveform: Tensor | None = None, align: bool = True
    ) -> Condition:
        """What the network is conditioned on: the normalized mel and the signals computed from it.

        Args:
            mel: (B, M, F).
            samples: (B,) valid samples of each clip, multiples of hop_length; None: all.
            waveform: (B, T) the recording that the mel is of, in training.
            align: whether the excitation is put in phase with the waveform.
        """
        length = mel.shape[-1] * self.mel_spec.hop_length if waveform is None else waveform.shape[-1]
        return self.embed_condition(
            {"mel": mel, "samples": samples, "length": length, "waveform": waveform if align else None}
        )

    def normalize(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """What the process runs on: waveform (B, T), log-mel (B, M, F) -> (B, T)."""
        return (self.prior.normalize if self.bridge is None else self.prior.whiten)(waveform, mel)

    def restore(self, z: Tensor, mel: Tensor) -> Tensor:
        """The waveform of a sample, the inverse of `normalize`, (B, T)."""
        return (self.prior.restore if self.bridge is None else self.prior.color)(z, mel)

    def conditioner_loss(self, mel: Tensor, waveform: Tensor) -> Tensor:
        """(B,) auxiliary losses of the conditioners on log-mels (B, M, F) of waveforms (B, T); 0 without any."""
        losses = (part.loss({"mel": mel, "waveform": waveform}) for part in self.conditioners)
        return sum((loss for loss in losses if loss is not None), waveform.new_zeros(len(waveform)))

    def estimate(self, waveform: Tensor, noise: Tensor, t: Tensor) -> Estimate:
        """Noise a batch of clips and estimate it back: what training minimizes.

        Args:
            waveform: (B, T).
            noise: (B, 1, T) standard normal.
            t: (B,) in [0, 1].
        """
        mel = self.analysis(waveform)
        condition = self.embed_mel(mel, waveform=waveform)
        losses = self.denoiser.loss(self.normalize(waveform, mel)[:, None], noise, t, condition)
        restored = self.restore(losses.x0_hat[:, 0], mel)
        return Estimate(losses.loss, restored, losses.log_snr, self.conditioner_loss(mel, waveform))

    def project(self, waveform: Tensor, mel: Tensor, iterations: int | None = None) -> Tensor:
        """Bring (B, T) towards the signals that have this mel; `iterations` None for the model's own number."""
        iterations = self.consistency if iterations is None else iterations
        return project(waveform, mel, self.mel_spec, iterations) if iterations else waveform
