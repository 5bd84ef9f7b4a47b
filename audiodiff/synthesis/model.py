"""The composed vocoder model: a denoiser on prior-whitened waveforms, told the mel spectrogram.

The process runs on z = whiten(waveform - mean | mel), in which speech has about unit variance at all times and
frequencies, so its pure noise is noise with the mel's spectral envelope (after PriorGrad, Lee et al. 2022, and
SpecGrad, Koizumi et al. 2022). What is sampled is coloured back, and may be projected onto the signals that have the
given mel.

With a bridge (`diffusion.bridge`) the mean is not subtracted but begun from: whitened as the waveform is, it is the
first of the signals that the network is told.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from audiodiff.audio.consistency import project
from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.audio.prior import Prior
from audiodiff.diffusion import presets
from audiodiff.diffusion.bridge import Bridge
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.sampler import Sampler
from audiodiff.diffusion.schedule import Schedule
from audiodiff.diffusion.stored_grid import StoredGrid
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.nn.network import Network
from audiodiff.nn.unet1d import length_mask
from audiodiff.synthesis import checkpoint
from audiodiff.synthesis.source import HarmonicSource

# Network calls where none are asked for.
CALLS = 6
# What the weights of a learned schedule and of a source begin with in a checkpoint; the network's have no prefix.
SCHEDULE, SOURCE = "schedule.", "source."


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


class VocoderModel(nn.Module):
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
        UserError: a network for other mels or signals, a bridge from a prior without a mean, two grids for one sampler
            and number of calls, a grid that starts where the denoiser cannot, or a range that is none.
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
        consistency: int = 32,
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
        source: HarmonicSource | None = None,
        bridge: float | None = None,
    ):
        super().__init__()
        self.denoiser = Denoiser(network if bridge is None else Bridge(network, bridge), schedule, objective)
        self.source, self.bridge = source, bridge
        self.mel_spec, self.prior = mel_spec, prior
        self.sampler, self.consistency = sampler, consistency
        self.grids, self.validated = tuple(grids), None if validated is None else tuple(validated)
        self._check_network()
        self._check_grids()
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
        answers = 2 if isinstance(self.objective, LearnedVariance) else 1
        if network.answers != answers:
            raise UserError(
                "network",
                f"answers {network.answers} signals, the objective asks for {answers}",
                f"set network.answers={answers}",
            )
        signals = (self.source.signals if self.source else 0) + (self.bridge is not None)
        if network.frontend.signals != signals:
            raise UserError(
                "network",
                f"takes {network.frontend.signals} conditioning signals, source and bridge make {signals}",
                f"set network.frontend.signals={signals}",
            )

    @property
    def network(self) -> Network:
        """The denoiser's network, within the bridge if there is one."""
        return self.denoiser.network if self.bridge is None else self.denoiser.network.network

    @property
    def schedule(self) -> Schedule:
        """The denoiser's schedule."""
        return self.denoiser.schedule

    @property
    def objective(self) -> Objective:
        """The denoiser's objective."""
        return self.denoiser.objective

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
        hop, told, signals = self.mel_spec.hop_length, self._normalised(mel), []
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

    def normalise(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """What the process runs on: waveform (B, T), log-mel (B, M, F) -> (B, T)."""
        return (self.prior.normalise if self.bridge is None else self.prior.whiten)(waveform, mel)

    def restore(self, z: Tensor, mel: Tensor) -> Tensor:
        """The waveform of a sample, the inverse of `normalise`, (B, T)."""
        return (self.prior.restore if self.bridge is None else self.prior.colour)(z, mel)

    def source_loss(self, condition: Condition, waveform: Tensor) -> Tensor:
        """(B,) how wrong the source reads the condition's mel, of the waveform (B, T); 0 without a source."""
        if self.source is None:
            return waveform.new_zeros(len(waveform))
        return self.source.loss(condition.frames, waveform)

    def _normalised(self, mel: Tensor) -> Tensor:
        return 2 - 4 * mel / float(self.mel_spec.compress(torch.zeros(())))

    def estimate(self, waveform: Tensor, noise: Tensor, t: Tensor) -> Estimate:
        """Noise a batch of clips and estimate it back: what training minimises.

        Args:
            waveform: (B, T).
            noise: (B, 1, T) standard normal.
            t: (B,) in [0, 1].
        """
        mel = self.analysis(waveform)
        condition = self.condition(mel, waveform=waveform)
        losses = self.denoiser.loss(self.normalise(waveform, mel)[:, None], noise, t, condition)
        restored = self.restore(losses.x0_hat[:, 0], mel)
        return Estimate(losses.loss, restored, losses.log_snr, self.source_loss(condition, waveform))

    @property
    def calls(self) -> int:
        """Network calls when none are asked for: `CALLS`, or the nearest number that the model was checked at."""
        least, most = self.validated or (CALLS, CALLS)
        return min(max(CALLS, least), most)

    def stored_grid(self, calls: int, sampler: str | None = None) -> StoredGrid | None:
        """The grid kept for a sampler (name; None: the model's own) and a number of network calls, if there is one."""
        key = (presets.chosen(sampler or self.sampler, calls), calls)
        return next((grid for grid in self.grids if (grid.sampler, grid.calls) == key), None)

    def sampler_for(self, calls: int, sampler: str | None = None) -> Sampler:
        """A sampler on the grid that is kept for it, else on its own.

        Args:
            calls: network calls; fewer than the model is validated for bring a warning.
            sampler: name, a key of `presets.PRESETS`; None: the model's own.

        Raises:
            UserError: an unknown name, fewer calls than the sampler can do with, or one that asks for a variance that
                this model has not learned.
        """
        if (sampler or self.sampler) == "ddpm_learned" and not isinstance(self.objective, LearnedVariance):
            raise UserError("sampler ddpm_learned", "this model has learned no variance", "choose ddpm or ddpm_large")
        if self.validated and calls < self.validated[0]:
            problem = f"this model was checked with {self.validated[0]} and more, it may sound worse"
            warnings.warn(f"{calls} network calls: {problem}", stacklevel=2)
        stored = self.stored_grid(calls, sampler)
        return stored.build() if stored else presets.build(sampler or self.sampler, calls)

    def noise_scale(self, sampler: Sampler) -> float:
        """Standard deviation of the noise that a sampler begins with."""
        return self.schedule.level(float(sampler.grid_for(self.denoiser)[0])).scale

    def _check_grids(self) -> None:
        keys = [(grid.sampler, grid.calls) for grid in self.grids]
        for grid, key in zip(self.grids, keys, strict=True):
            subject = f"grid for {grid.sampler} with {grid.calls} calls"
            if keys.count(key) > 1:
                raise UserError(subject, "stands there twice", "keep one")
            if grid.times[0] > self.denoiser.t_max:
                raise UserError(
                    subject, f"starts at {grid.times[0]:.6g}, the denoiser at {self.denoiser.t_max:.6g}", "fit it again"
                )
        if self.validated is not None:
            least, most = self.validated
            if not (isinstance(least, int) and isinstance(most, int) and 1 <= least <= most):
                raise UserError(f"validated {list(self.validated)}", "is no range of calls", "give least and most")

    def project(self, waveform: Tensor, mel: Tensor, iterations: int | None = None) -> Tensor:
        """Bring (B, T) towards the signals that have this mel; `iterations` None for the model's own number."""
        iterations = self.consistency if iterations is None else iterations
        return project(waveform, mel, self.mel_spec, iterations) if iterations else waveform

    def replaced(self, **arguments) -> "VocoderModel":
        """A model of the same parts, network and weights included, with other constructor arguments."""
        return type(self)(**{name: getattr(self, name) for name in self.ARGUMENTS} | arguments).eval()

    def save_pretrained(self, folder: str | Path, training: dict | None = None, card: str = "") -> None:
        """Write a checkpoint folder: config.json, model.safetensors, README.md."""
        arguments = {name: getattr(self, name) for name in self.ARGUMENTS}
        weights = self.network.state_dict() | self._part_weights()
        checkpoint.save(folder, checkpoint.Checkpoint(self.TYPE, arguments, weights, training or {}), card)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of a checkpoint: the network's, and those of its other parts that were learned.

        Raises:
            RuntimeError: names or shapes that are not this model's.
        """
        parts = self._part_weights()
        for name, part in self._parts().items():
            found = {key: weights[name + key] for key in part.state_dict() if name + key in weights}
            part.load_state_dict(found)
        self.network.load_state_dict({name: weight for name, weight in weights.items() if name not in parts})

    def _parts(self) -> dict[str, nn.Module]:
        """What is learned besides the network, by the prefix of its weights in a checkpoint."""
        parts = {SCHEDULE: self.schedule, SOURCE: self.source}
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}

    def _part_weights(self) -> dict[str, Tensor]:
        return {name + key: weight for name, part in self._parts().items() for key, weight in part.state_dict().items()}

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "VocoderModel":
        """Read a checkpoint folder.

        Raises:
            UserError: it is missing, damaged, or a model of something else.
        """
        return cls.from_checkpoint(checkpoint.load(folder), folder)

    @classmethod
    def from_checkpoint(cls, found: checkpoint.Checkpoint, folder: str | Path) -> "VocoderModel":
        """The model of a checkpoint that has been read from `folder`; raises as `from_pretrained`."""
        if found.type != cls.TYPE:
            raise UserError(folder, f"is a model of type {found.type!r}, not {cls.TYPE!r}", "choose a vocoder")
        try:
            model = cls(**found.arguments)
            model.load_weights(found.weights)
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason, *_ = str(error).partition("\n")
            problem = f"config and weights do not fit ({reason})"
            raise UserError(folder, problem, "export it again") from error
        return model.eval()
