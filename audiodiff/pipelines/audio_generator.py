"""`AudioGenerator`: unconditional or conditional generation, continuation and variation of audio of any length.

Clips of any length are sampled in bounded memory (`clip_sampler`). A continuation keeps the end of the given clip while
it makes what follows (`diffusion.editing.Inpainting`), a variation begins with the given clip and some noise
(`diffusion.editing.SDEdit`).
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, SupportsFloat

import torch
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.audio.loudness import normalize_peak
from audiodiff.diffusion.editing import Inpainting, SDEdit
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.codec import autoencoder
from audiodiff.options import whole_number
from audiodiff.pipelines import memory, seeds
from audiodiff.pipelines.clip_sampler import LOWER_GUIDANCE, ClipSampler
from audiodiff.pipelines.inputs import fit_clip
from audiodiff.pipelines.options import GenerationConfig, configure
from audiodiff.pipelines.pipeline import Pipeline, Progress
from audiodiff.pipelines.steering import describe_guidance, guidance_of

_MIN_LEVEL = 1e-6  # root mean square that a signal is divided by at least
_LEAD_SECONDS = 1.0  # before a loop's beginning, so that filters have come to rest
_FADE_SECONDS = 0.02  # from a given clip to what a codec makes of its end


class AudioGenerator(Pipeline):
    """Generates clips from noise.

    A clip depends on its seed, its conditions and its other options alone: not on its batch.

    Args:
        arguments: those of `Pipeline`, with an `AudioModel`.
    """

    MODEL = AudioModel
    model: AudioModel

    @classmethod
    def untrained(cls, folder: str | Path, device: str | torch.device = "cpu", seed: int = 0) -> Self:
        """The same model with fresh weights; its codec keeps its own, since the model is not what trained it."""
        generator = super().untrained(folder, device, seed)
        if generator.model.codec is not None:
            generator.model.codec.network.load_state_dict(autoencoder(folder).state_dict())
        return generator

    def generate(
        self,
        config: GenerationConfig | None = None,
        *,
        count: int | None = None,
        clip_seeds: Sequence[SupportsFloat] | None = None,
        callback: Callable[[Progress], None] | None = None,
        **options,
    ) -> Audio:
        """Generate clips of one length.

        Args:
            config: what to generate.
            count: how many clips; None for a single one.
            clip_seeds: the noise of each clip, in place of `config.seed`; see `pipelines.seeds`.
            callback: called with the progress after every step.
            options: fields of `GenerationConfig` that override those of `config`. Any other name is that of a
                condition, such as `labels=["kick"]` or `tempo=120`.

        Returns:
            Audio with samples (C, T) for a single clip, (B, C, T) for several.

        Raises:
            UserError: as `check`, or samples that are not finite.
        """
        config = configure(config or GenerationConfig, options)
        single = count is None and clip_seeds is None
        clips = None if count is None else whole_number(count, "count", 0)
        numbers = seeds.resolve(config.seed, clip_seeds, clips)
        chunks = list(self.chunks(config, numbers, callback)) if numbers else []
        if not chunks:
            return Audio(torch.empty(0, self.model.channels, self._samples(config)), self.sample_rate)
        waveforms = torch.cat(chunks, dim=-1)
        if not waveforms.isfinite().all():
            raise NotFinite("the generated clips", "NaN or infinite samples", LOWER_GUIDANCE)
        if config.peak_level is not None and config.continue_from is None:
            waveforms = normalize_peak(waveforms, config.peak_level)
        return Audio(waveforms[0] if single else waveforms, self.sample_rate)

    def check(self, config: GenerationConfig) -> None:
        """Check a configuration against the model, before any work.

        Raises:
            UserError: an unknown sampler, fewer steps than it needs, a condition that the model does not have or take,
                guidance without a condition, or an `init_audio` with too many channels.
        """
        adapted, config = self.adapted_for(config)
        with warnings.catch_warnings(action="ignore"):  # sampling warns
            adapted._sampler.sampler(config)
        frames = self.model.frames(self._samples(config))
        adapted._sampler.steering(1, frames, config).steer(adapted.model.denoiser)

    def settings(self, config: GenerationConfig) -> dict[str, Any]:
        """All options as JSON as they take effect, the model's own in place of None."""
        own = {"sampler": config.sampler or self.model.sampler, "steps": self._sampler.steps(config)}
        return config.record() | own | describe_guidance(guidance_of(config, self.model), self.model)

    def memory(self, config: GenerationConfig) -> int:
        """Bytes that a clip takes at least while it is sampled, in windows where it is long."""
        frames = min(self.model.frames(self._samples(config)), self._sampler.window)
        return memory.needed(self.model.network, frames)

    @torch.inference_mode()
    def process_signal(self, audio: Audio) -> Tensor:
        """What the process runs on (C', F) of a recording, which is brought to the model's rate and channels."""
        return self._encode(self._fit(audio))[0]

    @torch.no_grad()  # and not inference_mode: continuations take gradients
    def chunks(
        self,
        config: GenerationConfig,
        clip_seeds: Sequence[int],
        callback: Callable[[Progress], None] | None = None,
    ) -> Iterator[Tensor]:
        """Generate clips in consecutive chunks (B, C, T') on the CPU, not normalized to a peak level.

        With a codec, a long waveform is never held as a whole. Raises as `generate`.
        """
        if config.adapters:
            adapted, config = self.adapted_for(config)
            yield from adapted.chunks(config, clip_seeds, callback)
            return
        samples = self._samples(config)
        if config.continue_from is not None:
            yield from self._continue(clip_seeds, config, samples, callback)
        elif config.init_audio is not None:
            given, level = self._encode(self._audible(config.init_audio))
            z = self._sample(clip_seeds, config, self.model.frames(samples), callback, init=given)
            yield from (chunk * level for chunk in self._decode(z, samples))
        else:
            z = self._sample(clip_seeds, config, self.model.frames(samples), callback)
            yield from self._decode(z, samples, config.loop)

    @property
    def _sampler(self) -> ClipSampler:
        return ClipSampler(self.model, self.device, self._context)

    def _sample(
        self,
        clip_seeds: Sequence[int],
        config: GenerationConfig,
        frames: int,
        callback: Callable[[Progress], None] | None,
        init: Tensor | None = None,
        prefix: Tensor | None = None,
        start_time: float = 0.0,
    ) -> Tensor:
        """Sample the process, (B, Z, frames), from `init` (Z, frames), or after a `prefix` (Z, F <= frames).

        The first frame is at `start_time`, in seconds.
        """
        clips, clip_sampler = len(clip_seeds), self._sampler
        denoiser: Any = clip_sampler.denoiser(clips, frames, config.loop)
        first = 0 if prefix is None else prefix.shape[-1]
        steering = clip_sampler.steering(clips, frames, config, first, start_time, config.loop)
        denoiser, condition = steering.steer(denoiser)
        start = clip_sampler.noise(clip_seeds, frames)
        if prefix is not None:
            known = torch.nn.functional.pad(prefix, (0, frames - prefix.shape[-1])).to(start)
            denoiser = Inpainting(denoiser, known, torch.arange(frames, device=self.device) < prefix.shape[-1])
        if init is not None:
            denoiser = SDEdit(denoiser, config.init_noise_level * denoiser.t_max)
        sampler = clip_sampler.sampler(config, denoiser.t_max)
        start = start * sampler.noise_scale(denoiser) if init is None else denoiser.add_noise(init.to(start), start)
        return clip_sampler.run(sampler, denoiser, start, condition, clip_seeds, config, callback)

    def _continue(
        self, clip_seeds: Sequence[int], config: GenerationConfig, samples: int, callback
    ) -> Iterator[Tensor]:
        """The given clip, then its continuation."""
        assert config.continue_from is not None
        given = self._fit(config.continue_from)
        model, most = self.model, self.model.frames(self.model.samples) // 2 * self.model.stride
        # Frames are counted from the end, so that the last known one is whole.
        context = given[..., -min(given.shape[-1] // model.stride * model.stride, most) :]
        if context.shape[-1] < model.stride or not given.any():
            raise UserError("continue_from", "too short or silent", "use a clip with a second or more of sound")
        known, level = self._encode(context)
        frames = known.shape[-1] + model.frames(samples)
        start_time = (given.shape[-1] - context.shape[-1]) / model.sample_rate
        z = self._sample(clip_seeds, config, frames, callback, prefix=known, start_time=start_time)
        chunks = (chunk * level for chunk in self._decode(z, context.shape[-1] + samples))
        fade = min(round(_FADE_SECONDS * model.sample_rate), context.shape[-1])
        rise, end = torch.linspace(0, 1, fade), context.shape[-1]
        gains = 1 - rise, rise
        if model.codec is not None and not model.codec.network.phases:
            gains = (1 - rise).sqrt(), rise.sqrt()  # sounds of unrelated phases add up by their powers
        generated = next(chunks)
        while generated.shape[-1] < end:
            generated = torch.cat([generated, next(chunks)], dim=-1)
        joint = gains[0] * given[..., given.shape[-1] - fade :] + gains[1] * generated[..., end - fade : end]
        before = given[..., : given.shape[-1] - fade].expand(len(clip_seeds), -1, -1)
        yield torch.cat([before, joint, generated[..., end:]], dim=-1)
        yield from chunks

    def _fit(self, given: Audio) -> Tensor:
        return fit_clip(given, self.model.channels, self.sample_rate)

    def _audible(self, given: Audio) -> Tensor:
        fitted = self._fit(given)
        if not fitted.any():
            raise UserError("init_audio", "silent or empty", "use a clip with sound")
        return fitted

    def _encode(self, waveform: Tensor) -> tuple[Tensor, float]:
        """The process's signal (Z, F) of a clip (C, T), at unit power without a codec, and the level removed."""
        z = self.model.normalize(waveform[None].to(self.device))[0]
        if self.model.codec is not None:
            return z, 1.0
        level = float(z.square().mean().sqrt().clamp(min=_MIN_LEVEL))
        return z / level, level

    def _decode(self, z: Tensor, samples: int, loop: bool = False) -> Iterator[Tensor]:
        """Audio (B, C, samples) of the process's signal (B, Z, F), chunk by chunk."""
        if not loop:
            yield from self._sampler.waveforms(z, samples)
            return
        lead = self.model.frames(round(_LEAD_SECONDS * self.sample_rate))
        around = torch.arange(-lead, z.shape[-1] + lead, device=z.device) % z.shape[-1]
        first, passed = lead * self.model.stride, 0
        for chunk in self._sampler.waveforms(z[..., around]):
            kept = chunk[..., max(first - passed, 0) : max(first + samples - passed, 0)]
            passed += chunk.shape[-1]
            if kept.shape[-1]:
                yield kept

    def _samples(self, config: GenerationConfig) -> int:
        if config.init_audio is not None:
            return self._fit(config.init_audio).shape[-1]
        samples = self.model.samples if config.seconds is None else round(config.seconds * self.sample_rate)
        if samples < 1:
            raise UserError(f"seconds {config.seconds:g}", "less than a sample", "raise it")
        return max(round(samples / self.model.stride), 1) * self.model.stride if config.loop else samples
