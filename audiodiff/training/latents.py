"""Data module of codec latents, with every recording encoded once.

Encoding costs as much as a training step of a small network. The latents of a recording are a thirtieth of its size, so
all recordings are encoded before training, and their latents stored beside the manifest, below `.latents`, under the
hash of the codec: another run with the same codec reuses them.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from audiodiff.data.dataset import CropDataset, read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.files import atomic_write, folder_lock, short_name
from audiodiff.models import checkpoint
from audiodiff.models.codec import Codec, codec_checkpoint
from audiodiff.training.datamodule import AudioData

_CHUNK_SECONDS = 60.0  # of a recording that are read at once


class LatentCrops(CropDataset):
    """As `CropDataset`, with `latents` (Z, samples / stride) instead of the waveform.

    Args:
        arguments, options: those of `CropDataset`.
        latents: folder of the files that `encode` wrote.
        stride: samples of a latent frame; crops start and end with whole frames.
    """

    def __init__(self, *arguments, latents: Path, stride: int, **options):
        super().__init__(*arguments, **options)
        self.latents, self.stride = latents, stride

    def __getitem__(self, draw: int) -> dict:
        """A crop of latents with its metadata."""
        clip, frames = self.clip(draw), self.samples // self.stride
        whole = np.load(latent_file(self.latents, self.manifest, clip, self.sample_rate, self.samples), mmap_mode="r")
        start = min(self.start(draw) // self.stride, whole.shape[-1] - frames)
        valid = min(self.samples, self.length(clip) - start * self.stride)
        crop = torch.from_numpy(np.array(whole[:, start : start + frames], np.float32))
        return {"latents": crop} | self.metadata(draw, start * self.stride, valid)


class LatentData(AudioData):
    """Crops of the latents of a codec.

    Args:
        arguments: those of `AudioData`; `sample_rate` and `channels` are the codec's, `crop_samples` a multiple of its
            stride.
        codec: folder of a codec, or of a model that has one.
        accelerator: device to encode on, as for Lightning's trainer; anything but a CUDA device is the CPU.

    Raises:
        UserError: an augmentation is given.
    """

    def __init__(self, *arguments, codec: str, accelerator: str = "auto", **options):
        super().__init__(*arguments, **options)
        self.codec, self.accelerator = codec, accelerator
        if self.augmentation is not None:
            problem = "changes waveforms, and the latents of each recording are computed once"
            raise UserError("data.augmentation", problem, "set data.augmentation=null")

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
        manifest = self.manifest()
        self.latents = manifest.root / ".latents" / codec_hash(found)[:12]
        device = "cuda" if self.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
        encode(codec.to(device), manifest, self.latents, self.crop_samples)
        if self.replay is not None:
            encode(codec, self.replayed(), self.latents, self.crop_samples)
        super().read()

    def _crops(self, manifest: Manifest, **options) -> CropDataset:
        return super()._crops(manifest, LatentCrops, latents=self.latents, stride=self.stride, **options)


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


@torch.inference_mode()
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
            waveform = torch.cat(list(_chunks(codec, manifest, clip)), dim=-1)
            waveform = torch.nn.functional.pad(waveform, (0, max(min_samples - waveform.shape[-1], 0)))
            latents = codec.encode(waveform[None].to(codec.network.mean.device))[0]
            with atomic_write(files[clip.id]) as temporary, temporary.open("wb") as file:
                np.save(file, latents.cpu().numpy().astype(np.float16))


def _chunks(codec: Codec, manifest: Manifest, clip: Clip) -> Sequence[torch.Tensor]:
    """Read a recording minute by minute: resampling an hour at once takes much memory."""
    rate, length = codec.sample_rate, -(-clip.samples * codec.sample_rate // clip.sample_rate)
    step = round(_CHUNK_SECONDS) * rate
    return [read_crop(manifest, clip, rate, first, step, codec.channels) for first in range(0, length, step)]
