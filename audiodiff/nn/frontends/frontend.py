"""Front ends: from samples `(B, C, T)` to feature frames for the U-Net, and from its output back to samples.

The input is the noisy signal, followed by the signals that it is conditioned on; the output is a signal like the noisy
one. Three front ends share one interface:

- `StridedFrontend`: learned strided convolution on the waveform;
- `StftFrontend`: complex short-time spectra, so that most of the work happens a few hundred times slower than the
  sample rate. A network narrower than the spectrum cannot pass its noisy input through, so the output is a complex
  mask per bin on each input's spectrum plus an additive spectrum;
- `IdentityFrontend`: for mels and latents, which are frames already.

All are exact at the edges: samples outside the clip are zeros, and overlap-add is normalized by a constant. A clip
alone thus equals the same clip in a longer, zero-padded batch.
"""

from abc import abstractmethod
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from audiodiff.ranges import NonNegative, Positive
from audiodiff.stft import synthesize

_LARGEST_FFT = 2**16


def pad_frames(x: Tensor, frames: int | None) -> Tensor:
    """`x` (B, C, F) with zero frames appended up to `frames`; None: none."""
    if frames is None or x.shape[-1] == frames:
        return x  # what is padded by nothing is copied
    return nn.functional.pad(x.transpose(1, 2), (0, 0, 0, frames - x.shape[-1])).transpose(1, 2)


class Frontend(nn.Module):
    """Base class of front ends.

    Frames are `stride` samples apart, the first centered at sample `offset`. A frame depends on samples, and samples on
    frames, at most `receptive_field` samples from its center.

    Args:
        channels: C of the signal.
        signals: S, conditioning signals behind it.
    """

    channels: int
    signals: int
    in_features: int
    out_features: int
    stride: int
    receptive_field: int
    offset: int = 0

    @abstractmethod
    def frames(self, samples: int | Tensor) -> int | Tensor:
        """The number of frames of so many samples."""

    @abstractmethod
    def encode(self, x: Tensor, frames: int | None = None) -> tuple[Tensor, Tensor]:
        """(B, C + S, T) to features (B, in_features, frames), and what `decode` needs of the input.

        There are frames(T) of them, followed by zeros up to `frames`; None: by none.
        """

    @abstractmethod
    def decode(self, output: Tensor, state: Tensor, samples: int) -> Tensor:
        """The U-Net's output (B, out_features, frames) to (B, C, samples); zero for a zero output.

        What follows the first frames(samples) of the output does not matter.
        """


class IdentityFrontend(Frontend):
    """No transform: for mels and latents, which are frames already.

    Args:
        channels, signals: of the input.
    """

    def __init__(self, channels: Positive, signals: NonNegative = 0):
        super().__init__()
        self.channels, self.signals = channels, signals
        self.in_features, self.out_features = channels + signals, channels
        self.stride, self.receptive_field = 1, 0

    def frames(self, samples: int | Tensor) -> int | Tensor:
        """As many frames as samples."""
        return samples

    def encode(self, x: Tensor, frames: int | None = None) -> tuple[Tensor, Tensor]:
        """The input itself."""
        return pad_frames(x, frames), x

    def decode(self, output: Tensor, state: Tensor, samples: int) -> Tensor:
        """The output itself."""
        return output[..., :samples]


class StridedFrontend(Frontend):
    """Learned analysis and synthesis: a strided convolution with windows of 2 x stride samples, and its transpose.

    Args:
        channels, signals: of the input.
        features: features of a frame.
        stride: samples a frame.
    """

    def __init__(
        self, channels: Positive = 1, features: Positive = 128, stride: Positive = 16, signals: NonNegative = 0
    ):
        super().__init__()
        self.channels, self.features, self.stride, self.signals = channels, features, stride, signals
        self.in_features = self.out_features = features
        self.receptive_field = stride
        self.analysis = nn.Conv1d(channels + signals, features, 2 * stride, stride=stride, padding=stride, bias=False)
        self.synthesis = nn.ConvTranspose1d(features, channels, 2 * stride, stride=stride, padding=stride, bias=False)

    def frames(self, samples: int | Tensor) -> int | Tensor:
        """One a stride, and one more; frame k is centered at sample k x stride."""
        return (samples + self.stride - 1) // self.stride + 1

    def encode(self, x: Tensor, frames: int | None = None) -> tuple[Tensor, Tensor]:
        """Analyze the input, padded to whole strides."""
        return pad_frames(self.analysis(nn.functional.pad(x, (0, -x.shape[-1] % self.stride))), frames), x

    def decode(self, output: Tensor, state: Tensor, samples: int) -> Tensor:
        """Synthesize and trim."""
        return self.synthesis(output)[..., :samples]


