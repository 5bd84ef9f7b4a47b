"""Streaming synthesis: mel chunks in, audio chunks out, with the same result as for the whole mel.

Every stage between a mel and its audio has a finite receptive field. So a segment of its output is computed from a
longer segment of its input, whose ends are dropped. There is a `Stage` for each sampler step, for the prior and for
each iteration of mel consistency, and each drops its own receptive field only:

    initial signal, pulses, noise -> step 1 -> ... -> step n -> prior -> iteration 1 -> ... -> iteration k -> audio

What a stage drops on the right it computes again when more input arrives, from the input that it stores. If all stages
process `chunk` frames at a time,

- *latency* is `chunk` plus the sum of all receptive fields, `halo`: it grows with the steps and the iterations;
- *computation* is that of the whole clip times (chunk + 2 receptive field) / chunk for each stage;
- *memory* is one segment per stage, for any length of the clip.

There are no seams: segments start at multiples of the network's frame grid, noise is a function of absolute position,
and the phase of the pulses is continuous. At the ends of the clip a segment is padded as the clip is: zeros around the
network, mirrored samples around a centered mel, repeated frames. Only the order of float32 sums differs, which depends
on the length of what is summed.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor

from audiodiff.audio.consistency import MOMENTUM, project
from audiodiff.audio.io import Audio
from audiodiff.audio.prior import StandardPrior
from audiodiff.conditioners.mel import normalize_mel
from audiodiff.diffusion.clips import combine
from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.samplers.ancestral import Ancestral
from audiodiff.diffusion.samplers.sampler import Sampler, not_finite
from audiodiff.diffusion.samplers.table import Step
from audiodiff.errors import UserError
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.condition import Condition
from audiodiff.pipelines.mel_stream import MelStream

CHUNK = 128

Work = Callable[[Tensor, int], Tensor]
"""Rows (R, samples) of a segment that starts at this sample -> rows (R', samples) of the same segment."""


class Stage:
    """A function with a finite receptive field, applied to a signal chunk by chunk.

    Args:
        work: the function.
        receptive_field: samples to each side; rounded up to whole hops, so that all chunks are whole frames.
        hop_length: samples per frame.
        grid: segments start at its multiples; a multiple of the hop length.
    """

    def __init__(self, work: Work, receptive_field: int, hop_length: int, grid: int):
        self.work, self.grid = work, grid
        self.receptive_field = -(-receptive_field // hop_length) * hop_length
        self.start = self.done = 0
        self.stored: Tensor | None = None

    def __call__(self, piece: Tensor | None, last: bool) -> Tensor | None:
        """Process the next chunk; None if no output is complete yet.

        Args:
            piece: (R, samples), the next input; None if there is none.
            last: whether the input ends here.
        """
        known = torch.cat([part for part in (self.stored, piece) if part is not None], -1)
        end = self.start + known.shape[-1]
        ready = end if last else end - self.receptive_field
        output = None
        if ready > self.done:
            output = self.work(known, self.start)[:, self.done - self.start : ready - self.start]
            self.done = ready
        needed = max(0, self.done - self.receptive_field) // self.grid * self.grid
        # A copy: a view would hold the memory of the whole tensor.
        self.stored, self.start = known[:, needed - self.start :].clone(), needed
        return output


class Stream(MelStream):
    """Exact streaming: each audio chunk comes as soon as it is final.

    Args:
        model: the vocoder model, on its device.
        mel_chunks: consecutive log-mels (M, F_i); empty ones are skipped.
        sampler: from `VocoderModel.sampler_for`.
        seed: seed of the clip's noise.
        consistency: iterations of mel consistency; None: the model's default.
        chunk: frames per computation.
        context: returns the context in which the network runs, such as autocast.

    Attributes:
        halo: samples of look-ahead: how much mel must follow a sample before it is final.

    Raises:
        UserError: a model with attention, or a chunk below 1; during iteration an invalid mel chunk (after the audio of
            earlier ones), no frames at all, or a state that is not finite.
    """

    def __init__(
        self,
        model: VocoderModel,
        mel_chunks: Iterable[Tensor],
        sampler: Sampler,
        seed: int,
        consistency: int | None = None,
        chunk: int = CHUNK,
        context: Callable[[], AbstractContextManager] = nullcontext,
    ):
        if model.step_receptive_field is None:
            raise UserError("this model", "cannot stream: its attention spans the whole clip", "use generate")
        super().__init__(model, mel_chunks, chunk)
        self.sampler, self.seed, self.context = sampler, seed, context
        # The number of samples of noise and pulses so far, and the phase of the pulses.
        self.done = 0
        self.phase: Tensor | float = 0.0
        # F0 is interpolated between frames; the mean of the bridge is computed from frames and whitened by frames.
        pulses = 1 + model.excitation.pitch.receptive_field if model.excitation else 0
        self.lead = pulses if model.rough is None else max(pulses, -(-2 * model.mel_spec.n_fft // self.hop))
        self.stages = self._stages(model.consistency if consistency is None else consistency)
        self.halo = self.lead * self.hop + sum(stage.receptive_field for stage in self.stages)

    @torch.inference_mode()
    def _advance(self, mel: Tensor, last: bool) -> list[Audio]:
        """Send the next frames (M, F) through all stages."""
        self._append(mel)
        piece = self._first_rows(last)
        for stage in self.stages:
            if piece is None and not last:
                break
            piece = stage(piece, last)
        self._drop_frames()
        return [] if piece is None else [Audio(piece[-1].cpu(), self.model.mel_spec.sample_rate)]

    def _drop_frames(self) -> None:
        """Drop frames that no stage needs any more."""
        oldest = min(stage.start for stage in self.stages) // self.hop
        self._keep_from(min(oldest, max(0, self.done // self.hop - self.lead)))

    def _first_rows(self, last: bool) -> Tensor | None:
        """Input of the first sampler step: conditioning signals and noise, (R, samples)."""
        model, done = self.model, self.done
        end = self.first + self.mel.shape[-1]
        ready = (end if last else end - self.lead) * self.hop
        if ready <= done:
            return None
        self.done = ready
        start = max(0, done // self.hop - self.lead) * self.hop
        mel, rows = self._frames(start, end * self.hop - start), []
        if model.rough is not None:
            rows.append(model.rough.compute(mel, end * self.hop - start)[0, :, done - start : ready - start])
        if model.excitation is not None:
            normalized = normalize_mel(mel, model.mel_spec)
            inside, first = (done - start, ready - start), start // self.hop
            pulses, phase = model.excitation.stretch(normalized, *inside, self.phase, first=first)
            self.phase = phase[:, -1:].clone()  # a copy: a view would hold the memory of the whole tensor
            rows.append(pulses[0])
        noise = batch_noise([self.seed], 1, ready - done, done, self.device)[0]
        return torch.cat([*rows, self.sampler.noise_scale(model.denoiser) * noise])

    def _stages(self, consistency: int) -> list[Stage]:
        model, spec = self.model, self.model.mel_spec
        half_width, prior = model.step_receptive_field, 0 if isinstance(model.prior, StandardPrior) else spec.n_fft
        assert half_width is not None  # refused above
        return [
            *(Stage(step, half_width, self.hop, model.network.grid) for step in self._sampler_steps()),
            Stage(self._color, prior, self.hop, self.hop),
            *(Stage(self._project, spec.win_length, self.hop, self.hop) for _ in range(consistency)),
        ]

    def _sampler_steps(self) -> list[Work]:
        """One function per sampler step. Rows: conditioning signals, states and features, both newest first."""
        sampler, denoiser = self.sampler, self.model.denoiser
        if isinstance(sampler, Ancestral) and sampler.variance == "learned":
            return [
                self._learned_step(n, *pair) for n, pair in enumerate(pairwise(sampler.grid_for(denoiser).tolist()))
            ]
        table = sampler.table(denoiser)
        states, features = max(len(step.carry) for step in table), max(len(step.weights) for step in table)
        return [self._table_step(n, step, states, features) for n, step in enumerate(table)]

    def _table_step(self, n: int, step: Step, states_kept: int, features_kept: int) -> Work:
        """The n-th step of a sampler's table, as in `sampler.integrate`."""
        signals = self.model.given_signals
        available = min(n + 1, states_kept)

        def work(rows: Tensor, start: int) -> Tensor:
            signal, states = rows[:signals], [*rows[signals : signals + available]]
            features = [*rows[signals + available :]]
            with self.context():
                x0 = self.model.denoiser(states[0][None, None], step.t, self._condition(signal, start))[0, 0]
            features = [combine(step.feature, (states[0], x0), fused=True), *features]
            x = combine((*step.carry, *step.weights), (*states[: len(step.carry)], *features), fused=True)
            if step.noise:
                x = torch.add(x, self._noise(n, start, len(x)), alpha=step.noise)
            self._refuse_not_finite(x, n, start)
            return torch.stack([*signal, *[x, *states][:states_kept], *features[: features_kept - 1]])

        return work

    def _learned_step(self, n: int, t: float, s: float) -> Work:
        """The n-th step, from t to s, with learned variance."""
        signals = self.model.given_signals
        sampler = Ancestral(1, "learned", torch.tensor([t, s], dtype=torch.float64))

        def work(rows: Tensor, start: int) -> Tensor:
            signal, x = rows[:signals], rows[signals:]
            noise = self._noise(n, start, x.shape[-1])
            with self.context():
                x, _ = sampler.integrate(
                    self.model.denoiser, x[None], self._condition(signal, start), lambda _: noise, None
                )
            self._refuse_not_finite(x, n, start)
            return torch.cat([signal, x[0]])

        return work

    def _condition(self, signal: Tensor, start: int) -> Condition:
        mel = normalize_mel(self._frames(start, signal.shape[-1]), self.model.mel_spec)
        return Condition(mel, signal=signal[None] if len(signal) else None)

    def _noise(self, step: int, start: int, samples: int) -> Tensor:
        return step_noise([self.seed], 1, samples, start, self.device)(step)[0, 0]

    def _refuse_not_finite(self, x: Tensor, n: int, start: int) -> None:
        if not torch.isfinite(x.sum()):
            raise not_finite(f"step {n + 1} of {self.sampler.nfe}, from sample {start} on")

    def _color(self, rows: Tensor, start: int) -> Tensor:
        """(2, samples): the waveform, as the start and as the previous result of the first iteration."""
        signals = self.model.given_signals
        mel = self._frames(start, rows.shape[-1])
        return self.model.restore(rows[signals, None], mel).expand(2, -1)

    def _project(self, rows: Tensor, start: int) -> Tensor:
        """One iteration: (start, previous) to (next start, result), as in `consistency.project`."""
        start_signal, previous = rows
        mel = self._frames(start, rows.shape[-1])
        result = project(start_signal[None], mel, self.model.mel_spec, iterations=1)[0]
        return torch.stack([result + MOMENTUM * (result - previous), result])
