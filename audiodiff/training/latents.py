"""Data module of codec latents, with every recording encoded once.

Encoding costs as much as a training step of a small network. The latents of a recording are a thirtieth of its size, so
all recordings are encoded before training, and their latents stored beside the manifest, below `.latents`, under the
hash of the codec: another run with the same codec reuses them.

Augmentation changes waveforms, so that a training recording is encoded several times, each time changed at random, and
a draw takes one of these copies instead of the recording. They are reused, too, by runs with the same augmentation.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from audiodiff.data.augmentation import Augmentation
from audiodiff.data.dataset import CropDataset, read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.files import atomic_write, folder_lock, short_name
from audiodiff.models import checkpoint
from audiodiff.models.codec import Codec, codec_checkpoint
from audiodiff.ranges import Positive
from audiodiff.training.datamodule import AudioData

_CHUNK_SECONDS = 60.0  # of a recording that are read at once
_MIXTURES = "partners by length and id"  # how mixtures are drawn: copies of another rule are not reused


class LatentCrops(CropDataset):
    """As `CropDataset`, with `latents` (Z, samples / stride) instead of the waveform.

    Args:
        arguments, options: those of `CropDataset`.
        latents: folder of the files that `encode` writes, and of copies below it.
        stride: samples of a latent frame; crops start and end with whole frames.
        copies: of each recording, with an augmentation.
    """

    def __init__(self, *arguments, latents: Path, stride: int, copies: int, **options):
        super().__init__(*arguments, **options)
        self.latents, self.stride, self.copies = latents, stride, copies

    def __getitem__(self, draw: int) -> dict:
        """A crop of latents with its metadata."""
        clip, frames = self.clip(draw), self.samples // self.stride
        whole = np.load(self._file(clip, self._copy(draw)), mmap_mode="r")
        start = min(self.start(draw) // self.stride, whole.shape[-1] - frames)
        valid = min(self.samples, self.length(clip) - start * self.stride)
        crop = torch.from_numpy(np.array(whole[:, start : start + frames], np.float32))
        return {"latents": crop} | self.metadata(draw, start * self.stride, valid)

    def encode(self, codec: Codec) -> None:
        """Save the latents that draws take and that are missing: of the recordings, or of their changed copies."""
        if self.augmentation is None:
            encode(codec, self.manifest, self.latents, self.samples)
        else:
            self._encode_copies(codec, self.augmentation)

    def _encode_copies(self, codec: Codec, augmentation: Augmentation) -> None:
        with folder_lock(self._copies_folder, wait=True):
            copies = [(clip, copy) for clip in self.manifest.clips for copy in range(self.copies)]
            for clip, copy in tqdm(copies, desc="encoding changed copies", unit="copy"):
                key = _copy_key(clip, copy)
                changed, other = augmentation.augment_clip(clip, self.mixing_pool, self.sample_rate, key)
                if (file := self._file(changed, copy)).exists():
                    continue
                second = None if other is None else _whole(codec, self.manifest, other)
                waveform = augmentation(_whole(codec, self.manifest, changed), self.sample_rate, key, second)
                _save_latents(codec, waveform, self.samples, file)

    def _copy(self, draw: int) -> int | None:
        """The copy that a draw takes; None where recordings have none."""
        random = np.random.default_rng(super()._augmentation_key(draw))
        return None if self.augmentation is None else int(random.integers(self.copies))

    def _augmentation_key(self, draw: int) -> tuple[int, ...]:
        copy = self._copy(draw)
        assert copy is not None
        return _copy_key(self.recorded(draw), copy)

    def _file(self, clip: Clip, copy: int | None) -> Path:
        folder = self.latents if copy is None else self._copies_folder / str(copy)
        return latent_file(folder, self.manifest, clip, self.sample_rate, self.samples)

    @cached_property
    def _copies_folder(self) -> Path:
        """Named by all that copies depend on: the effects, and the clips that are mixed in."""
        effects = json.dumps(self.augmentation, default=vars, sort_keys=True)
        mixes = self.augmentation is not None and self.augmentation.mixing is not None
        described = f"{effects} {f'{_MIXTURES} {self.manifest.content_hash()}' if mixes else ''}"
        return self.latents / f"augmented-{hashlib.sha256(described.encode()).hexdigest()[:12]}"


class LatentData(AudioData):
    """Crops of the latents of a codec.

    Args:
        arguments: those of `AudioData`; `sample_rate` and `channels` are the codec's, `crop_samples` a multiple of its
            stride.
        codec: folder of a codec, or of a model that has one.
        accelerator: device to encode on, as for Lightning's trainer; anything but a CUDA device is the CPU.
        copies: of each training recording that are changed at random and encoded, with an augmentation.
    """

    def __init__(self, *arguments, codec: str, accelerator: str = "auto", copies: Positive = 8, **options):
        super().__init__(*arguments, **options)
        self.codec, self.accelerator, self.copies = codec, accelerator, copies

    def read(self) -> None:
        """Load the codec and encode recordings that are not encoded yet.

        Raises:
            UserError: the codec is missing, or has another sample rate or number of channels.
        """
        found = codec_checkpoint(checkpoint.load(self.codec))
        codec = Codec.from_checkpoint(found, self.codec)
        self.autoencoder, self.codec_training, self.stride = codec.network, found.training, codec.stride
        for name in ("sample_rate", "channels"):
            own, other = getattr(self, name), getattr(codec, name)
            if own != other:
                raise UserError(f"data.{name} {own}", f"codec {self.codec} has {other}", f"set data.{name}={other}")
        if self.crop_samples % codec.stride:
            problem = f"is not a multiple of {codec.stride}, the samples of a latent frame"
            samples = max(round(self.crop_samples / codec.stride), 1) * codec.stride
            raise UserError(f"data.crop_samples {self.crop_samples}", problem, f"set data.crop_samples={samples}")
        self.latents = self.manifest().root / ".latents" / codec_hash(found)[:12]
        super().read()
        device = "cuda" if self.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
        codec = codec.to(device)
        for crops in (self.crops, self.held_out, self.base_held_out):
            if crops is not None:
                assert isinstance(crops, LatentCrops)
                crops.encode(codec)

    def _crops(self, manifest: Manifest, dataset: type[CropDataset] = LatentCrops, **options) -> CropDataset:
        folder = {"latents": self.latents, "stride": self.stride, "copies": self.copies}
        return super()._crops(manifest, dataset, **folder, **options)


def codec_hash(found: checkpoint.Checkpoint) -> str:
    """SHA-256 of a codec's arguments and weights, the same in its own checkpoint as in that of a latent model."""
    described = {name: checkpoint.describe(value) for name, value in found.arguments.items()}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name, weight in sorted(found.weights.items()):
        digest.update(name.encode() + weight.contiguous().numpy().tobytes())
    return digest.hexdigest()


