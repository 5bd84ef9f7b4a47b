"""What the process of an audio generator runs on: whitened waveforms, or latents of a codec.

A classifier that guides a generator reads the same signals, and an earlier model that guides it estimates them.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.codec import PREFIX, Codec, check_rate
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.ranges import Positive

MAX_SECONDS = 3600


class AudioProcess(PretrainedModel):
    """A model whose network reads whitened waveforms (B, C, T) or latents (B, Z, F).

    Attributes:
        network: has a `frontend`.
        sample_rate: Hz.
        samples: length of the training crops.
        spectrum: average spectrum of the training recordings; None: no whitening.
        codec: None for waveforms.
    """

    sample_rate: int
    samples: int
    spectrum: AverageSpectrum | None
    codec: Codec | None

    def set_process(
        self,
        network: Any,
        sample_rate: Positive,
        samples: Positive,
        spectrum: AverageSpectrum | None,
        autoencoder: Autoencoder | None,
    ) -> None:
        """Set the attributes.

        Raises:
            UserError: a sample rate or length out of range, or a network for another number of latents.
        """
        self.sample_rate, self.samples, self.spectrum = sample_rate, samples, spectrum
        check_rate(sample_rate)
        if not 1 <= samples <= MAX_SECONDS * sample_rate:
            raise UserError(f"samples {samples}", f"must be 1 to {MAX_SECONDS} s", "set data.crop_samples")
        latents, rows = 0 if autoencoder is None else autoencoder.latents, network.frontend.channels
        if latents and rows not in (latents, 2 * latents):
            problem = f"has {rows} channels, the codec {latents} latents"
            raise UserError("network", problem, f"set network.frontend.channels={latents}, or {2 * latents} for stereo")
        # The process has as many rows as a codec has latents, for each channel of the audio.
        self.codec = None if autoencoder is None else Codec(autoencoder, sample_rate, rows // latents)

    @property
    def autoencoder(self) -> Autoencoder | None:
        """The codec's network, if the process runs on latents."""
        return None if self.codec is None else self.codec.network

    @property
    def channels(self) -> int:
        """Of the audio."""
        return self.network.frontend.channels if self.codec is None else self.codec.channels

    @property
    def stride(self) -> int:
        """Samples of a frame of the process."""
        return 1 if self.codec is None else self.codec.stride

    def frames(self, samples: int) -> int:
        """Frames of the process of so many samples."""
        return -(-samples // self.stride)

    def normalize(self, waveform: Tensor) -> Tensor:
        """What the process runs on (B, C', F) of a waveform (B, C, T)."""
        if self.codec is not None:
            return self.codec.encode(waveform)
        return waveform if self.spectrum is None else self.spectrum.whiten(waveform)

    def _parts(self) -> dict[str, nn.Module]:
        return super()._parts() | ({} if self.codec is None else {PREFIX: self.codec.network})


def difference(one: AudioProcess, other: AudioProcess) -> str:
    """In what the signals that two models run on differ, such as "sample rate 22050, not 44100"; empty: in nothing."""
    for name in ("sample_rate", "channels"):
        own, theirs = getattr(one, name), getattr(other, name)
        if own != theirs:
            return f"{name.replace('_', ' ')} {own}, not {theirs}"
    if (one.codec is None) != (other.codec is None):
        kinds = ["waveforms" if model.codec is None else "latents" for model in (one, other)]
        return f"{kinds[0]}, not {kinds[1]}"
    if one.codec is not None and other.codec is not None:
        own, theirs = one.codec.network.state_dict(), other.codec.network.state_dict()
        same = own.keys() == theirs.keys() and all(torch.equal(own[name].cpu(), theirs[name].cpu()) for name in own)
        return "" if same else "the latents of another codec"
    same = checkpoint.describe(one.spectrum) == checkpoint.describe(other.spectrum)
    return "" if same else "another average spectrum"


def sample_rate_of(folder: str | Path) -> int:
    """The sample rate of a generator in Hz.

    Raises:
        UserError: there is no such generator.
    """
    return int(_generator(folder).arguments["sample_rate"])


def spectrum_of(folder: str | Path) -> AverageSpectrum | None:
    """The average spectrum of a generator; None if it has none.

    Raises:
        UserError: there is no such generator.
    """
    return _generator(folder).arguments.get("spectrum")


def autoencoder_of(folder: str | Path) -> Autoencoder | None:
    """The trained network of a generator's codec; None for a generator of waveforms.

    Raises:
        UserError: there is no such generator.
    """
    found = _generator(folder)
    return None if found.arguments.get("autoencoder") is None else Codec.from_checkpoint(found, folder).network


def _generator(folder: str | Path) -> checkpoint.Checkpoint:
    found = checkpoint.load(folder)
    if found.type != "audio":
        raise UserError(f"generator {folder}", f"is a model of type {found.type}", "choose one of type audio")
    return found
