"""Harmonic excitation of a voice, computed from its mel spectrogram.

A mel fixes the level of every band and hides the phase of every harmonic. A small network predicts pitch and voicing
from the mel, and the excitation is the pulse train that they imply (`audio.excitation`), with an arbitrary phase. In
training it is shifted to the phase of the recording, so that the denoiser learns to use pulses that coincide with the
voice's.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from audiodiff.audio.excitation import accumulate_phase, align_phase, interpolate_frames, pulse_train
from audiodiff.audio.mel import MelSpec
from audiodiff.audio.pitch import yin
from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.conditioners.mel import normalize_mel
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.precision import double, float64_device


class HarmonicExcitation(Conditioner):
    """Log-mels to a signal (B, 1, T): pulses of variance 1 where there is voice, 0 elsewhere.

    Args:
        pitch: predicts F0 and voicing from the normalized mel.
        mel_spec: of the mels.

    Raises:
        UserError: a pitch network for another number of mel bands.
    """

    name = "excitation"
    signal_channels = 1

    def __init__(self, pitch: PitchNetwork, mel_spec: MelSpec):
        super().__init__()
        self.pitch, self.mel_spec = pitch, mel_spec
        if pitch.bands != mel_spec.n_mels:
            problem = f"its pitch network expects {pitch.bands} mel bands, the mel spec has {mel_spec.n_mels}"
            raise UserError("excitation", problem, f"set excitation.pitch.bands={mel_spec.n_mels}")

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Of `mel` (B, M, F), `length` samples, of which `samples` (B,) are valid, in phase with a `waveform`."""
        samples = batch.get("samples")
        frames = None if samples is None else samples // self.mel_spec.hop_length
        mel = normalize_mel(batch["mel"], self.mel_spec)
        return Condition(signal=self.synthesize(mel, batch["length"], frames, batch.get("waveform")))

    @torch.no_grad()
    def synthesize(
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
        with torch.autocast(mel.device.type, enabled=False):  # a pitch of eight bits is out of tune
            tracks = self.pitch(mel.float(), frames)
        f0, voicing = (interpolate_frames(track, spec.hop_length, spec.offset, samples) for track in tracks)
        phase, sign = align_phase(accumulate_phase(f0, spec.sample_rate), f0, waveform, spec.sample_rate)
        return (sign * voicing.sqrt() * pulse_train(phase, f0, spec.sample_rate))[:, None]

    @torch.no_grad()
    def stretch(
        self,
        mel: Tensor,
        start: int,
        stop: int,
        before: Tensor | float = 0.0,
        frames: Tensor | None = None,
        first: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """The excitation (B, 1, stop - start) of the samples [start, stop), and its phase (B, stop - start).

        An error of F0 accumulates in the phase: what rounding alone changes with the length of the mel would be audible
        in the highest harmonics after a minute. So pitch does not depend on that length (`_tracks`), and phase is
        computed in float64. The pulses need no more than the mel's precision, of a phase around 0: Dirichlet's kernel
        at the top of a pulse would lose most digits of one around 2 pi.

        Args:
            mel: (B, M, F) normalized.
            start, stop: in samples from the mel's beginning.
            before: (B, n) radians, phases up to the sample before `start`, of which the last counts.
            frames: (B,) valid frames of each clip; None: all F.
            first: the frame of the clip that the mel begins with.
        """
        spec = self.mel_spec
        dtype = torch.promote_types(mel.dtype, torch.float32)
        tracks = self._tracks(mel, frames, first)
        f0, voicing = (
            interpolate_frames(track, spec.hop_length, spec.offset, stop)[:, start:]
            for track in (double(tracks[0]), tracks[1].to(dtype))
        )
        before = before[:, -1:] if isinstance(before, Tensor) else before
        phase = accumulate_phase(f0, spec.sample_rate, before)
        centered = torch.where(phase > math.pi, phase - 2 * math.pi, phase).to(dtype)
        signal = voicing.sqrt() * pulse_train(centered, f0.to(dtype), spec.sample_rate)
        return signal[:, None].to(mel.device), phase

    def _tracks(self, mel: Tensor, frames: Tensor | None, first: int) -> tuple[Tensor, Tensor]:
        """F0 and voicing (B, F); where a clip has ended, its last.

        Whatever part of a clip the mel is: equal to the bit on a CPU, tile by tile; elsewhere, where tiles one by one
        would be slow and float32 may mean fewer digits, to the rounding of float64.
        """
        if mel.device.type == "cpu" and mel.dtype == torch.float32:
            with torch.autocast("cpu", enabled=False):
                return self.pitch.tiled(mel, frames, first)
        exact, device = double(mel), float64_device(mel.device)
        frames = None if frames is None else frames.to(device)
        named = (*self.pitch.named_parameters(), *self.pitch.named_buffers())
        f0, voicing = functional_call(self.pitch, {name: double(value) for name, value in named}, (exact, frames))
        if frames is not None:
            held = torch.minimum(torch.arange(mel.shape[-1], device=device), frames[:, None] - 1)
            f0, voicing = f0.gather(1, held), voicing.gather(1, held)
        return f0, voicing

    def loss(self, batch: Mapping[str, Any]) -> Tensor:
        """(B,) pitch loss of `mel` against a pitch tracker on `waveform` (B, T)."""
        mel, waveform, spec = normalize_mel(batch["mel"], self.mel_spec), batch["waveform"], self.mel_spec
        return self.pitch.loss(mel, *yin(waveform, spec.sample_rate, spec.hop_length, mel.shape[-1], spec.offset))
