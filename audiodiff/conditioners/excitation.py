"""The harmonic source of a voice, read off its mel: what the denoiser is told besides the mel itself.

A mel fixes the level of every band and hides the phase of every harmonic. The source predicts pitch and voicing from
the mel and answers the pulse train that they imply (`audio.excitation`), whose phase is as good as any other. In
training it is shifted to the phase of the recording, so that the denoiser learns what to make of pulses that are where
the voice has them.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from audiodiff.audio.excitation import accumulate_phase, align_phase, interpolate_frames, pulse_train
from audiodiff.audio.mel import MelSpec
from audiodiff.audio.pitch import yin
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.precision import double, float64_device


class HarmonicExcitation(nn.Module):
    """Normalized mels to an excitation: pulses of variance 1 where there is voice, 0 elsewhere.

    Args:
        pitch: tells F0 and voicing from the mel.
        mel_spec: of the mels.
    """

    signals = 1

    def __init__(self, pitch: PitchNetwork, mel_spec: MelSpec):
        super().__init__()
        self.pitch, self.mel_spec = pitch, mel_spec

    @torch.no_grad()
    def forward(
        self, mel: Tensor, samples: int, frames: Tensor | None = None, waveform: Tensor | None = None
    ) -> Tensor:
        """The excitation (B, 1, samples).

        Args:
            mel: (B, M, F) normalized.
            samples: how long it is.
            frames: (B,) valid frames of each clip; None: all F.
            waveform: (B, samples) the recording to be in phase with; None: the phase starts at 0.
        """
        if waveform is None:
            return self.stretch(mel, 0, samples, frames=frames)[0]
        spec = self.mel_spec
        f0, voicing = (
            interpolate_frames(track.float(), spec.hop_length, spec.offset, samples)
            for track in self.pitch(mel, frames)
        )
        phase, sign = align_phase(accumulate_phase(f0, spec.sample_rate), f0, waveform, spec.sample_rate)
        return (sign * voicing.sqrt() * pulse_train(phase, f0, spec.sample_rate))[:, None]

    @torch.no_grad()
    def stretch(
        self, mel: Tensor, start: int, stop: int, before: Tensor | float = 0.0, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The excitation (B, 1, stop - start) of the samples [start, stop), and the phase (B, 1) at the last of them.

        Computed in float64. An error of F0 stays in the phase for good: in float32 the rounding alone, which differs
        with the length of the mel, would be heard in the highest harmonics after a minute. And where a pulse is at its
        top, Dirichlet's kernel loses most of a phase's digits.

        Args:
            mel: (B, M, F) normalized.
            start, stop: in samples from the mel's beginning.
            before: (B, 1) radians, the phase at the sample before `start`.
            frames: (B,) valid frames of each clip; None: all F.
        """
        spec = self.mel_spec
        exact, device = double(mel), float64_device(mel.device)
        frames = None if frames is None else frames.to(device)
        named = (*self.pitch.named_parameters(), *self.pitch.named_buffers())
        tracks = functional_call(self.pitch, {name: double(value) for name, value in named}, (exact, frames))
        if frames is not None:
            held = torch.minimum(torch.arange(mel.shape[-1], device=device), frames[:, None] - 1)
            tracks = [track.gather(1, held) for track in tracks]
        f0, voicing = (interpolate_frames(track, spec.hop_length, spec.offset, stop)[:, start:] for track in tracks)
        phase = accumulate_phase(f0, spec.sample_rate, before)
        made = voicing.sqrt() * pulse_train(phase, f0, spec.sample_rate)
        return made[:, None].to(mel.device, torch.promote_types(mel.dtype, torch.float32)), phase[:, -1:]

    def loss(self, mel: Tensor, waveform: Tensor) -> Tensor:
        """(B,) how badly the pitch network tells, from the mel, what a pitch tracker hears in the recording (B, T)."""
        spec = self.mel_spec
        return self.pitch.loss(mel, *yin(waveform, spec.sample_rate, spec.hop_length, mel.shape[-1], spec.offset))
