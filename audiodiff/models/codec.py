"""`Codec`: an autoencoder of audio, from waveforms to latents and back.

Stereo is coded as mid and side, each through the same mono network: most of the sound is common to both channels. A
network without phases cannot represent the sign of the side signal, so it codes left and right instead.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from audiodiff.audio.arrays import real_tensor
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.training_record import CODEC
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.network import Network
from audiodiff.options import whole_number
from audiodiff.ranges import Positive

TILE = 256  # latent frames at once: some seconds, so that memory does not grow with the length
PREFIX = "codec."  # of its weights within a model that works on latents
MAX_SAMPLE_RATE = 10**6  # Hz


class Codec(PretrainedModel):
    """Waveforms (B, C, T) to latents (B, C x Z, F) and back.

    Args:
        network: of one channel.
        sample_rate: Hz.
        channels: C, 1 or 2.
    """

    network: Autoencoder
    TYPE = "codec"
    ARGUMENTS = ("network", "sample_rate", "channels")

    def __init__(self, network: Autoencoder, sample_rate: Positive, channels: Positive = 2):
        super().__init__()
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {channels}")
        check_rate(sample_rate)
        self.network, self.sample_rate, self.channels = network, int(sample_rate), channels

    @property
    def latents(self) -> int:
        """Latents per frame, of all channels."""
        return self.channels * self.network.latents

    @property
    def stride(self) -> int:
        """Samples per latent frame."""
        return self.network.stride

    @property
    def compression(self) -> float:
        """Samples per latent, counting all channels."""
        return self.stride * self.channels / self.latents

    def frames(self, samples: int) -> int:
        """Number of latent frames of a number of samples."""
        return -(-samples // self.stride)

    def split_channels(self, waveform: Tensor) -> Tensor:
        """Waveforms (B, C, T) to the coded mono signals (B C, T): mid and side, or without phases left and right."""
        return (mid_side(waveform) if self.network.phases else waveform).flatten(0, 1)

    def merge_channels(self, rows: Tensor) -> Tensor:
        """The inverse of `split_channels`."""
        waveform = rows.unflatten(0, (-1, self.channels))
        return mid_side(waveform) if self.network.phases else waveform

    def encode(self, waveform: Tensor, tile: int | None = TILE) -> Tensor:
        """Recordings (B, C, T) to latents (B, C Z, F) of zero mean and unit variance, in tiles of so many frames.

        Raises:
            UserError: not real numbers in floating point, another number of channels, or no samples.
        """
        waveform = self._signal(waveform, "recordings", self.channels)
        return self.network.encode(self.split_channels(waveform), tile).unflatten(0, (-1, self.channels)).flatten(1, 2)

    def decode(self, latents: Tensor, samples: int | None = None, tile: int | None = TILE) -> Tensor:
        """Latents (B, C Z, F) to recordings (B, C, samples); None: as many as the frames hold.

        Raises:
            UserError: not real numbers in floating point, another number of latents, no frames, or a number of samples
                that is not whole, or below 0.
        """
        return torch.cat(list(self.decode_chunks(latents, samples, tile)), dim=-1)

    def decode_chunks(self, latents: Tensor, samples: int | None = None, tile: int | None = TILE) -> Iterator[Tensor]:
        """As `decode`, in consecutive chunks."""
        latents = self._signal(latents, "latents", self.latents)
        left = latents.shape[-1] * self.stride if samples is None else whole_number(samples, "samples", 0)
        rows = latents.unflatten(1, (self.channels, -1)).flatten(0, 1)
        for chunk in self.network.decode_tiles(rows, tile):
            yield self.merge_channels(chunk)[..., :left]
            left = max(left - chunk.shape[-1], 0)

    def _signal(self, signal: Tensor | ArrayLike, name: str, rows: int) -> Tensor:
        """A signal (B, rows, T), on the network's device where it is an array."""
        if not isinstance(signal, Tensor):  # tensors keep their gradient
            array = real_tensor(signal, name).to(self.network.mean.device)
            signal = array.float() if array.is_floating_point() else array
        if not signal.is_floating_point():
            raise UserError(name, f"are {signal.dtype}", "convert them to float32 with full scale +-1")
        if signal.ndim != 3 or signal.shape[1] != rows or signal.shape[-1] == 0:
            problem = f"have shape {tuple(signal.shape)}, this codec expects (B, {rows}, T)"
            raise UserError(name, problem, "add the missing dimension, or convert the number of channels")
        return signal

    @classmethod
    def from_checkpoint(cls, found: checkpoint.Checkpoint, folder: str | Path) -> Self:
        """The codec of its own checkpoint, or of the checkpoint of a latent audio model."""
        return super().from_checkpoint(codec_checkpoint(found), folder)


def codec_checkpoint(found: checkpoint.Checkpoint) -> checkpoint.Checkpoint:
    """The codec's part of a latent audio model's checkpoint; any other checkpoint unchanged."""
    network, model = found.arguments.get("autoencoder"), found.arguments.get("network")
    if not isinstance(network, Autoencoder) or not isinstance(model, Network) or not network.latents:
        return found
    arguments = {
        "network": network,
        "sample_rate": found.arguments.get("sample_rate"),
        "channels": model.frontend.channels // network.latents,
    }
    weights = {name.removeprefix(PREFIX): value for name, value in found.weights.items() if name.startswith(PREFIX)}
    training = found.training.get(CODEC, {})
    return replace(found, type=Codec.TYPE, arguments=arguments, weights=weights, training=training)


def autoencoder(folder: str | Path) -> Autoencoder:
    """The trained network of a codec or of a latent audio model; raises as `Codec.from_pretrained`."""
    return Codec.from_pretrained(folder).network


def check_rate(sample_rate: int) -> None:
    """Check a sample rate.

    Raises:
        UserError: it is not 1 Hz to 1 MHz.
    """
    if not 1 <= sample_rate <= MAX_SAMPLE_RATE:
        raise UserError(f"sample rate {sample_rate}", f"must be 1 to {MAX_SAMPLE_RATE} Hz")


def mid_side(waveform: Tensor) -> Tensor:
    """Left and right (..., 2, T) to mid and side of the same power, and back; mono is unchanged."""
    if waveform.shape[-2] == 1:
        return waveform
    left, right = waveform.unbind(-2)
    return torch.stack([left + right, left - right], dim=-2) * 2**-0.5
