"""What pipelines of residual models share: what a recording lacks is sampled in chunks, all channels from one noise."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.models.residual_model import ResidualModel
from audiodiff.nn.condition import Condition
from audiodiff.pipelines import memory
from audiodiff.pipelines.options import SamplingOptions
from audiodiff.pipelines.pipeline import Pipeline

CHUNK_SECONDS = 10.0
MIN_SECONDS = 0.02
OptionsT = TypeVar("OptionsT", bound=SamplingOptions)


class ResidualPipeline(Pipeline):
    """A pipeline of a `ResidualModel`.

    Args:
        arguments: those of `Pipeline`.
    """

    model: ResidualModel

    def with_defaults(self, options: OptionsT) -> OptionsT:
        """Options with the model's steps and sampler where they are None.

        Raises:
            UserError: the sampler is unknown or needs more steps.
        """
        steps = self.model.default_steps if options.steps is None else options.steps
        sampler = options.sampler or self.model.sampler
        presets.build(sampler, steps)
        return replace(options, steps=steps, sampler=sampler)

    def _chunking(self, samples: int, seconds: float) -> tuple[int, int]:
        """Length of the chunks of a signal, and of what is read on both sides of each, in samples."""
        grid, around = self.model.network.grid, self.model.receptive_field
        if around is None:
            return samples, 0
        return max(round(seconds * self.sample_rate / grid), 1) * grid, -(-around // grid) * grid

    def _check_memory(self, signal: Tensor) -> None:
        """Refuse a chunk (C, T) that does not fit; raises as `memory.check`."""
        channels, length = signal.shape
        memory.check(self.model.network, channels, length, self.sample_rate, self.device)

    def _sample(
        self, condition: Condition, shape: torch.Size, start: int, options: SamplingOptions, seed: int, report: Callable
    ) -> Tensor:
        """A sample of the process (C, T) from the same noise in every channel, `start` being its position."""
        assert options.steps is not None  # they are complete
        channels, length = shape
        sampler = self.model.sampler_for(options.steps, options.sampler)
        where = ([seed], 1, length, start, self.device)
        x1 = sampler.noise_scale(self.model.denoiser) * batch_noise(*where)
        fresh = step_noise(*where)
        with self._context():
            z = sampler(
                self.model.denoiser,
                x1.expand(channels, -1, -1),
                condition,
                lambda step: fresh(step).expand(channels, -1, -1),
                report,
            )
        return z[:, 0].float()


def check_finite(signal: Tensor) -> Tensor:
    """The signal.

    Raises:
        NotFinite: it is not finite.
    """
    if not signal.isfinite().all():
        raise NotFinite("audio", "became samples that are not finite", "is the recording within full scale?")
    return signal
