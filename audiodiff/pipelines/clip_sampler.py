"""`ClipSampler`: samples the process of an audio model, whatever the sampling starts from.

Longer than the model was trained on, a signal is sampled in windows that overlap at every step of the sampler
(`diffusion.windowed`), so that memory is bounded by a window; a loop's windows go around.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from audiodiff.audio.dc_blocker import DcBlocker
from audiodiff.audio.io import Audio
from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.samplers.sampler import DenoiserLike, NotFinite, Sampler
from audiodiff.diffusion.windowed import Windowed
from audiodiff.models.audio_model import AudioModel
from audiodiff.pipelines import memory
from audiodiff.pipelines.options import SteeringOptions
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.steering import Steering, guidance_of

LOWER_GUIDANCE = (  # where a guided clip is not finite
    "lower the guidance scale (2 to 4 are usual) or weights, or the scales of adapters, or use float32"
)


class ClipSampler:
    """Samples signals (B, Z, F) of an audio model's process, of any length F.

    Args:
        model: that samples.
        device: where it runs.
        context: makes the context in which networks run.
    """

    def __init__(self, model: AudioModel, device: torch.device, context: Callable[[], AbstractContextManager]):
        self.model, self.device, self.context = model, device, context

    def steps(self, config: SteeringOptions) -> int:
        """Steps of a request: its own, else the model's default."""
        return self.model.default_steps if config.steps is None else config.steps

    def sampler(self, config: SteeringOptions, t_max: float | None = None) -> Sampler:
        """The sampler of a request; raises and warns as `DiffusionModel.sampler_for`."""
        return self.model.sampler_for(self.steps(config), config.sampler, t_max)

    def denoiser(self, clips: int, frames: int, loop: bool = False) -> DenoiserLike:
        """The model's denoiser for so many clips, in windows where they are longer than those of the training.

        Raises:
            DoesNotFit: one window of all clips takes more memory than is free.
        """
        window = self.window
        if frames > window or loop:
            return Windowed(self.model.denoiser, window, loop=loop)
        rate = self.model.sample_rate / self.model.stride
        memory.check(self.model.network, clips, frames, rate, self.device)
        return self.model.denoiser

    @property
    def window(self) -> int:
        """Frames of the training crops."""
        return self.model.frames(self.model.samples)

    def steering(
        self,
        clips: int,
        frames: int,
        config: SteeringOptions,
        first: int = 0,
        start: float = 0.0,
        loop: bool = False,
    ) -> Steering:
        """What steers so many clips; see `Steering`."""
        own = self.model, config, self.context(), clips, frames, self.window
        return Steering(*own, first, config.fixes_length, start, loop)

    def noise(self, clip_seeds: Sequence[int], frames: int) -> Tensor:
        """Standard normal noise of clips, (B, Z, frames)."""
        return batch_noise(clip_seeds, self.model.network.frontend.channels, frames, 0, self.device)

    def run(
        self,
        sampler: Sampler,
        denoiser: DenoiserLike,
        start: Tensor,
        condition: Any,
        clip_seeds: Sequence[int],
        config: SteeringOptions,
        callback: Callable[[Progress], None] | None,
    ) -> Tensor:
        """Sample from a state at the sampler's first time.

        Args:
            sampler: of `sampler`.
            denoiser: guided and wrapped.
            start: (B, Z, F) the state.
            condition: of the denoiser.
            clip_seeds: of the noise that a stochastic sampler adds.
            config: the request.
            callback: called with the progress after every step.

        Raises:
            NotFinite: the state became NaN or infinite; says what to lower where the request is guided.
        """
        channels, frames = start.shape[1:]

        def report(step: int, nfe: int, _: Tensor, x0: Tensor) -> None:
            if callback is not None:
                callback(Progress(step + 1, nfe, estimate=lambda: self._audio(x0[:1].float())))

        noise = step_noise(clip_seeds, channels, frames, 0, self.device)
        try:
            with self.context():
                return sampler(denoiser, start, condition, noise, report).float()
        except NotFinite as error:
            if guidance_of(config, self.model).scale == 1 and not config.guides():
                raise
            raise NotFinite(error.subject, error.problem, LOWER_GUIDANCE) from error

    def waveforms(self, z: Tensor, samples: int | None = None) -> Iterator[Tensor]:
        """Audio (B, C, T) of the process's signal (B, Z, F) on the CPU, chunk by chunk.

        A decoder that chooses its own phases also chooses an offset, the phase at 0 Hz; that is filtered out.

        Args:
            z: the process's signal.
            samples: of the audio; None: as many as there are.
        """
        codec = self.model.codec
        offset = codec is not None and not codec.network.phases
        finish = DcBlocker(self.model.sample_rate) if offset else Tensor.cpu
        yield from (finish(chunk.float()) for chunk in self.model.restore_chunks(z, samples))

    def _audio(self, z: Tensor) -> Audio:
        """The audio (C, T) of the process's signal (1, Z, F) of one clip."""
        return Audio(torch.cat(list(self.waveforms(z)), dim=-1)[0], self.model.sample_rate)
