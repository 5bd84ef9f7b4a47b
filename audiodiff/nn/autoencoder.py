"""A convolutional autoencoder of audio: short-time spectra in, a few numbers a frame between, spectra out.

The encoder answers a mean and a variance for every latent number, and is taught to keep them near those of a standard
normal variable (Kingma and Welling 2014): latents are thus bounded, and a little noise on them does no harm. A
diffusion model wants them at exactly zero mean and unit variance (Rombach et al. 2022, section 4.3.2), so the mean and
the deviation of each over the training data are measured and kept with the weights.

Spectra are of windows twice as long as their hop, under a sine window before and after, which overlap-add to the signal
exactly (Princen and Bradley 1986). Magnitudes are raised to the power of 0.4 on the way in and brought back on the way
out: a network is not to see differences of 60 dB.

What latents are for decides what they should tell. With phases a signal comes back as it was. But from one latent
frame to the next a tone of 100 Hz turns about five times, and where it stands then follows only from its frequency
known to a few parts in a thousand: to a model that has to make latents, those that tell of phases are close to white
noise. Without them (`phases=False`) the encoder hears magnitudes alone, the decoder chooses phases that go together,
and latents change as slowly as the sound does.

Nothing is normalized over time and every layer sees a few frames to each side only. A long signal may thus be encoded
and decoded tile by tile: with the margin of `margin` latent frames the tiles are what the whole would be.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from audiodiff.nn.layers import DILATION_CYCLES, Downsample, ResidualBlock, Upsample, stacked_receptive_field
from audiodiff.ranges import NonNegative, Positive

_POWER = 0.4  # of magnitudes
_LOG_VARIANCES = (-12.0, 4.0)
_TINY = 1e-5  # of magnitudes, below which they are raised no further


class Autoencoder(nn.Module):
    """Signals (B, T) to latents (B, latents, ceil(T / stride)) and back; channels of a recording are rows of the batch.

    Args:
        latents: numbers a latent frame.
        hop_length: samples of a spectral frame; the transform is of twice as many.
        channels: width of each level, finest first; each is at half the frame rate of the one before.
        blocks: residual blocks of each level, in the encoder and again in the decoder.
        dilation_cycle: dilations are 2^(i mod dilation_cycle) for the i-th block of a level.
        phases: whether the encoder hears them.

    Raises:
        ValueError: channels and blocks name other levels, or there is none; a dilation_cycle that is not in
            `DILATION_CYCLES`.
    """

    window: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        latents: Positive = 32,
        hop_length: Positive = 512,
        channels: Sequence[Positive] = (192, 224),
        blocks: Sequence[NonNegative] = (2, 2),
        dilation_cycle: Positive = 2,
        phases: bool = True,
    ):
        super().__init__()
        if len(channels) != len(blocks) or not channels:
            raise ValueError(f"channels={list(channels)} and blocks={list(blocks)} must name the same levels, some")
        if dilation_cycle not in DILATION_CYCLES:
            raise ValueError(f"dilation_cycle={dilation_cycle} is not in 1 to {DILATION_CYCLES[-1]}")
        self.latents, self.hop_length, self.dilation_cycle = latents, hop_length, dilation_cycle
        self.channels, self.blocks, self.phases = list(channels), list(blocks), phases
        features, bottom = 2 * (hop_length + 1), len(channels) - 1

        def level(i: int) -> nn.Sequential:
            return nn.Sequential(
                *(ResidualBlock(channels[i], 0, 0, 2 ** (k % dilation_cycle)) for k in range(blocks[i]))
            )

        self.conv_in = nn.Conv1d(features if phases else features // 2, channels[0], 1)
        self.encoder = nn.ModuleList(level(i) for i in range(bottom + 1))
        self.downsample = nn.ModuleList(Downsample(channels[i], channels[i + 1]) for i in range(bottom))
        self.narrow = nn.Conv1d(channels[bottom], 2 * latents, 1)
        self.widen = nn.Conv1d(latents, channels[bottom], 1)
        self.decoder = nn.ModuleList(level(i) for i in range(bottom + 1))
        self.upsample = nn.ModuleList(Upsample(channels[i + 1], channels[i]) for i in range(bottom))
        self.conv_out = nn.Conv1d(channels[0], features, 1)
        self.register_buffer("window", _sine_window(2 * hop_length), persistent=False)
        self.register_buffer("mean", torch.zeros(latents, 1))
        self.register_buffer("deviation", torch.ones(latents, 1))

    @property
    def stride(self) -> int:
        """Samples of a latent frame."""
        return self.hop_length * 2 ** (len(self.channels) - 1)

    @property
    def margin(self) -> int:
        """Latent frames to each side beyond which nothing matters, to the encoder or to the decoder."""
        reach = 1  # a window reaches half a hop into the next
        for blocks in self.encoder[:-1]:
            reach = math.ceil((reach + stacked_receptive_field(blocks)) / 2)
        return reach + stacked_receptive_field(self.encoder[-1])

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, latents, F) of the latents of signals (B, T), as trained: not yet standardized."""
        x = nn.functional.pad(x, (0, -x.shape[-1] % self.stride))
        heard = self._spectra(x)
        hidden = self.conv_in(heard if self.phases else _magnitude(heard))
        for i, blocks in enumerate(self.encoder):
            hidden = self.downsample[i - 1](hidden, None) if i else hidden
            hidden = blocks(hidden)
        mean, log_variance = self.narrow(nn.functional.silu(hidden)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(*_LOG_VARIANCES)

    def signal(self, latents: Tensor) -> Tensor:
        """Signals (B, F x stride) of latents (B, latents, F) as trained."""
        hidden = self.widen(latents)
        for i in reversed(range(len(self.channels))):
            hidden = self.decoder[i](hidden)
            hidden = self.upsample[i - 1](hidden) if i else hidden
        return self._overlapped(self.conv_out(nn.functional.silu(hidden)))

    def encode(self, x: Tensor, tile: int | None = None) -> Tensor:
        """Signals (B, T) to standardized latents (B, latents, ceil(T / stride)).

        Args:
            x: signals, filled up with zeros to a whole latent frame.
            tile: latent frames that are encoded at once; None: all.
        """
        x = nn.functional.pad(x, (0, -x.shape[-1] % self.stride))
        pieces = _tiles(lambda piece: self.posterior(piece)[0], x, tile, self.margin, self.stride, 1)
        return (torch.cat(list(pieces), dim=-1) - self.mean) / self.deviation

    def decode(self, latents: Tensor, tile: int | None = None) -> Tensor:
        """Standardized latents (B, latents, F) to signals (B, F x stride), tiles as in `encode`."""
        return torch.cat(list(self.decoded(latents, tile)), dim=-1)

    def decoded(self, latents: Tensor, tile: int | None) -> Iterator[Tensor]:
        """What `decode` answers, piece by piece (B, tile x stride): of a long signal no more need be held."""
        raw = latents * self.deviation + self.mean
        return _tiles(self.signal, raw, tile, self.margin, 1, self.stride)

    def _spectra(self, x: Tensor) -> Tensor:
        """(B, T), T of whole hops, to compressed real and imaginary parts (B, 2 (hop_length + 1), T / hop_length)."""
        frames = _framed(x.float(), self.hop_length)
        spectra = torch.fft.rfft(frames * self.window, norm="ortho").transpose(1, 2)
        spectra = spectra * spectra.abs().clamp(min=_TINY) ** (_POWER - 1)
        return torch.cat([spectra.real, spectra.imag], dim=1).to(x.dtype)

    def _overlapped(self, features: Tensor) -> Tensor:
        """The inverse of `_spectra` for any features; at both ends only as many windows overlap as there are."""
        real, imaginary = features.float().chunk(2, dim=1)
        gain = _magnitude(features.float()) ** (1 / _POWER - 1)
        frames = torch.fft.irfft(torch.complex(real * gain, imaginary * gain).transpose(1, 2), norm="ortho")
        windows = (self.window**2).expand_as(frames[:1])
        return (_added(frames * self.window) / _added(windows)).to(features.dtype)


def _sine_window(samples: int) -> Tensor:
    return (math.pi / samples * (torch.arange(samples) + 0.5)).sin()


def _magnitude(features: Tensor) -> Tensor:
    """Real and imaginary parts (B, 2 K, F) to magnitudes (B, K, F)."""
    real, imaginary = features.chunk(2, dim=1)
    return (real.square() + imaginary.square() + _TINY**2).sqrt()


def _framed(x: Tensor, hop: int) -> Tensor:
    """(B, F hop) to frames (B, F, 2 hop), each of its hop and half a hop to each side."""
    return nn.functional.pad(x, (hop // 2, hop // 2)).unfold(-1, 2 * hop, hop)


def _added(frames: Tensor) -> Tensor:
    """Frames (B, F, 2 hop) laid over each other where `_framed` took them: (B, F hop)."""
    _, count, length = frames.shape
    first, second = frames.unflatten(-1, (2, length // 2)).unbind(-2)
    halves = nn.functional.pad(first, (0, 0, 0, 1)) + nn.functional.pad(second, (0, 0, 1, 0))
    return halves.flatten(1)[:, length // 4 : length // 4 + count * length // 2]


def _tiles(
    run: Callable[[Tensor], Tensor], x: Tensor, tile: int | None, margin: int, coarse: int, fine: int
) -> Iterator[Tensor]:
    """Pieces of run(x), each of `tile` latent frames and made of as many and `margin` to each side.

    Args:
        run: from (..., F x coarse) to (..., F x fine).
        x: (..., F x coarse).
        tile: latent frames a piece; None: all.
        margin: latent frames to each side that a piece depends on.
        coarse, fine: what a latent frame is long before and after.
    """
    frames = x.shape[-1] // coarse
    tile = tile or max(frames, 1)
    for start in range(0, frames, tile):
        first, last = max(start - margin, 0), min(start + tile + margin, frames)
        piece = run(x[..., first * coarse : last * coarse])
        end = min(start + tile, frames)
        yield piece[..., (start - first) * fine : (end - first) * fine]
