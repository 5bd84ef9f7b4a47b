"""Low-latency streaming: audio after a bounded look-ahead, near what the whole mel would give.

The exact stream (`pipelines.stream`) waits until no later frame can change a sample, which takes seconds: every
sampler step looks half a second ahead and every iteration of mel consistency another window. Here a sample is final
when `look_ahead` frames behind it are known. Whenever `chunk` more frames are there, a segment is synthesized anew,

    | context: final frames | chunk: becomes final | look-ahead: tentative |

as if the mel ended with it. Seams would come from all that differs between two such segments; each has its remedy:

- noise is a function of absolute position, so both start from the same;
- the phase of the excitation continues at the border of what is final, while pitch behind it is estimated again;
- mel consistency holds the final samples fixed, and only the new ones are fitted to the mel and to them. This is
  real-time spectrogram inversion with look-ahead (RTISI-LA: Zhu, Beauregard and Wyse 2007, IEEE Transactions on Audio,
  Speech and Language Processing 15(5)), with the mel in place of the magnitudes;
- the start of each chunk is cross-faded with its tentative version in the segment before.

Latency is chunk + look-ahead plus the time of computation; computation is that of the whole clip times
(context + chunk + look-ahead) / chunk. The result depends on chunk and look-ahead, but not on how the frames arrive.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from audiodiff.audio.consistency import project
from audiodiff.audio.io import Audio
from audiodiff.conditioners.mel import normalize_mel
from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.samplers.sampler import Sampler
from audiodiff.errors import UserError
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.condition import Condition
from audiodiff.pipelines.mel_stream import MelStream

CHUNK = 8
CONTEXT = 16
MAX_LOOK_AHEAD = 10.0  # seconds; beyond, the exact stream is as fast


class LowLatencyStream(MelStream):
    """Streaming with a bounded look-ahead.

    Args:
        model: the vocoder model, on its device.
        mel_chunks: consecutive log-mels (M, F_i); empty ones are skipped.
        sampler: from `VocoderModel.sampler_for`.
        seed: seed of the clip's noise.
        look_ahead: seconds of mel that are known behind a sample when it becomes final, rounded down to whole frames.
        consistency: iterations of mel consistency; None: the model's default.
        chunk: frames per computation.
        context: returns the context in which the network runs, such as autocast.

    Raises:
        UserError: a chunk below 1, a look-ahead below one frame or above `MAX_LOOK_AHEAD`; during iteration an invalid
            mel chunk (after the audio of earlier ones), no frames at all, or a state that is not finite.
    """

    def __init__(
        self,
        model: VocoderModel,
        mel_chunks: Iterable[Tensor],
        sampler: Sampler,
        seed: int,
        look_ahead: float,
        consistency: int | None = None,
        chunk: int = CHUNK,
        context: Callable[[], AbstractContextManager] = nullcontext,
    ):
        self.look_ahead = _whole_frames(look_ahead, model)
        super().__init__(model, mel_chunks, chunk, self.look_ahead)
        self.halo = self.look_ahead * self.hop
        self.sampler, self.seed, self.context = sampler, seed, context
        self.iterations = model.consistency if consistency is None else consistency
        self.grid = model.network.grid // self.hop
        # Every frame that overlaps a sample which is not final has its whole window in these.
        self.overlap = -(-model.mel_spec.n_fft // self.hop)
        pitch = 1 + model.excitation.pitch.receptive_field if model.excitation else 0
        self.left = max(CONTEXT, self.overlap)
        self.lead = max(self.left + self.grid, pitch)
        # Final frames so far; of their samples the latest, and of the next ones the tentative version.
        self.done = 0
        self.final, self.tentative = torch.empty(1, 0, device=self.device), torch.empty(1, 0, device=self.device)
        # Excitation of final frames, and its phase at the last of their samples.
        self.pulses = torch.empty(1, 0, device=self.device)
        self.phase: Tensor | float = 0.0

    @torch.inference_mode()
    def _advance(self, mel: Tensor, last: bool) -> list[Audio]:
        """Synthesize a segment up to the last known frame."""
        end = self._append(mel)
        ready = end if last else end - self.look_ahead
        if ready == self.done:
            return []
        waveform = self._finish(self._sample(end, ready), end)
        new = waveform[:, : (ready - self.done) * self.hop]
        self.tentative = waveform[:, new.shape[-1] :].clone()
        self.final = torch.cat([self.final, new], -1)[:, -self.overlap * self.hop :].clone()
        self.done = ready
        self._keep_from(max(0, ready - self.lead))
        return [Audio(new[0].cpu(), self.model.mel_spec.sample_rate)]

    def _sample(self, end: int, ready: int) -> Tensor:
        """Sample a segment up to frame `end`; the restored waveform (1, samples) with what overlaps the new part."""
        model = self.model
        start = max(0, self.done - self.left) // self.grid * self.grid * self.hop
        samples = end * self.hop - start
        mel = self._frames(start, samples)
        signals = [] if model.rough is None else [model.rough.compute(mel, samples)[0]]
        if model.excitation is not None:
            signals.append(self._excitation(end, ready)[:, -samples:])
        condition = Condition(normalize_mel(mel, model.mel_spec), signal=torch.cat(signals)[None] if signals else None)
        where = [self.seed], 1, samples, start, self.device
        noise = self.sampler.noise_scale(model.denoiser) * batch_noise(*where)
        with self.context():
            z = self.sampler(model.denoiser, noise, condition, step_noise(*where))
        known = min(self.overlap, self.done) * self.hop
        return model.restore(z[0].float(), mel)[:, -(end - self.done) * self.hop - known :]

    def _excitation(self, end: int, ready: int) -> Tensor:
        """The excitation (1, samples) up to frame `end`: that of the final frames as it was, the rest computed anew."""
        first = max(0, self.done - self.lead)
        mel = normalize_mel(self._frames(first * self.hop, (end - first) * self.hop), self.model.mel_spec)
        begin, stop = ((frame - first) * self.hop for frame in (self.done, end))
        excitation = self.model.excitation
        assert excitation is not None
        pulses, phase = excitation.stretch(mel, begin, stop, self.phase)
        new = (ready - self.done) * self.hop
        self.phase = phase[:, new - 1 : new].clone()
        pulses = torch.cat([self.pulses, pulses[0]], -1)
        self.pulses = pulses[:, : self.pulses.shape[-1] + new][:, -self.lead * self.hop :].clone()
        return pulses

    def _finish(self, waveform: Tensor, end: int) -> Tensor:
        """Fit the samples (1, samples) that are not final to the mel and to the final ones before them."""
        known = self.final[:, : waveform.shape[-1]]
        mel = self._frames(end * self.hop - waveform.shape[-1], waveform.shape[-1])
        if self.iterations:
            waveform = project(waveform, mel, self.model.mel_spec, self.iterations, known=known)
        new = waveform[:, known.shape[-1] :]
        faded = min(self.tentative.shape[-1], self.hop)
        ramp = (torch.arange(faded, device=new.device) + 0.5) / max(faded, 1)
        start = torch.lerp(self.tentative[:, :faded], new[:, :faded], ramp)
        return torch.cat([start, new[:, faded:]], -1)


def _whole_frames(look_ahead: float, model: VocoderModel) -> int:
    """A look-ahead in frames."""
    seconds = model.mel_spec.hop_length / model.mel_spec.sample_rate
    if not seconds <= look_ahead <= MAX_LOOK_AHEAD:
        fix = f"give {seconds:g} (one frame) to {MAX_LOOK_AHEAD:g} seconds, or None for exact streaming"
        raise UserError(f"look_ahead {look_ahead:g}", "is out of range", fix)
    return int(look_ahead / seconds + 1e-6)
