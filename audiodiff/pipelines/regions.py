"""The parts of a recording that an edit replaces, and the windows that they are sampled in. All in samples.

Positions count from the start of the recording. What is added to the left has negative ones, what is added to the right
lies beyond the end.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.errors import UserError
from audiodiff.pipelines.edit_options import EditConfig, parse_interval

GAP_SECONDS = 0.005  # a shorter stretch of zeros is not a gap
FADE_SECONDS = 0.02  # within a region, from the recording to what is generated and back
QUIET = 0.1  # root mean square relative to that of a recording's sounds, below which a part of it is a pause
_BLOCK = 1 << 16
_LEVEL_SECONDS = 0.4  # of the stretches that are sounds or pauses, as in EBU R 128: a stroke with its decay
_ROUNDING = 1e-3  # seconds that a region may end after the recording, whose length is shown rounded


class Recording(Protocol):
    """What is edited: a clip in memory, or a file of any length."""

    name: str
    sample_rate: int
    samples: int
    channels: int

    def read(self, start: int, stop: int) -> Tensor:
        """The samples [start, stop), within the recording: (C, stop - start)."""


class ClipRecording:
    """A clip in memory as a `Recording`.

    Args:
        audio: (T,), (C, T) or (1, C, T).

    Raises:
        UserError: several clips, or no samples.
    """

    name = "the audio"

    def __init__(self, audio: Audio):
        waveform = torch.atleast_2d(audio.samples)
        waveform = waveform[0] if waveform.ndim == 3 and len(waveform) == 1 else waveform
        if waveform.ndim > 2 or not waveform.numel():
            raise UserError("the audio", f"samples of shape {tuple(audio.samples.shape)}", "pass one clip (C, T)")
        self.waveform, self.sample_rate = waveform, audio.sample_rate
        self.channels, self.samples = waveform.shape

    def read(self, start: int, stop: int) -> Tensor:
        """The samples [start, stop): (C, stop - start)."""
        return self.waveform[:, start:stop]


class Region(NamedTuple):
    """Samples [start, stop) that are replaced.

    Attributes:
        start, stop: positions.
        has_sound: whether there is sound to measure or to start from.
        fade_in, fade_out: samples at the start and at the end that are cross-faded with the recording.
    """

    start: int
    stop: int
    has_sound: bool = True
    fade_in: int = 0
    fade_out: int = 0


def find_regions(recording: Recording, config: EditConfig) -> list[Region]:
    """The parts that an edit replaces, in order, those that touch each other joined.

    Raises:
        UserError: a region outside of the recording, or shorter than two samples; no gap where gaps are to be filled;
            or a silent recording.
    """
    rate, end = recording.sample_rate, recording.samples
    if not any(block.any() for _, block in blocks(recording)):
        raise UserError(recording.name, "is silent", "use a recording with sound")
    found = [_region(str(text), recording) for text in config.regions]
    fade = min(round(FADE_SECONDS * rate), (end - 1) // 2)  # so that two extensions do not meet
    if config.extend_left:
        found.append(Region(-_length(config.extend_left, rate, "extend_left"), fade, False, 0, fade))
    if config.extend_right:
        found.append(Region(end - fade, end + _length(config.extend_right, rate, "extend_right"), False, fade, 0))
    if config.fill_gaps:
        gaps = find_gaps(recording)
        if not gaps:
            problem = f"the recording has no gap of {1000 * GAP_SECONDS:g} ms or more"
            raise UserError("fill_gaps", problem, "name it with --region START:END")
        found += _overlapping(gaps, round(FADE_SECONDS * rate), end)
    return _joined(found) if found else [Region(0, end)]


def find_gaps(recording: Recording) -> list[Region]:
    """Stretches between sounds in which all channels are zero for `GAP_SECONDS` or more."""
    gaps, last, shortest = [], recording.samples, math.ceil(GAP_SECONDS * recording.sample_rate)
    for start, block in blocks(recording):
        sounding = block.any(0).nonzero().flatten() + start
        if not len(sounding):
            continue
        before = torch.cat([torch.tensor([last]), sounding[:-1]])
        wide = sounding - before > shortest
        spans = zip((before[wide] + 1).tolist(), sounding[wide].tolist(), strict=True)
        gaps += [Region(first, stop, False) for first, stop in spans]
        last = int(sounding[-1])
    return gaps


def groups(regions: Sequence[Region], near: int, longest: int) -> Iterator[list[Region]]:
    """Regions that are sampled together: those at most `near` apart, while all of them span at most `longest`."""
    together: list[Region] = []
    for region in regions:
        if together and (region.start - together[-1].stop > near or region.stop - together[0].start > longest):
            yield together
            together = []
        together.append(region)
    if together:
        yield together


def window(together: Sequence[Region], length: int, context: int | None, ends: tuple[int, int]) -> tuple[int, int]:
    """The samples [start, stop) that the model sees of regions.

    Args:
        together: the regions.
        length: of the model's training crops.
        context: to each side; None: what the length leaves, at least an eighth of it. What one side lacks, the other
            gets.
        ends: of the recording with what is added.
    """
    start, stop = together[0].start, together[-1].stop
    before = after = max((length - (stop - start)) // 2, length // 8) if context is None else context
    if context is None:
        lacking = max(before - (start - ends[0]), 0), max(after - (ends[1] - stop), 0)
        before, after = before + lacking[1], after + lacking[0]
    return max(start - before, ends[0]), min(stop + after, ends[1])


def blocks(recording: Recording) -> Iterator[tuple[int, Tensor]]:
    """The recording in consecutive blocks, with the position of each."""
    for start in range(0, recording.samples, _BLOCK):
        yield start, recording.read(start, min(start + _BLOCK, recording.samples))


def sound_level(recording: Recording) -> float:
    """Root mean square of a recording without its pauses: of the stretches of 0.4 s that are not `QUIET`."""
    powers = torch.cat([_powers(block, recording.sample_rate) for _, block in blocks(recording)])
    return float(powers[powers >= QUIET**2 * powers.mean()].mean().sqrt())


def _powers(waveform: Tensor, rate: int) -> Tensor:
    """Mean squares of the stretches of (C, T)."""
    power = waveform.double().square().mean(0)
    return torch.stack([stretch.mean() for stretch in power.split(max(round(_LEVEL_SECONDS * rate), 1))])


def _region(text: str, recording: Recording) -> Region:
    rate, seconds = recording.sample_rate, recording.samples / recording.sample_rate
    start, stop = parse_interval(text, "region", "s")
    if start >= seconds:
        raise UserError(f"region {text}", f"starts after the end, at {seconds:.6g} s", "start it earlier")
    if math.isfinite(stop) and stop > seconds + _ROUNDING:
        fix = f"write {start:g}: up to the end, or add --extend-right {stop - seconds:.3g}"
        raise UserError(f"region {text}", f"ends after the recording, at {seconds:.6g} s", fix)
    first, last = round(start * rate), recording.samples if stop >= seconds else round(stop * rate)
    if last - first < 2:
        raise UserError(f"region {text}", "is shorter than two samples", "make it longer")
    sides = (first > 0) + (last < recording.samples)
    fade = min(round(FADE_SECONDS * rate), (last - first) // max(sides, 1))
    return Region(first, last, True, fade if first > 0 else 0, fade if last < recording.samples else 0)


def _overlapping(gaps: Sequence[Region], fade: int, end: int) -> list[Region]:
    """Gaps with the sound on each side that they are cross-faded with, at most half of what is between two."""
    starts, stops = [gap.start for gap in gaps], [gap.stop for gap in gaps]
    lengths = [start - stop for start, stop in zip([*starts, end], [0, *stops], strict=True)]
    fades = [min(fade, (length - 1) // 2) for length in lengths]
    return [
        Region(gap.start - before, gap.stop + after, False, before, after)
        for gap, before, after in zip(gaps, fades[:-1], fades[1:], strict=True)
    ]


def _length(seconds: float, rate: int, name: str) -> int:
    samples = round(seconds * rate)
    if samples < 1:
        raise UserError(f"{name} {seconds:g}", "less than a sample", "raise it")
    return samples


def _joined(regions: Iterable[Region]) -> list[Region]:
    joined: list[Region] = []
    for region in sorted(regions):
        if joined and region.start <= joined[-1].stop:
            last = joined.pop()
            end = max(last, region, key=lambda one: one.stop)
            sound = last.has_sound and region.has_sound
            region = Region(last.start, end.stop, sound, last.fade_in, end.fade_out)
        joined.append(region)
    return joined
