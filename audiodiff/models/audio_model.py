"""`AudioModel`: a denoiser that generates audio, unconditionally or from conditions such as class labels.

The process runs on waveforms or on latents. Waveforms are whitened (`audio.average_spectrum`), so that the training
recordings have about unit variance at all frequencies, and samples are colored back. Latents are those of a codec
(`models.codec`), of unit variance as well, with some hundred times fewer frames.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.conditioners.conditioner import as_list
from audiodiff.conditioners.length_mask import LengthMask
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.models.audio_process import AudioProcess
from audiodiff.models.diffusion_model import CONDITIONERS, Conditioners, DiffusionModel
from audiodiff.models.distillation import Distillation
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.condition import Condition
from audiodiff.nn.network import Network
from audiodiff.ranges import Positive

_ATTENTION = re.compile(r"unet\.(cross_)?attention\.")
_FRAMES = re.compile(r"^unet\..*\.condition\.")  # weights that read conditioning frames


class AudioModel(AudioProcess, DiffusionModel):
    """Network, schedule, objective, and the transform between process and audio: a whitening filter or a codec.

    Args:
        network: predicts from whitened waveforms (B, C, T) or latents (B, Z, F); its conditioning frames, if any,
            are on the same clock.
        schedule: how much signal and noise there is at time t.
        objective: what the network predicts.
        sample_rate: Hz.
        samples: length of the training crops; the default length of generated clips.
        spectrum: average spectrum of the training recordings; None: not measured, no whitening.
        conditioners: what the network is conditioned on, such as `Labels` and `Scalars`.
        autoencoder: trained, if the process runs on its latents.
        sampler, grids, validated, distillation: as of `DiffusionModel`.
        guidance: where a request has conditions and names no guidance; None: as trained.

    Raises:
        UserError: a network for another number of latents, a sample rate or length out of range, or as
            `DiffusionModel`.
    """

    TYPE = "audio"
    ARGUMENTS = (
        "network",
        "schedule",
        "objective",
        "sample_rate",
        "samples",
        "spectrum",
        "conditioners",
        "autoencoder",
        "sampler",
        "grids",
        "validated",
        "guidance",
        "distillation",
    )

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        objective: Objective,
        sample_rate: Positive,
        samples: Positive,
        spectrum: AverageSpectrum | None = None,
        conditioners: Conditioners = (),
        autoencoder: Autoencoder | None = None,
        sampler: str = "recommended",
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
        guidance: GuidanceSetting | None = None,
        distillation: Distillation | None = None,
    ):
        built_in = [LengthMask(1 if autoencoder is None else autoencoder.stride)]
        denoiser = Denoiser(network, schedule, objective)
        super().__init__(denoiser, sampler, grids, validated, conditioners, built_in, distillation)
        self.guidance = guidance
        self.set_process(network, sample_rate, samples, spectrum, autoencoder)

    @property
    def takes_prompts(self) -> bool:
        """Whether it is conditioned on texts."""
        return "prompt" in self.condition_options()

    @property
    def labels(self) -> tuple[str, ...]:
        """Class labels that it may be conditioned on."""
        return next((option.choices for name, option in self.condition_options().items() if name == "labels"), ())

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that training changes: not those of the codec."""
        parts = [self.network, self.conditioners, *([self.schedule] if isinstance(self.schedule, nn.Module) else [])]
        return (parameter for part in parts for parameter in part.parameters())

    def times(self, frames: int, start: float = 0.0) -> Tensor:
        """(frames,) seconds at which frames of the process begin, the first one at `start`; float64."""
        return start + torch.arange(frames, dtype=torch.float64) * (self.stride / self.sample_rate)

    def embed_condition(self, batch: Mapping[str, Any]) -> Condition:
        """As of `DiffusionModel`; conditioning frames are at `times` (F,), by default those of the batch's signals."""
        if not any(conditioner.frame_channels for conditioner in self.conditioners):
            return super().embed_condition(batch)
        if "times" not in batch:
            signal = batch["latents"] if "latents" in batch else batch["waveform"]
            batch = {**batch, "times": self.times(signal.shape[-1])}
        weight = next(self.network.parameters(), None)  # an exported network has none, and runs on the CPU
        return super().embed_condition(batch).to("cpu" if weight is None else weight.device)

    def load_initial_weights(self, weights: dict[str, Tensor], trained: Mapping[str, Any]) -> None:
        """Load the weights of a model that may have other conditions.

        Those that only this model has keep their initial weights, and so does its attention where the other one has
        none, which adds nothing at first. Conditioning frames that only this one reads have zero weight at first. Those
        that this one does not have are left out.

        Raises:
            UserError: weights of a conditioner that both have lose their meaning.
        """
        theirs = {conditioner.name: conditioner for conditioner in as_list(trained.get("conditioners", ()))}
        ours = {conditioner.name: conditioner for conditioner in self.conditioners}
        for name in theirs.keys() & ours.keys():
            ours[name].check_initial(theirs[name])
        optional = tuple(f"{CONDITIONERS}{name}." for name in theirs.keys() ^ ours.keys())
        tokens = {trained["network"].token_channels, self.network.token_channels}
        optional += ("unet.cross_attention.",) if 0 in tokens else ()
        added = [name for name in self.weights() if _ATTENTION.match(name) and name not in weights]
        own = {name: weight for name, weight in self.weights().items() if name.startswith((*optional, *added))}
        shared = {name: weight for name, weight in weights.items() if not name.startswith(optional)}
        if 0 in {trained["network"].condition, self.network.condition}:
            shared = {name: weight for name, weight in shared.items() if not _FRAMES.search(name)}
            own |= {name: weight * 0 for name, weight in self.weights().items() if _FRAMES.search(name)}
        self.load_weights(shared | own)

    def restore(self, z: Tensor, samples: int | None = None) -> Tensor:
        """The waveform of a sample, the inverse of `normalize`; None: of as many samples as there are."""
        return torch.cat(list(self.restore_chunks(z, samples)), dim=-1)

    def restore_chunks(self, z: Tensor, samples: int | None = None) -> Iterator[Tensor]:
        """As `restore`, in consecutive chunks if there is a codec, so that a long waveform is never held as a whole."""
        if self.codec is not None:
            yield from self.codec.decode_chunks(z, samples)
        else:
            yield (z if self.spectrum is None else self.spectrum.color(z))[..., :samples]
