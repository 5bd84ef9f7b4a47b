"""A variational autoencoder of audio: short-time spectra in, a few latent channels per frame, spectra out.

The encoder predicts mean and variance of every latent, and training keeps them near those of a standard normal variable
(Kingma and Welling 2014). A diffusion model needs latents of zero mean and unit variance (Rombach et al. 2022, section
4.3.2), so mean and deviation of each channel over the training data are measured and stored with the weights.

Spectra are of windows twice as long as their hop, under a sine window before and after, which overlap-add to the signal
exactly (Princen and Bradley 1986). Magnitudes are raised to the power of 0.4 on the way in and brought back on the way
out, which compresses differences of 60 dB.

With phases, the decoder reconstructs the waveform. But a tone of 100 Hz makes about five periods from one latent frame
to the next, so its phase in the next frame follows only from a frequency known to a few parts in a thousand: to a model
that generates latents, phases are close to white noise. Without them (`phases=False`) the encoder sees magnitudes only,
the decoder chooses consistent phases, and latents change as slowly as the sound.

Nothing is normalized over time and the receptive field is finite, so a long signal can be encoded and decoded in tiles:
with a margin of `margin` latent frames the result equals that of the whole signal.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import DILATION_CYCLES, Downsample, ResidualBlock, Upsample
from audiodiff.ranges import NonNegative, Positive

_POWER = 0.4  # of magnitudes
_LOG_VARIANCES = (-12.0, 4.0)
_TINY = 1e-5  # smallest magnitude that is compressed


class Autoencoder(nn.Module):
    """Autoencoder: signals (B, T) to latents (B, latents, ceil(T / stride)) and back; channels are rows of the batch.

    Args:
        latents: number of latent channels.
        hop_length: samples between spectral frames; windows are twice as long.
        channels: width of each level, finest first; each is at half the frame rate of the one before.
        blocks: residual blocks of each level, in the encoder and again in the decoder.
        dilation_cycle: dilations are 2^(i mod dilation_cycle) for the i-th block of a level.
        phases: whether the encoder sees phases.

    Raises:
        ValueError: channels and blocks of different length, or empty; a dilation_cycle that is not in
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
            raise ValueError(f"channels={list(channels)} and blocks={list(blocks)} must have an entry for each level")
        if dilation_cycle not in DILATION_CYCLES:
            raise ValueError(f"dilation_cycle={dilation_cycle} is not in 1 to {DILATION_CYCLES[-1]}")
        self.latents, self.hop_length, self.dilation_cycle = latents, hop_length, dilation_cycle
        self.channels, self.blocks, self.phases = list(channels), list(blocks), phases
        features, bottom = 2 * (hop_length + 1), len(channels) - 1

        def level(i: int) -> nn.Sequential:
            return nn.Sequential(
                *(ResidualBlock(channels[i], 0, 0, 2 ** (k % dilation_cycle)) for k in range(blocks[i]))
            )

        self.conv_in = FrameConv1d(features if phases else features // 2, channels[0], 1)
        self.encoder = nn.ModuleList(level(i) for i in range(bottom + 1))
        self.downsample = nn.ModuleList(Downsample(channels[i], channels[i + 1]) for i in range(bottom))
        self.narrow = FrameConv1d(channels[bottom], 2 * latents, 1)
        self.widen = FrameConv1d(latents, channels[bottom], 1)
        self.decoder = nn.ModuleList(level(i) for i in range(bottom + 1))
        self.upsample = nn.ModuleList(Upsample(channels[i + 1], channels[i]) for i in range(bottom))
        self.conv_out = FrameConv1d(channels[0], features, 1)
        self.register_buffer("window", _sine_window(2 * hop_length), persistent=False)
        self.register_buffer("mean", torch.zeros(latents, 1))
        self.register_buffer("deviation", torch.ones(latents, 1))

    @property
    def stride(self) -> int:
        """Samples of a latent frame."""
        return self.hop_length * 2 ** (len(self.channels) - 1)

    @property
    def margin(self) -> int:
        """Half-width in latent frames of the receptive field, of the encoder as of the decoder."""
        half_widths = [sum(2 ** (k % self.dilation_cycle) for k in range(blocks)) for blocks in self.blocks]
        width = 1  # a window overlaps half a hop of the next
        for level in half_widths[:-1]:
            width = math.ceil((width + level) / 2)
        return width + half_widths[-1]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, latents, F) of the latents of signals (B, T), as trained: not yet standardized."""
        x = nn.functional.pad(x, (0, -x.shape[-1] % self.stride))
        spectra = self._spectra(x)
        hidden = self.conv_in(spectra if self.phases else _magnitude(spectra))
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
        return self._overlap_add(self.conv_out(nn.functional.silu(hidden)))

    def encode(self, x: Tensor, tile: int | None = None) -> Tensor:
        """Signals (B, T) to standardized latents (B, latents, ceil(T / stride)).

        Args:
            x: signals, padded with zeros to whole latent frames.
            tile: latent frames to encode at once; None: all.
        """
        x = nn.functional.pad(x, (0, -x.shape[-1] % self.stride))
        pieces = _tiles(lambda piece: self.posterior(piece)[0], x, tile, self.margin, self.stride, 1)
        return (torch.cat(list(pieces), dim=-1) - self.mean) / self.deviation

    def decode(self, latents: Tensor, tile: int | None = None) -> Tensor:
        """Standardized latents (B, latents, F) to signals (B, F x stride), tiles as in `encode`."""
        return torch.cat(list(self.decode_tiles(latents, tile)), dim=-1)

    def decode_tiles(self, latents: Tensor, tile: int | None) -> Iterator[Tensor]:
        """`decode` as an iterator over tiles (B, tile x stride), for long signals."""
        raw = latents * self.deviation + self.mean
        return _tiles(self.signal, raw, tile, self.margin, 1, self.stride)

    def _spectra(self, x: Tensor) -> Tensor:
        """(B, T), T of whole hops, to compressed real and imaginary parts (B, 2 (hop_length + 1), T / hop_length)."""
        frames = _frame(x.float(), self.hop_length)
        spectra = torch.fft.rfft(frames * self.window, norm="ortho").transpose(1, 2)
        spectra = spectra * spectra.abs().clamp(min=_TINY) ** (_POWER - 1)
        return torch.cat([spectra.real, spectra.imag], dim=1).to(x.dtype)

    def _overlap_add(self, features: Tensor) -> Tensor:
        """The inverse of `_spectra` for any features: overlap-add divided by the sum of the windows."""
        real, imaginary = features.float().chunk(2, dim=1)
        gain = _magnitude(features.float()) ** (1 / _POWER - 1)
        frames = torch.fft.irfft(torch.complex(real * gain, imaginary * gain).transpose(1, 2), norm="ortho")
        windows = (self.window**2).expand_as(frames[:1])
        return (_sum_frames(frames * self.window) / _sum_frames(windows)).to(features.dtype)


def _sine_window(samples: int) -> Tensor:
    return (math.pi / samples * (torch.arange(samples) + 0.5)).sin()


def _magnitude(features: Tensor) -> Tensor:
    """Real and imaginary parts (B, 2 K, F) to magnitudes (B, K, F)."""
    real, imaginary = features.chunk(2, dim=1)
    return (real.square() + imaginary.square() + _TINY**2).sqrt()


def _frame(x: Tensor, hop: int) -> Tensor:
    """(B, F hop) to overlapping frames (B, F, 2 hop), centered on their hops."""
    return nn.functional.pad(x, (hop // 2, hop // 2)).unfold(-1, 2 * hop, hop)


def _sum_frames(frames: Tensor) -> Tensor:
    """Overlap-add, the transpose of `_frame`: (B, F, 2 hop) to (B, F hop)."""
    _, count, length = frames.shape
    first, second = frames.unflatten(-1, (2, length // 2)).unbind(-2)
    halves = nn.functional.pad(first, (0, 0, 0, 1)) + nn.functional.pad(second, (0, 0, 1, 0))
    return halves.flatten(1)[:, length // 4 : length // 4 + count * length // 2]


def _tiles(
    run: Callable[[Tensor], Tensor], x: Tensor, tile: int | None, margin: int, coarse: int, fine: int
) -> Iterator[Tensor]:
    """Tiles of run(x) of `tile` latent frames, each computed with `margin` frames to each side.

    Args:
        run: from (..., F x coarse) to (..., F x fine).
        x: (..., F x coarse).
        tile: latent frames of a tile; None: all.
        margin: half-width of the receptive field, in latent frames.
        coarse, fine: positions of a latent frame in x and in run(x).
    """
    frames = x.shape[-1] // coarse
    tile = tile or max(frames, 1)
    for start in range(0, frames, tile):
        first, last = max(start - margin, 0), min(start + tile + margin, frames)
        piece = run(x[..., first * coarse : last * coarse])
        end = min(start + tile, frames)
        yield piece[..., (start - first) * fine : (end - first) * fine]
