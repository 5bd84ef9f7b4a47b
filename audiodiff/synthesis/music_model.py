"""The composed model of sound without a mel: a denoiser on waveforms, told at most of what kind they are.

The process runs on z = whiten(waveform), in which the recordings that it was trained on have about unit variance at all
frequencies (`audio.average_spectrum`). What is sampled is coloured back.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.schedule import Schedule
from audiodiff.diffusion.stored_grid import StoredGrid
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.nn.network import Network
from audiodiff.synthesis.composed import ComposedModel


class MusicModel(ComposedModel):
    """Network, schedule, objective and the recordings' average spectrum.

    Args:
        network: predicts from (B, C, T), without conditioning frames.
        schedule: how much signal and noise there is at time t.
        objective: what the network predicts.
        sample_rate: Hz.
        samples: length of a clip that it was trained on; clips of other lengths are made on its own risk.
        spectrum: average of the recordings; None until it is measured, and then all frequencies are taken alike.
        labels: kinds of clips that the network is told apart, in its order.
        sampler, grids, validated: as of `ComposedModel`.

    Raises:
        UserError: a network that takes frames, or other labels, or as `ComposedModel`.
    """

    TYPE = "music"
    ARGUMENTS = (
        "network",
        "schedule",
        "objective",
        "sample_rate",
        "samples",
        "spectrum",
        "labels",
        "sampler",
        "grids",
        "validated",
    )

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        objective: Objective,
        sample_rate: int,
        samples: int,
        spectrum: AverageSpectrum | None = None,
        labels: Sequence[str] = (),
        sampler: str = "recommended",
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
    ):
        super().__init__(Denoiser(network, schedule, objective), sampler, grids, validated)
        self.sample_rate, self.samples, self.spectrum, self.labels = sample_rate, samples, spectrum, tuple(labels)
        if network.condition or network.frontend.signals:
            raise UserError("network", "takes a mel or signals, of which there are none", "choose network=music")
        if network.labels != len(self.labels):
            problem = f"tells {network.labels} labels apart, the model names {len(self.labels)}"
            raise UserError("network", problem, f"set network.labels={len(self.labels)}")

    @property
    def channels(self) -> int:
        """Of the audio it makes."""
        return self.network.frontend.channels

    def condition(self, clips: int, label: str | None = None) -> Condition:
        """What the network is told of so many clips of one kind.

        Raises:
            UserError: no such label; names those that there are.
        """
        if label is not None and label not in self.labels:
            known = ", ".join(self.labels) or "none: it was trained without"
            raise UserError(f"label {label!r}", "is not one of the model's", f"there are {known}")
        if not self.labels:
            return Condition()
        place = len(self.labels) if label is None else self.labels.index(label)
        return Condition(label=torch.full((clips,), place, device=next(self.parameters()).device))

    def normalise(self, waveform: Tensor) -> Tensor:
        """What the process runs on, like the waveform (B, C, T)."""
        return waveform if self.spectrum is None else self.spectrum.whiten(waveform)

    def restore(self, z: Tensor) -> Tensor:
        """The waveform of a sample, the inverse of `normalise`."""
        return z if self.spectrum is None else self.spectrum.colour(z)
