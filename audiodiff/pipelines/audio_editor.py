"""`AudioEditor`: changes parts of a recording with an audio model, and nothing else of it.

Each part is sampled in a window of the recording (`regions`), which alone is read and resampled, so that memory grows
with the longest part and not with the recording (`region_sampler` says how). Then it is resampled back and replaces the
part, with a cross-fade of at most 20 ms inside of it. Of an edit of a band only the difference is added, which is zero
at the ends of the part. Every other sample is that of the recording.

A model of mono signals samples the principal components of the channels (`audio.principal_components`), so that the
stereo image stays. What replaces a sound gets its level, unless that clips.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, SupportsFloat

import torch

from audiodiff.audio.io import Audio
from audiodiff.audio.lapped_transform import BandRegion
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.options import whole_number
from audiodiff.pipelines import regions as regions_
from audiodiff.pipelines import seeds
from audiodiff.pipelines.clip_sampler import ClipSampler
from audiodiff.pipelines.edit_options import EditConfig, configure_edit, parse_interval
from audiodiff.pipelines.edit_window import EditWindow, Patch, band_hop, part_seeds, scale_progress
from audiodiff.pipelines.options import check_audio
from audiodiff.pipelines.pipeline import Pipeline, Progress
from audiodiff.pipelines.region_sampler import RegionSampler
from audiodiff.pipelines.regions import ClipRecording, Recording, Region
from audiodiff.pipelines.steering import describe_guidance, guidance_of


class AudioEditor(Pipeline):
    """Edits recordings with an audio model.

    Args:
        arguments: those of `Pipeline`, with an `AudioModel`.
    """

    MODEL = AudioModel
    model: AudioModel

    def edit(
        self,
        audio: Audio,
        config: EditConfig | None = None,
        *,
        count: int | None = None,
        clip_seeds: Sequence[SupportsFloat] | None = None,
        callback: Callable[[Progress], None] | None = None,
        **options,
    ) -> Audio:
        """Edit a clip.

        Args:
            audio: the recording (T,) or (C, T), at any sample rate.
            config: what to change.
            count: how many variations; None for a single one.
            clip_seeds: the noise of each variation, in place of `config.seed`; see `pipelines.seeds`.
            callback: called with the progress after every step.
            options: fields of `EditConfig` that override those of `config`. Any other name is that of a condition, such
                as `labels=["snare"]`; with "from_" before it, of what the recording is now: `from_labels=["kick"]`.

        Returns:
            Audio at the recording's rate, with samples (C, T) for a single clip and (B, C, T) for several; (T,) and
            (B, 1, T) if those of the recording are (T,).

        Raises:
            UserError: as `check` and `find_regions`, or samples that are not finite.
        """
        check_audio("audio", audio)
        config = configure_edit(config, options)
        single = count is None and clip_seeds is None
        if clip_seeds is not None and not len(clip_seeds):
            raise UserError("clip_seeds", "is empty", "pass one for each variation, or seed=")
        numbers = seeds.resolve(config.seed, clip_seeds, None if count is None else whole_number(count, "count", 1))
        recording = ClipRecording(audio)
        patches = list(self.patches(recording, config, numbers, callback))
        left, right = -min(0, patches[0].start), max(0, patches[-1].stop - recording.samples)
        edited = torch.nn.functional.pad(recording.waveform, (left, right)).repeat(len(numbers), 1, 1)
        for patch in patches:
            edited[..., left + patch.start : left + patch.stop] = patch.samples
        if not single:
            return Audio(edited, audio.sample_rate)
        return Audio(edited[0, 0] if audio.samples.ndim == 1 else edited[0], audio.sample_rate)

    def check(self, config: EditConfig, channels: int = 1, clips: int = 1) -> None:
        """Check a configuration against the model, before any work.

        Args:
            config: what to change.
            channels: of the recording.
            clips: variations.

        Raises:
            UserError: an unknown sampler, or one that cannot be inverted where that is needed; a condition that the
                model does not have or take; guidance without a condition; a band of a model on latents, or above its
                highest frequency; more channels than it can edit; or several variations of an edit without noise.
        """
        adapted, config = self.adapted_for(config)
        sampling = adapted._sampler
        with warnings.catch_warnings(action="ignore"):  # sampling warns
            RegionSampler(sampling, config).sampler()
        sampling.steering(1, sampling.window, config).steer(adapted.model.denoiser)
        if config.inverts:
            adapted.model.parse_conditions(config.from_conditions, 1, {"seconds": 1.0})
            if clips > 1:
                fix = "leave --variations out, or change --morph, --noise-level or the condition"
                raise UserError(f"{clips} variations", "an edit by inversion is the same for any seed", fix)
        if channels > 2 and self.model.channels == 2:
            fix = "mix it to stereo, or use a model of mono audio"
            raise UserError(f"a recording of {channels} channels", "this model edits two", fix)
        if config.band is not None:
            self._band(str(config.band))

    def find_regions(self, recording: Recording, config: EditConfig) -> list[Region]:
        """The parts of a recording that an edit replaces, in order.

        Raises:
            UserError: as `regions.find_regions`; or a band above the recording's frequencies, or with a part that is
                too short for it.
        """
        found = regions_.find_regions(recording, config)
        if config.band is not None:
            band, highest = self._band(str(config.band)), recording.sample_rate / 2
            if band[0] >= highest:
                problem = f"the recording, at {recording.sample_rate} Hz, has nothing above {highest:g} Hz"
                raise UserError(f"band {config.band}", problem, "lower it")
            scale = self.sample_rate / recording.sample_rate
            parts = [(0, round((region.stop - region.start) * scale)) for region in found]
            BandRegion(parts[0][1], parts, band, self.sample_rate, band_hop(self.sample_rate))
        return found

    def settings(self, config: EditConfig) -> dict[str, Any]:
        """All options as JSON as they take effect, the model's own in place of None."""
        own = {"sampler": config.sampler or self.model.sampler, "steps": self._sampler.steps(config)}
        return config.record() | own | describe_guidance(guidance_of(config, self.model), self.model)

    @torch.no_grad()  # and not inference_mode: inpainting takes gradients
    def patches(
        self,
        recording: Recording,
        config: EditConfig,
        clip_seeds: Sequence[int],
        callback: Callable[[Progress], None] | None = None,
        morph_seeds: Sequence[int] | None = None,
    ) -> Iterator[Patch]:
        """The parts of a recording as they become, in order.

        Args:
            recording: what is edited; it is read a window at a time.
            config: what to change.
            clip_seeds: the noise of each variation.
            callback: called with the progress after every step; steps are counted over all windows.
            morph_seeds: those of `config.morph_seed`, one for each variation; None: the first ones.

        Raises:
            UserError: as `edit`.
        """
        if config.adapters:
            adapted, config = self.adapted_for(config)
            yield from adapted.patches(recording, config, clip_seeds, callback, morph_seeds)
            return
        self.check(config, recording.channels, len(clip_seeds))
        if morph_seeds is None:
            morph_seeds = seeds.clip_seeds(config.morph_seed or 0, len(clip_seeds))
        sampling, band = self._sampler, None if config.band is None else self._band(str(config.band))
        found = self.find_regions(recording, config)
        length = round(self.model.samples * recording.sample_rate / self.sample_rate)
        context = None if config.effective_context is None else round(config.effective_context * recording.sample_rate)
        together = list(regions_.groups(found, length // 2 if context is None else context, length))
        level = regions_.sound_level(recording)
        ends = min(0, found[0].start), max(recording.samples, found[-1].stop)
        for number, some in enumerate(together):
            start, stop = regions_.window(some, length, context, ends)
            extent = self._aligned(some[0].start, start, recording.sample_rate), stop
            job = EditWindow(sampling, recording, config, found, some, extent, level, band)
            report = scale_progress(callback, number, len(together))
            noises = part_seeds("window", clip_seeds, number), part_seeds("window", morph_seeds, number)
            yield from job(*noises, report)

    @property
    def _sampler(self) -> ClipSampler:
        return ClipSampler(self.model, self.device, self._context)

    def _aligned(self, first: int, start: int, rate: int) -> int:
        """The start of a window, later by less than a frame, so that its first part starts with a frame."""
        frame = self.model.stride * rate / self.sample_rate
        return first - round((first - start) // frame * frame)

    def _band(self, text: str) -> tuple[float, float]:
        low, high = parse_interval(text, "band", "Hz")
        if self.model.codec is not None:
            problem = "this model works on latents, each of which holds all frequencies"
            raise UserError(f"band {text}", problem, "leave it out, or use a model of waveforms such as drums")
        highest = self.sample_rate / 2
        if low >= highest or highest < high < float("inf"):
            fix = f"write {low:g}: for all above" if low < highest else "lower it"
            raise UserError(f"band {text}", f"this model generates up to {highest:g} Hz", fix)
        return low, min(high, highest + 1)