class StftFrontend(Frontend):
    """Short-time spectra in, complex masks on them and an additive spectrum out.

    Frame j is centered at sample (j + 1) x hop - n_fft / 2, from the first window that touches the clip to the last.
    Windows have unit energy, so white noise of variance one has bins of variance one.

    Args:
        channels: C of the signal.
        n_fft: window and transform, in samples; at most 65536.
        hop_length: samples a frame; n_fft is a multiple of it, at least four times for a Hann window squared, and at
            most 64 times, as each window is computed.
        signals: S; each output channel is a sum over masked spectra of its own input channel and of all signals.
        additive: whether the network also predicts a spectrum to add, which a conditioning signal with all harmonics
            makes superfluous.
    """

    window: Tensor

    def __init__(
        self,
        channels: Positive = 1,
        n_fft: Positive = 1024,
        hop_length: Positive = 256,
        signals: NonNegative = 0,
        additive: bool = True,
    ):
        super().__init__()
        if n_fft % hop_length or not 4 <= n_fft // hop_length <= 64 or n_fft > _LARGEST_FFT:
            problem = f"a multiple of hop_length={hop_length}, 4 to 64 times, and at most {_LARGEST_FFT}"
            raise ValueError(f"n_fft={n_fft} must be {problem}")
        self.channels, self.n_fft, self.hop_length = channels, n_fft, hop_length
        self.signals, self.additive = signals, additive
        self.stride, self.offset, self.receptive_field = hop_length, hop_length - n_fft // 2, n_fft // 2
        self.bins = n_fft // 2 + 1
        self.in_features = 2 * (channels + signals) * self.bins
        self.out_features = 2 * channels * self.bins * (1 + signals + additive)
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)

    def frames(self, samples: int | Tensor) -> int | Tensor:
        """All windows that touch the clip."""
        return (samples + self.n_fft - 1) // self.hop_length

    def encode(self, x: Tensor, frames: int | None = None) -> tuple[Tensor, Tensor]:
        """Spectra as real and imaginary features; the complex spectra (B, C + S, bins, F) are kept for the masks."""
        margin = self.n_fft - self.hop_length
        count: Any = self.frames(x.shape[-1]) if frames is None else frames
        # Spectra of zeros are 0.
        padded = nn.functional.pad(x.float(), (margin, count * self.hop_length - x.shape[-1]))
        spectrum = torch.fft.rfft(padded.unfold(-1, self.n_fft, self.hop_length) * self.window)
        real = torch.view_as_real(spectrum)
        # Frame by frame in memory, as convolutions read them.
        features = rearrange(real, "b c f bins two -> b f (two c bins)").transpose(1, 2)
        return features.to(x.dtype), spectrum.transpose(-1, -2)

    def decode(self, output: Tensor, state: Tensor, samples: int) -> Tensor:
        """Mask the spectra, add, invert each frame and overlap-add with the constant norm."""
        mask, *rest = self._spectra(output)
        state = state.transpose(-1, -2)
        spectrum = mask * state[:, : self.channels]
        for k in range(self.signals):
            spectrum = torch.addcmul(spectrum, rest[k], state[:, self.channels + k, None])
        spectrum = spectrum + rest[-1] if self.additive else spectrum
        signal = synthesize(spectrum.flatten(0, 1), self.window * self.hop_length, self.hop_length)
        signal = signal.unflatten(0, (len(output), self.channels))
        margin = self.n_fft - self.hop_length
        return signal[..., margin : margin + samples].to(output.dtype)

    def _spectra(self, output: Tensor) -> Tensor:
        """(B, out_features, F) as complex64 (parts, B, C, F, bins)."""
        sizes = {"c": self.channels, "bins": self.bins, "two": 2}
        rows = output.transpose(1, 2).float().contiguous()
        return torch.view_as_complex(rearrange(rows, "b f (parts c bins two) -> parts b c f bins two", **sizes))
