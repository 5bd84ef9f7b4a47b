"""Datasets of crops for training and of whole clips for evaluation.

`CropDataset` is an endless stream without state: item `draw` is a pure function of (seed, draw), so the number of
workers, their order and interruptions make no difference. The stream consists of passes. In a pass every clip comes up
once per crop length that it holds (at least once), so that clips are weighted by their length, in an order that is a
permutation keyed by (seed, pass). The position of the crop within the clip is keyed by (seed, draw). With weights, a
clip comes up in a pass as often as its weight says, rounded up or down at random, in systematic sampling.

Clips in shards (`data.shards`) are permuted within groups of `SHARDS_AT_ONCE` shards, which are a permutation of all:
so the disk reads a few large files at a time, and clips of different shards share a batch.

A crop is read by seeking: only its own samples, and a margin on both sides if it is resampled, so that it equals the
same segment of the whole resampled clip. For that it starts on a common grid of both sample rates.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from math import ceil, gcd

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from audiodiff.audio.io import read, resample
from audiodiff.conditioners.conditioner import Conditioner, Crop, raw_values
from audiodiff.data.augmentation import Augmentation, MixingPool
from audiodiff.data.batching import collate
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.data.shards import shard_numbers
from audiodiff.errors import UserError

# Random streams: order of a pass, start of a crop, clips, conditions, augmentation.
_ORDER, _START, _CHOICE, _CONDITION, _AUGMENTATION = range(5)
SHARDS_AT_ONCE = 4
_MARGIN_SECONDS = 0.05  # beyond this the resampling filter's tail is below 16-bit resolution


class CropDataset(Dataset):
    """Random crops of a manifest's clips as an endless, stateless stream; index it with any draw >= 0.

    Args:
        manifest: the clips, usually `manifest.with_splits("train")`.
        sample_rate: Hz of the crops; clips at another rate are resampled.
        samples: length of a crop.
        seed: of the stream.
        channels: None for mono crops (samples,), 1 or 2 for (channels, samples).
        from_start: whether crops start where their clips start, as one-shots do.
        conditioners: raw values of these, which are without weights, are fields of every item.
        augmentation: random changes of the crops; None: as recorded.
        weights: of the clips, which then come up regardless of their lengths; None: by their lengths.

    Raises:
        UserError: the manifest has no clip.
    """

    def __init__(
        self,
        manifest: Manifest,
        sample_rate: int,
        samples: int,
        seed: int = 0,
        channels: int | None = None,
        from_start: bool = False,
        conditioners: Sequence[Conditioner] = (),
        augmentation: Augmentation | None = None,
        weights: Sequence[float] | None = None,
    ):
        if not len(manifest):
            raise UserError(manifest.root, "has no clips in this split", "prepare more data")
        self.manifest, self.sample_rate, self.samples, self.seed = manifest, sample_rate, samples, seed
        self.channels, self.from_start = channels, from_start
        self.conditioners, self.augmentation = tuple(conditioners), augmentation
        self._entries = np.repeat(np.arange(len(manifest)), crop_counts(manifest, sample_rate, samples, from_start))
        shards = shard_numbers(manifest.clips)
        self._shards = None if shards is None else np.asarray(shards)
        self.weights = None if weights is None else np.asarray(weights, np.float64)
        self._pass, self._order = -1, self._entries
        self._last: tuple[int, tuple[Clip, Clip | None]] | None = None

    @property
    def draws_per_pass(self) -> int:
        """Number of draws in which every clip comes up at least once, unless there are weights."""
        return len(self._entries)

    def clip(self, draw: int) -> Clip:
        """The clip of a draw, at its augmented speed, and with the caption of what is mixed in."""
        return self.augmented_clip(draw)[0]

    def augmented_clip(self, draw: int) -> tuple[Clip, Clip | None]:
        """The clip of a draw (`clip`), and the clip that is mixed in."""
        if self._last is None or self._last[0] != draw:  # a cache of the last draw, nothing else depends on it
            clip, found = self.recorded(draw), None
            if self.augmentation is not None:
                key = self._augmentation_key(draw)
                clip, found = self.augmentation.augment_clip(clip, self.mixing_pool, self.sample_rate, key)
            self._last = draw, (clip, found)
        return self._last[1]

    @cached_property
    def mixing_pool(self) -> MixingPool:
        """The clips that may be mixed in; none without mixing."""
        mixes = self.augmentation is not None and self.augmentation.mixing is not None
        return MixingPool(self.manifest.clips if mixes else ())

    def recorded(self, draw: int) -> Clip:
        """The clip of a draw as it was recorded."""
        number, place = divmod(draw, self.draws_per_pass)
        if number != self._pass:  # a cache of the last pass' order
            rng = np.random.default_rng((self.seed, _ORDER, number))
            chosen = self._entries if self.weights is None else _systematic(self.weights, len(self._entries), rng)
            self._pass, self._order = number, self._shuffled(chosen, rng)
        return self.manifest.clips[self._order[place]]

    def _shuffled(self, entries: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The entries of a pass in random order, some shards at a time."""
        order = random.permutation(entries)
        if self._shards is None:
            return order
        groups = random.permutation(self._shards.max() + 1) // SHARDS_AT_ONCE
        return order[np.argsort(groups[self._shards[order]], kind="stable")]

    def one_draw_per_clip(self, clips: int) -> list[int]:
        """One draw of each of at most `clips` clips, chosen regardless of their lengths."""
        first: dict[str, int] = {}
        for draw in range(self.draws_per_pass):
            first.setdefault(self.clip(draw).id, draw)
        order = np.random.default_rng((self.seed, _CHOICE)).permutation(len(self.manifest))
        return [first[self.manifest.clips[number].id] for number in order[:clips]]

    def start(self, draw: int) -> int:
        """Start of a draw's crop within its clip, in samples at `sample_rate`."""
        if self.from_start:
            return 0
        clip = self.clip(draw)
        step = self.sample_rate // gcd(clip.sample_rate, self.sample_rate)
        room = max(_length_at(clip, self.sample_rate) - self.samples, 0)
        return step * int(np.random.default_rng((self.seed, _START, draw)).integers(room // step + 1))

    def __getitem__(self, draw: int) -> dict:
        """A float32 crop: `waveform` (samples,) or (channels, samples), and its `metadata`."""
        waveform, valid = self.crop(draw)
        return {"waveform": waveform} | self.metadata(draw, self.start(draw), valid)

    def crop(self, draw: int) -> tuple[Tensor, int]:
        """The waveform of a draw (..., samples), and how many of its samples are not padding."""
        (clip, other), samples = self.augmented_clip(draw), self.samples
        read = read_crop(self.manifest, clip, self.sample_rate, self.start(draw), samples, self.channels)
        if self.augmentation is not None and read.shape[-1]:
            second = None if other is None else self._beginning(other)
            read = self.augmentation(read, self.sample_rate, self._augmentation_key(draw), second)
        return torch.nn.functional.pad(read, (0, samples - read.shape[-1])), read.shape[-1]

    def _beginning(self, clip: Clip) -> Tensor:
        return read_crop(self.manifest, clip, self.sample_rate, 0, self.samples, self.channels)

    def _augmentation_key(self, draw: int) -> tuple[int, ...]:
        return self.seed, _AUGMENTATION, draw

    def length(self, clip: Clip) -> int:
        """Samples of a clip at `sample_rate`."""
        return _length_at(clip, self.sample_rate)

    def metadata(self, draw: int, start: int, valid: int) -> dict:
        """Everything about a crop but its audio.

        Args:
            draw: of the crop.
            start: of the crop within its clip, in samples.
            valid: samples of the crop that are not padding.

        Returns:
            `samples`, those that are valid, `clip` id, `path`, `draw`, and the raw values of the conditioners.
        """
        clip = self.clip(draw)
        random = np.random.default_rng((self.seed, _CONDITION, draw))
        crop = Crop(clip, start, valid, self.length(clip), self.sample_rate, partial(self.read_mono, clip), random)
        values = raw_values(self.conditioners, crop)
        return {"samples": valid, "clip": clip.id, "path": str(self.manifest.path(clip)), "draw": draw} | values

    def read_mono(self, clip: Clip, start: int, samples: int) -> Tensor:
        """Read a segment (samples,) of a clip, zero-padded at its end; `start` is rounded down to the common grid."""
        return read_padded(self.manifest, clip, self.sample_rate, start, samples)

    def collate(self, items: Sequence[dict]) -> dict:
        """Collate items into a batch; conditioners collate their raw values."""
        return collate(items, {conditioner.name: conditioner.collate for conditioner in self.conditioners})


class DrawSampler(Sampler[int]):
    """The draws start, start + stride, ...: a run that has consumed n draws resumes with `DrawSampler(n)`.

    Args:
        start: the first draw; n + r for rank r.
        stride: number of ranks that share the stream.
    """

    def __init__(self, start: int = 0, stride: int = 1):
        self.start, self.stride = start, stride

    def __iter__(self) -> Iterator[int]:
        """Yield draws endlessly."""
        draw = self.start
        while True:
            yield draw
            draw += self.stride


class ClipDataset(Dataset):
    """Whole clips in the manifest's order, resampled to `sample_rate` and cut to `max_seconds`."""

    def __init__(self, manifest: Manifest, sample_rate: int, max_seconds: float | None = None):
        self.manifest, self.sample_rate, self.max_seconds = manifest, sample_rate, max_seconds

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.manifest)

    def __getitem__(self, index: int) -> dict:
        """`waveform` (T,) float32, `clip` id, `path`, `text`."""
        clip = self.manifest.clips[index]
        length = _length_at(clip, self.sample_rate)
        if self.max_seconds is not None:
            length = min(length, round(self.max_seconds * self.sample_rate))
        waveform = read_crop(self.manifest, clip, self.sample_rate, 0, length)
        return {"waveform": waveform, "clip": clip.id, "path": str(self.manifest.path(clip)), "text": clip.text}


def read_crop(
    manifest: Manifest, clip: Clip, sample_rate: int, start: int, samples: int, channels: int | None = None
) -> Tensor:
    """Read samples [start, start + samples) of a clip at `sample_rate`, fewer at its end; channels as of `io.read`.

    `start` must be a multiple of sample_rate / gcd(sample_rate, clip.sample_rate), so that it is a sample of the file.
    """
    path, rate = manifest.path(clip), clip.sample_rate
    if rate == sample_rate:
        return read(path, start=start, samples=samples, channels=channels).samples
    up, down = (r // gcd(rate, sample_rate) for r in (sample_rate, rate))
    if start % up:
        raise ValueError(f"start {start} is not a multiple of {up}")
    margin = ceil(_MARGIN_SECONDS * rate / down) * down
    first = max(start // up * down - margin, 0)
    last = start // up * down + ceil(samples * down / up) + margin
    skipped = start - first // down * up
    piece = read(path, start=first, samples=last - first, channels=channels).samples
    return resample(piece, rate, sample_rate)[..., skipped:][..., :samples]


def read_padded(manifest: Manifest, clip: Clip, sample_rate: int, start: int, samples: int) -> Tensor:
    """As `read_crop`, mono, zero-padded at its end to (samples,); `start` is rounded down to the common grid."""
    step = sample_rate // gcd(clip.sample_rate, sample_rate)
    crop = read_crop(manifest, clip, sample_rate, start // step * step, samples)
    return torch.nn.functional.pad(crop, (0, samples - crop.shape[-1]))


def crop_counts(manifest: Manifest, sample_rate: int, samples: int, from_start: bool) -> list[int]:
    """How many crops of `samples` each clip holds, at least one; one if they start where their clips start."""
    lengths = [samples if from_start else _length_at(clip, sample_rate) for clip in manifest.clips]
    return [max(1, round(length / samples)) for length in lengths]


def _systematic(weights: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` indices, each as often as its share of the weights says, rounded up or down."""
    edges = np.cumsum(weights) * (count / weights.sum())
    return np.minimum(np.searchsorted(edges, np.arange(count) + random.random(), side="right"), len(weights) - 1)


def _length_at(clip: Clip, sample_rate: int) -> int:
    """Number of samples of the clip at `sample_rate`."""
    return ceil(clip.samples * sample_rate / clip.sample_rate)
