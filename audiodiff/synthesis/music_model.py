"""The composed model of sound without a mel: a denoiser on waveforms, told at most of what kind they are.

The process runs on z = whiten(waveform), in which the recordings that it was trained on have about unit variance at all
frequencies (`audio.average_spectrum`). What is sampled is coloured back.
"""

import math
from collections.abc import Mapping, Sequence

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

NUMBERS = ("seconds", "tempo")


class MusicModel(ComposedModel):
    """Network, schedule, objective and the recordings' average spectrum.

    Args:
        network: predicts from (B, C, T), without conditioning frames.
        schedule: how much signal and noise there is at time t.
        objective: what the network predicts.
        sample_rate: Hz.
        samples: length of a clip that it was trained on; clips of other lengths are made on its own risk.
        spectrum: average of the recordings; None until it is measured, and then all frequencies are taken alike.
        labels: that the network can be told of a clip, in its order.
        numbers: that it can be told, some of `NUMBERS`: how long the clip sounds, and its beats a minute.
        sampler, grids, validated: as of `ComposedModel`.

    Raises:
        UserError: a network that takes frames, or other labels or numbers, or as `ComposedModel`.
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
        "numbers",
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
        numbers: Sequence[str] = (),
        sampler: str = "recommended",
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
    ):
        super().__init__(Denoiser(network, schedule, objective), sampler, grids, validated)
        self.sample_rate, self.samples, self.spectrum = sample_rate, samples, spectrum
        self.labels, self.numbers = tuple(labels), tuple(numbers)
        if network.condition or network.frontend.signals:
            raise UserError("network", "takes a mel or signals, of which there are none", "choose network=music")
        for name, told, named in (
            ("labels", network.labels, self.labels),
            ("numbers", network.numbers, self.numbers),
        ):
            if told != len(named):
                problem = f"is told {told} {name}, the model names {len(named)}"
                raise UserError("network", problem, f"set network.{name}={len(named)}")
        if unknown := set(self.numbers) - set(NUMBERS):
            raise UserError("numbers", f"{', '.join(unknown)} is not known", f"choose among {', '.join(NUMBERS)}")

    @property
    def channels(self) -> int:
        """Of the audio it makes."""
        return self.network.frontend.channels

    def condition(
        self, clips: int, labels: Sequence[str] = (), numbers: Mapping[str, float] | None = None
    ) -> Condition:
        """What the network is told of so many clips.

        Args:
            clips: B.
            labels: what holds of all of them, none or some of the model's.
            numbers: what is known of them, by name; those that the model is not told are left out.

        Raises:
            UserError: no such label; names those that there are.
        """
        device, told = next(self.parameters()).device, {}
        for label in labels:
            if label not in self.labels:
                known = ", ".join(self.labels) or "none: it was trained without"
                raise UserError(f"label {label!r}", "is not one of the model's", f"there are {known}")
        if self.labels:
            row = [float(label in labels) for label in self.labels]
            told["labels"] = torch.tensor([row] * clips, device=device)
        if self.numbers:
            row = [(numbers or {}).get(name, math.nan) for name in self.numbers]
            told["numbers"] = torch.tensor([row] * clips, device=device)
        return Condition(**told)

    def normalise(self, waveform: Tensor) -> Tensor:
        """What the process runs on, like the waveform (B, C, T)."""
        return waveform if self.spectrum is None else self.spectrum.whiten(waveform)

    def restore(self, z: Tensor) -> Tensor:
        """The waveform of a sample, the inverse of `normalise`."""
        return z if self.spectrum is None else self.spectrum.colour(z)
