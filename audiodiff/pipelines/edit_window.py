"""`EditWindow`: from a window of a recording to the patches that replace parts of it.

The window is brought to the model's channels and sample rate, its parts are sampled, and they are brought back.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from audiodiff.audio.io import resample
from audiodiff.audio.lapped_transform import BandRegion
from audiodiff.audio.principal_components import principal_components
from audiodiff.diffusion.noise import stable_hash
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.pipelines.clip_sampler import LOWER_GUIDANCE, ClipSampler
from audiodiff.pipelines.edit_options import EditConfig
from audiodiff.pipelines.inputs import fit_clip
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.region_sampler import Excerpt, RegionSampler
from audiodiff.pipelines.regions import FADE_SECONDS, Recording, Region, blocks

Callback = Callable[[Progress], None] | None
_SILENCE = 0.1  # root mean square relative to a window's, below which a part of it is silent
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
        extent: first and last sample of the window, exclusive; may reach beyond the recording.
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
        band: tuple[float, float] | None,
    ):
        self.clip_sampler, self.recording, self.config, self.own, self.band = clip_sampler, recording, config, own, band
        self.start, self.stop = extent
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
            excerpt, report = self._excerpt(channel), share(callback, number, len(channels))
            after = sampler(excerpt, own_seeds(clip_seeds, number), own_seeds(morph_seeds, number), report)
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
        found = principal_components(self.before[:, self._measured(self.stop - self.start, lambda at: at - self.start)])
        if not found.shape[1]:  # silent: in the middle
            return torch.full((len(self.before), 1), len(self.before) ** -0.5)
        return found[:, :1] if self.config.morph_with is not None else found

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
        parts = [(self._clipped(region.start, samples), self._clipped(region.stop, samples)) for region in self.unknown]
        measured = self._measured(samples, self._at_model)
        level = 0.0 if signal[:, measured].any() else _level(self.recording)
        other = style = band = None
        if self.config.morph_with is not None:
            first, clip = parts[0][0], fit_clip(self.config.morph_with, channels, rate)
            other = torch.nn.functional.pad(clip, (first, samples))[:, :samples]
        if self.config.style_from is not None:
            style = fit_clip(self.config.style_from, channels, rate)
        if self.band is not None:
            hop = 1 << max(round(_BAND_HOP_SECONDS * rate).bit_length() - 1, 1)
            band = BandRegion(samples, parts, self.band, rate, hop)
        return Excerpt(signal, parts, measured, level, other, style, band)

    def _measured(self, samples: int, place: Callable[[int], int]) -> Tensor:
        """(samples,) bool: where the recording has sound to measure."""
        measured = torch.ones(samples, dtype=torch.bool)
        silent = [region for region in self.unknown if not region.heard]
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
        if region.heard and self._sounds(before):
            after = after * self._gain(before, after)
        rise, fall = self._fades(region)
        return Patch(region.start, region.stop, fall * before + rise * after)

    def _sounds(self, before: Tensor) -> bool:
        """Whether what a part held is more than the silence between sounds of the window."""
        return bool(before.square().mean().sqrt() > _SILENCE * self.before.square().mean().sqrt())

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
        end = self.recording.samples
        sides = (region.start > 0) + (region.stop < end)
        there = min(region.stop, end) - max(region.start, 0)
        fade = min(round(FADE_SECONDS * self.recording.sample_rate), there // max(sides, 1))
        rise, ramp = torch.ones(region.stop - region.start), (torch.arange(fade) + 0.5) / max(fade, 1)
        if region.start > 0:
            rise[:fade] = ramp
        if region.stop < end:
            rise[len(rise) - fade :] = ramp.flip(0)
        codec = self.model.codec
        if codec is not None and not codec.network.phases:
            return rise.sqrt(), (1 - rise).sqrt()  # sounds of unrelated phases add up by their powers
        return rise, 1 - rise


def own_seeds(clip_seeds: Sequence[int], number: int) -> list[int]:
    """The seeds of the part with a number of each clip; the first has the clip's own."""
    return [stable_hash("part", seed, number) if number else seed for seed in clip_seeds]


def share(callback: Callback, number: int, count: int) -> Callback:
    """A callback of one piece of work of several."""
    if callback is None:
        return None
    return lambda progress: callback(Progress(number * progress.total + progress.done, count * progress.total))


def _level(recording: Recording) -> float:
    """Root mean square of a recording where it is not silent."""
    powers = [(float(block.double().square().sum()), int((block != 0).sum())) for _, block in blocks(recording)]
    energy, count = map(sum, zip(*powers, strict=True))
    return (energy / max(count, 1)) ** 0.5
