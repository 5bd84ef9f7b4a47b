"""`RegionSampler`: samples parts of a signal, at the model's sample rate and with its channels.

The rest is known, so that the parts fit to it (`diffusion.editing.Inpainting`). For a model on waveforms what is known
is a projection of the waveform: P keeps the samples outside of the parts, or everything but their band
(`audio.lapped_transform.BandRegion`). The process runs on the whitened waveform, W x, on which the projection is
W P W^-1. For a model on latents, frames outside of the parts are known, one that lies partly outside is known by that
share.

Sampling starts from noise, from what is there with noise added (SDEdit), or from the noise that what is there comes
from: the probability-flow ODE, integrated from data to noise under the condition that describes the signal as it is
(DDIM inversion, Song et al., arXiv 2010.02502). Integrated back under another condition, whatever that does not
determine stays (Su et al. 2022, "Dual Diffusion Implicit Bridges", arXiv 2203.08382). Noises are interpolated along
the arc between them (`diffusion.interpolation`), conditions by the weights of their estimates
(`diffusion.guidance.composition`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from audiodiff.audio.average_spectrum import filter_like
from audiodiff.audio.lapped_transform import BandRegion
from audiodiff.conditioners.registry import requested
from audiodiff.diffusion.editing import Inpainting, Projection, SDEdit
from audiodiff.diffusion.guidance.composition import Composed, Composition
from audiodiff.diffusion.interpolation import slerp
from audiodiff.diffusion.samplers.multistep import Multistep, invert
from audiodiff.diffusion.samplers.sampler import DenoiserLike, Sampler, start_time
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.pipelines.clip_sampler import ClipSampler
from audiodiff.pipelines.edit_options import EditConfig
from audiodiff.pipelines.options import SteeringOptions
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.steering import Steering, own_conditions

_MOST_STYLE_DB = 20.0  # that a style raises or lowers a frequency by, relative to the others
_MIN_LEVEL = 1e-6  # root mean square that a signal is divided by at least


@dataclass(frozen=True)
class Excerpt:
    """What a window holds, at the model's sample rate.

    Attributes:
        signal: (C, T), as many channels as the model has.
        parts: (start, stop) in samples of what is sampled, in order; some may belong to other windows.
        first: where the first part of this window starts.
        measured: (T,) where the signal's level is measured.
        level: root mean square of what is sampled; 0: that of the signal where it is measured.
        start: of the window in the recording, in seconds.
        other: (C, T), what it is morphed into.
        style: (C', T') whose average spectrum it takes over.
        band: lowest and highest frequency that is sampled, in Hz.
    """

    signal: Tensor
    parts: list[tuple[int, int]]
    first: int
    measured: Tensor
    level: float
    start: float = 0.0
    other: Tensor | None = None
    style: Tensor | None = None
    band: BandRegion | None = None


class RegionSampler:
    """Samples parts of a signal.

    Args:
        clip_sampler: of the model.
        config: the request.
    """

    def __init__(self, clip_sampler: ClipSampler, config: EditConfig):
        self.clip_sampler, self.config = clip_sampler, config
        self.model: AudioModel = clip_sampler.model

    def __call__(
        self,
        excerpt: Excerpt,
        clip_seeds: Sequence[int],
        morph_seeds: Sequence[int],
        callback: Callable[[Progress], None] | None,
    ) -> Tensor:
        """Sample the parts of an excerpt: (B, C, T) on the CPU, a clip for each seed.

        Raises:
            UserError: as `Steering.steer` and `sampler`, or samples that are not finite.
        """
        clips, config, sampling = len(clip_seeds), self.config, self.clip_sampler
        known, level = self._encode(excerpt.signal, excerpt)
        base = sampling.denoiser(clips, known.shape[-1])
        base = Composed(base) if self._interpolates_conditions else base
        denoiser, condition = self._steering(config, clips, known.shape[-1], excerpt).steer(base)
        condition = self._interpolated(condition, clips, known.shape[-1], excerpt)
        mask = self._mask(excerpt, known.shape[-1])
        if mask is not None:
            denoiser = Inpainting(denoiser, known.expand(clips, -1, -1), mask)
        noisy = SDEdit(denoiser, config.effective_noise_level * start_time(denoiser))
        sampler = self.sampler(noisy.t_max)
        start = self._start(excerpt, noisy, sampler, known, (clip_seeds, morph_seeds))
        z = sampling.run(sampler, noisy, start, condition, clip_seeds, config, callback)
        samples = excerpt.signal.shape[-1]
        return torch.cat(list(sampling.waveforms(z * level, samples)), -1)

    def sampler(self, t_max: float | None = None) -> Sampler:
        """The sampler of the request.

        Raises:
            UserError: unknown, or one that cannot be inverted where that is needed.
        """
        sampler = self.clip_sampler.sampler(self.config, t_max)
        if self.config.inverts and (not isinstance(sampler, Multistep) or sampler.stochastic):
            subject = f"sampler {self.config.sampler or self.model.sampler}"
            raise UserError(subject, "cannot be inverted", "choose a deterministic multistep one, such as recommended")
        return sampler

    def _start(
        self,
        excerpt: Excerpt,
        denoiser: SDEdit,
        sampler: Sampler,
        known: Tensor,
        noise_seeds: tuple[Sequence[int], Sequence[int]],
    ) -> Tensor:
        """The state (B, Z, F) at the sampler's first time."""
        config, frames, clips = self.config, known.shape[-1], len(noise_seeds[0])
        if config.inverts:
            assert isinstance(sampler, Multistep)  # as `sampler` checks
            start = self._inverted(known, config.from_conditions, denoiser, sampler, excerpt)
            if excerpt.other is not None:
                other, _ = self._encode(excerpt.other, replace(excerpt, level=0.0))
                own = own_conditions(config, self.model)
                start = slerp(start, self._inverted(other, own, denoiser, sampler, excerpt), config.morph)
            return start.expand(clips, -1, -1)
        noise = self.clip_sampler.noise(noise_seeds[0], frames)
        if config.morph_seed is not None:
            noise = slerp(noise, self.clip_sampler.noise(noise_seeds[1], frames), config.morph)
        if config.effective_noise_level == 1:
            return noise * sampler.noise_scale(denoiser)
        content = known if excerpt.style is None else self._encode(self._styled(excerpt), excerpt)[0]
        return denoiser.add_noise(content.expand_as(noise), noise)

    def _inverted(self, z: Tensor, conditions: Any, denoiser: SDEdit, sampler: Multistep, excerpt: Excerpt) -> Tensor:
        """The state (1, Z, F) that leads to a signal under these conditions, without guidance."""
        base = self.clip_sampler.denoiser(1, z.shape[-1])
        plain, condition = self._unguided(conditions, 1, z.shape[-1], excerpt, base)
        with self.clip_sampler.context():
            return invert(sampler, SDEdit(plain, denoiser.t_max), z, condition).float()

    def _unguided(
        self, conditions: Any, clips: int, frames: int, excerpt: Excerpt, base: Any
    ) -> tuple[DenoiserLike, Any]:
        config = self.config.unguided(conditions)
        return self._steering(config, clips, frames, excerpt).steer(base)

    def _steering(self, config: SteeringOptions, clips: int, frames: int, excerpt: Excerpt) -> Steering:
        first = excerpt.first // self.model.stride
        return self.clip_sampler.steering(clips, frames, config, first, excerpt.start)

    @property
    def _interpolates_conditions(self) -> bool:
        """Whether the request is for conditions between two."""
        config = self.config
        given = requested(config.from_conditions) or requested(config.conditions)
        return config.inverts and config.morph < 1 and bool(given)

    def _interpolated(self, condition: Any, clips: int, frames: int, excerpt: Excerpt) -> Any:
        """The condition of a morph: between that of the signal as it is and that of the request."""
        config = self.config
        if not self._interpolates_conditions:
            return condition
        _, source = self._unguided(config.from_conditions, clips, frames, excerpt, self.model.denoiser)
        parts: list[Any] = []
        weights: list[Any] = []
        base = None
        for one, share in ((source, 1 - config.morph), (condition, config.morph)):
            composed = one if isinstance(one, Composition) else Composition([one], [1.0])
            parts += composed.conditions
            weights += [share * weight for weight in composed.weights]
            base = base or composed.base
        return Composition(parts, weights, base)

    def _mask(self, excerpt: Excerpt, frames: int) -> Tensor | Projection | None:
        """What is known of the process's signal; None: nothing."""
        model, samples = self.model, excerpt.signal.shape[-1]
        if excerpt.band is not None:
            band = excerpt.band
            dimensions = model.channels * band.dimensions
            return Projection(lambda z: z - model.normalize(band(model.restore(z))), dimensions)
        known = torch.ones(frames * model.stride, device=self.clip_sampler.device)
        for start, stop in excerpt.parts:
            known[start : stop if stop < samples else None] = 0
        if not known.any():
            return None
        if model.codec is not None:
            return known.unflatten(0, (frames, model.stride)).mean(1)
        if model.spectrum is None:
            return known
        unknown = model.channels * int((known == 0).sum())
        return Projection(lambda z: model.normalize(known * model.restore(z)), unknown)

    def _encode(self, waveform: Tensor, excerpt: Excerpt) -> tuple[Tensor, float]:
        """The process's signal (1, Z, F) of a waveform (C, T), at unit power without a codec, and the level removed."""
        z = self.model.normalize(waveform[None].to(self.clip_sampler.device))
        if self.model.codec is not None:
            return z, 1.0
        if excerpt.level:
            unit = self.model.restore(self.clip_sampler.noise([0], 8192)).square().mean().sqrt()
            level = excerpt.level / float(unit)
        else:
            measured = z[..., excerpt.measured.to(z.device)]
            level = float(measured.square().mean().sqrt()) if measured.numel() else 0.0
        return z / max(level, _MIN_LEVEL), level

    def _styled(self, excerpt: Excerpt) -> Tensor:
        """The signal with its parts filtered to the average spectrum of the style, at their own level."""
        assert excerpt.style is not None
        styled, rate = excerpt.signal.clone(), self.model.sample_rate
        for start, stop in excerpt.parts:
            part = excerpt.signal[:, start:stop]
            if part.any():
                filtered = filter_like(part, excerpt.style, rate, _MOST_STYLE_DB)
                styled[:, start:stop] = filtered * (part.square().mean() / filtered.square().mean()).sqrt()
        return styled