def latent_file(folder: Path, manifest: Manifest, clip: Clip, sample_rate: int, min_samples: int) -> Path:
    """File of a clip's latents, named by its content; clips shorter than `min_samples` are padded with silence.

    Raises:
        UserError: the clip's file is missing.
    """
    try:
        content = clip.content or f"{manifest.path(clip).stat().st_mtime_ns:x}"
    except OSError as error:
        raise UserError(manifest.path(clip), f"cannot be read ({error.strerror})", "prepare the data again") from error
    padding = f".{min_samples}" if clip.samples * sample_rate < min_samples * clip.sample_rate else ""
    path = folder / f"{clip.id}.{content}{padding}"
    return path.with_name(short_name(path.name, len(".npy")) + ".npy")


def encode(codec: Codec, manifest: Manifest, folder: Path, min_samples: int) -> None:
    """Save the latents (Z, F) of every clip without any, in half precision; short clips are padded with silence.

    Args:
        codec: on the device to use.
        manifest: the clips.
        folder: of the files, locked while a process writes to it.
        min_samples: length that shorter clips are padded to.
    """
    files = {clip.id: latent_file(folder, manifest, clip, codec.sample_rate, min_samples) for clip in manifest.clips}
    if all(file.exists() for file in files.values()):
        return
    with folder_lock(folder, wait=True):
        missing = [clip for clip in manifest.clips if not files[clip.id].exists()]
        for clip in tqdm(missing, desc="encoding recordings", unit="clip", disable=None if missing else True):
            _save_latents(codec, _whole(codec, manifest, clip), min_samples, files[clip.id])


def _copy_key(clip: Clip, copy: int) -> tuple[int, ...]:
    """Of the random numbers of a copy, whatever the seed of the run: another run reuses it."""
    return clip_seed(0, clip.id), copy


@torch.inference_mode()
def _save_latents(codec: Codec, waveform: Tensor, min_samples: int, path: Path) -> None:
    padded = torch.nn.functional.pad(waveform, (0, max(min_samples - waveform.shape[-1], 0)))
    latents = codec.encode(padded[None].to(codec.network.mean.device))[0]
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, latents.cpu().numpy().astype(np.float16))


def _whole(codec: Codec, manifest: Manifest, clip: Clip) -> Tensor:
    """A recording (C, T) at the codec's sample rate."""
    return torch.cat(list(_chunks(codec, manifest, clip)), dim=-1)


def _chunks(codec: Codec, manifest: Manifest, clip: Clip) -> Sequence[Tensor]:
    """Read a recording minute by minute: resampling an hour at once takes much memory."""
    rate, length = codec.sample_rate, -(-clip.samples * codec.sample_rate // clip.sample_rate)
    step = round(_CHUNK_SECONDS) * rate
    return [read_crop(manifest, clip, rate, first, step, codec.channels) for first in range(0, length, step)]
