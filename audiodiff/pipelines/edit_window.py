"""`EditWindow`: from a window of a recording to the patches that replace parts of it.

The window is brought to the model's channels and sample rate, its parts are sampled, and they are brought back.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from audiodiff.audio.io import Audio, resample
from audiodiff.audio.lapped_transform import BandRegion
from audiodiff.audio.principal_components import principal_components
from audiodiff.diffusion.noise import stable_hash
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.pipelines.clip_sampler import LOWER_GUIDANCE, ClipSampler
from audiodiff.pipelines.edit_options import EditConfig
from audiodiff.pipelines.inputs import fit_clip
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.region_sampler import Excerpt, RegionSampler
from audiodiff.pipelines.regions import QUIET, ClipRecording, Recording, Region, sound_level

Callback = Callable[[Progress], None] | None
_BAND_HOP_SECONDS = 0.02  # about: hop of the transform of band edits, a power of two samples


class Patch(NamedTuple):
    """Samples (B, C, stop - start) that replace [start, stop) of a recording in each clip; see `pipelines.regions`."""

    start: int
    stop: int
    samples: Tensor


class EditWindow:
    """A window of a recording in which regions are replaced.

    Args:
        clip_sampler: of the model.
        recording: what is edited.
        config: what to change.
        found: all regions of the recording.
        own: those of the window.
        extent: first and last sample of the window, exclusive; may lie beyond the recording.
        level: root mean square of the recording's sounds.
        band: that is changed alone, in Hz; None: all frequencies.
    """

    def __init__(
        self,
        clip_sampler: ClipSampler,
        recording: Recording,
        config: EditConfig,
        found: Sequence[Region],
        own: Sequence[Region],
        extent: tuple[int, int],
        level: float,
        band: tuple[float, float] | None,
    ):
        self.clip_sampler, self.recording, self.config, self.own, self.band = clip_sampler, recording, config, own, band
        (self.start, self.stop), self.level = extent, level
        self.unknown = [region for region in found if region.start < self.stop and region.stop > self.start]
        self.model = clip_sampler.model
        self.length = self._at_model(self.stop, ceil=True)

    def __call__(
        self, clip_seeds: Sequence[int], morph_seeds: Sequence[int], callback: Callback = None
    ) -> Iterator[Patch]:
        """The patches of the window's regions, a clip for each seed.

        Raises:
            UserError: as `RegionSampler`.
        """
        channels, sampler = self._channels(), RegionSampler(self.clip_sampler, self.config)
        sampled = []
        for number, channel in enumerate(channels):
            excerpt, report = self._excerpt(channel), scale_progress(callback, number, len(channels))
            noises = part_seeds("component", clip_seeds, number), part_seeds("component", morph_seeds, number)
            after = sampler(excerpt, *noises, report)
            if excerpt.band is not None:
                after = excerpt.band(after - excerpt.signal)
            sampled.append(self._at_recording(after))
        after = self._merged(sampled)
        if not after.isfinite().all():
            raise NotFinite("the edited recording", "NaN or infinite samples", LOWER_GUIDANCE)
        for region in self.own:
            yield self._patch(region, after[..., region.start - self.start : region.stop - self.start])

    @cached_property
    def before(self) -> Tensor:
        """The window of the recording (C, T), zeros beyond its ends."""
        first, last = max(self.start, 0), min(self.stop, self.recording.samples)
        return torch.nn.functional.pad(self.recording.read(first, last), (first - self.start, self.stop - last))

    @cached_property
    def directions(self) -> Tensor | None:
        """(C, K): of the components that a model of mono signals samples; None for other models."""
        if self.model.channels > 1:
            return None
        if self.is_pause:  # in the middle
            return torch.full((len(self.before), 1), len(self.before) ** -0.5)
        components = principal_components(self._heard)
        return components[:, :1] if self.config.morph_with is not None else components

    @cached_property
    def is_pause(self) -> bool:
        """Whether the window holds no sound that determines the level of what is generated from noise."""
        if not self._heard.any():
            return True
        return not self.config.starts_from_content and self.band is None and not self._is_audible(self._heard)

    @property
    def _heard(self) -> Tensor:
        """(C, N): the samples of the window that the recording has, outside of gaps."""
        return self.before[:, self._measured(self.stop - self.start, lambda at: at - self.start)]

    def _channels(self) -> list[Tensor]:
        """The window as signals (C', T) of the model's channels, at the model's rate."""
        if self.directions is None:
            split = [self.before.expand(self.model.channels, -1)]
        else:
            split = list((self.directions.T @ self.before)[:, None])
        rates = self.recording.sample_rate, self.model.sample_rate
        return [resample(channel.contiguous(), *rates)[..., : self.length] for channel in split]

    def _merged(self, sampled: list[Tensor]) -> Tensor:
        """What was sampled (B, C', T) as the recording's channels (B, C, T)."""
        if self.directions is None:
            after = sampled[0]
            return after if len(self.before) > 1 else after.mean(1, keepdim=True)
        return torch.einsum("ck,kbt->bct", self.directions, torch.cat(sampled, 1).transpose(0, 1))

    def _excerpt(self, signal: Tensor) -> Excerpt:
        samples, rate, channels = signal.shape[-1], self.model.sample_rate, self.model.channels
        parts, own = self._parts(self.unknown, samples), self._parts(self.own, samples)
        measured, first = self._measured(samples, self._at_model), own[0][0]
        level = 0.0
        if self.is_pause:
            level = self.level * (1 if self.directions is None else len(self.before) ** 0.5)
        other = style = band = None
        if self.config.morph_with is not None:
            clip = fit_clip(self.config.morph_with, channels, rate, "morph_with")
            other = torch.nn.functional.pad(clip, (first, samples))[:, :samples]
        if self.config.style_from is not None:
            style = fit_clip(self.config.style_from, channels, rate, "style_from")
        if self.band is not None:
            band = BandRegion(samples, own, self.band, rate, band_hop(rate))
        start = self.start / self.recording.sample_rate
        return Excerpt(signal, parts, first, measured, level, start, other, style, band)

    def _parts(self, regions: Sequence[Region], samples: int) -> list[tuple[int, int]]:
        """First and last sample, exclusive, of regions in a window of that many samples at the model's rate."""
        return [(self._clipped(region.start, samples), self._clipped(region.stop, samples)) for region in regions]

    def _measured(self, samples: int, place: Callable[[int], int]) -> Tensor:
        """(samples,) bool: where the recording has sound to measure."""
        measured = torch.ones(samples, dtype=torch.bool)
        silent = [region for region in self.unknown if not region.has_sound]
        silent += [Region(self.start, 0), Region(self.recording.samples, self.stop)]
        for region in silent:
            measured[max(place(region.start), 0) : max(place(region.stop), 0)] = False
        return measured

    def _at_model(self, position: int, ceil: bool = False) -> int:
        """A position of the recording in samples of the window at the model's rate."""
        scaled, rate = (position - self.start) * self.model.sample_rate, self.recording.sample_rate
        return -(-scaled // rate) if ceil else (2 * scaled + rate) // (2 * rate)

    def _clipped(self, position: int, samples: int) -> int:
        return min(max(self._at_model(position), 0), samples)

    def _at_recording(self, signal: Tensor) -> Tensor:
        """A signal (B, C', T) at the recording's rate, as long as the window."""
        back = resample(signal.contiguous(), self.model.sample_rate, self.recording.sample_rate)
        length = self.stop - self.start
        return torch.nn.functional.pad(back, (0, max(length - back.shape[-1], 0)))[..., :length]

    def _patch(self, region: Region, after: Tensor) -> Patch:
        before = self.before[:, region.start - self.start : region.stop - self.start]
        if self.band is not None:
            return Patch(region.start, region.stop, before + after)
        if self.is_pause:
            after = torch.stack([clip * self.level / max(self._level(clip), 1e-12) for clip in after])
        elif region.has_sound and self._is_audible(before):
            after = after * self._gain(before, after)
        peak, most = after.abs().amax((1, 2), True), self.before.abs().max().clamp(min=1)
        after = after * (most / peak.clamp(min=1e-12)).clamp(max=1)  # the recording's encoding would clip it
        rise, fall = self._fades(region)
        return Patch(region.start, region.stop, fall * before + rise * after)

    def _level(self, clip: Tensor) -> float:
        """The level of the sounds of what was generated (C, T)."""
        return sound_level(ClipRecording(Audio(clip, self.recording.sample_rate)))

    def _is_audible(self, sound: Tensor) -> bool:
        """Whether it is more than a pause of the recording."""
        return bool(sound.square().mean().sqrt() > QUIET * self.level)

    def _gain(self, before: Tensor, after: Tensor) -> Tensor:
        """(B, 1, 1): to the level of what was there; of a morph into a clip, on the way to that clip's."""
        levels = before.square().mean().sqrt(), after.square().mean((1, 2), True).sqrt()
        target = levels[0]
        if self.config.morph_with is not None:
            other = self.config.morph_with.samples.square().mean().sqrt()
            target = target ** (1 - self.config.morph) * other**self.config.morph
        return torch.where((levels[1] > 0) & (target > 0), target / levels[1].clamp(min=1e-12), 1.0)

    def _fades(self, region: Region) -> tuple[Tensor, Tensor]:
        """Gains (stop - start,) of what is generated and of what was there."""
        rise = torch.ones(region.stop - region.start)
        rise[: region.fade_in] = _ramp(region.fade_in)
        rise[len(rise) - region.fade_out :] = _ramp(region.fade_out).flip(0)
        codec = self.model.codec
        if codec is not None and not codec.network.phases:
            return rise.sqrt(), (1 - rise).sqrt()  # sounds of unrelated phases add up by their powers
        return rise, 1 - rise


def band_hop(sample_rate: int) -> int:
    """Hop of the transform of band edits, in samples."""
    return 1 << max(round(_BAND_HOP_SECONDS * sample_rate).bit_length() - 1, 1)


def part_seeds(kind: str, clip_seeds: Sequence[int], number: int) -> list[int]:
    """The seeds of the window or component with a number of each clip; the first has the clip's own."""
    return [stable_hash(kind, seed, number) if number else seed for seed in clip_seeds]


def scale_progress(callback: Callback, number: int, count: int) -> Callback:
    """A callback of one piece of work of several."""
    if callback is None:
        return None
    return lambda progress: callback(
        replace(progress, done=number * progress.total + progress.done, total=count * progress.total)
    )


def _ramp(samples: int) -> Tensor:
    return (torch.arange(samples) + 0.5) / max(samples, 1)
