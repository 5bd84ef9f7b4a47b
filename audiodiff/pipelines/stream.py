"""Streaming: a mel comes piece by piece, its audio goes piece by piece, and it is the audio of the whole mel.

Everything between a mel and its audio has a finite reach: a sample is told by what lies around it, and by nothing
beyond. So a stretch of the answer is had by computing a longer stretch and throwing away the ends, which are wrong for
want of what lies beyond them. This holds for every part by itself, so there is a `Stage` for each network call, for the
prior and for each iteration of mel consistency, and each throws away its own reach only:

    rough signal, pulses and noise -> call 1 -> ... -> call n -> color -> iteration 1 -> ... -> iteration k -> audio

What a stage has thrown away on the right it makes anew when more has come, from what it has kept on the left. Hence, if
all stages take a piece of `chunk` frames at a time,

- *latency* is `chunk` plus the sum of all reaches, `halo`: it grows with the calls and the iterations;
- *work* is that of the whole clip times (chunk + 2 reach) / chunk for each stage, with its own reach, not with the sum
  (as it would be, were the stretch cut out once and sent through everything);
- *memory* is one stretch a stage, however long the clip is.

Borders do not show, as there are none: a stage's stretch begins at a multiple of the network's pairing of frames, noise
is a function of absolute position, and the phase of the pulses runs on. At the ends of the clip a stretch ends where
the clip does, and is treated as the clip is: zeros around the network, mirrored samples around a centered mel, held
frames. Only the order of float32 sums is another, as it depends on the length of what is summed.
"""

from collections.abc import Callable, Iterable, Iterator
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
from audiodiff.pipelines.inputs import mel_tensor

CHUNK = 128

Work = Callable[[Tensor, int], Tensor]
"""Rows (R, samples) of a stretch of the clip that begins at this sample -> rows (R', samples) of the same stretch."""


class Stage:
    """A function of finite reach, on a signal that comes in pieces.

    Args:
        work: the function.
        reach: samples; rounded up to whole hops, so that all pieces are whole frames.
        hop_length: samples a frame.
        grid: stretches begin at multiples of it, and it is one of the hop length.
    """

    def __init__(self, work: Work, reach: int, hop_length: int, grid: int):
        self.work, self.receptive_field, self.grid = work, -(-reach // hop_length) * hop_length, grid
        self.start = self.done = 0
        self.kept: Tensor | None = None

    def __call__(self, piece: Tensor | None, last: bool) -> Tensor | None:
        """The next piece of the answer, if there is one.

        Args:
            piece: (R, samples) that follow the last piece; None: there are none.
            last: nothing comes after.
        """
        known = torch.cat([part for part in (self.kept, piece) if part is not None], -1)
        end = self.start + known.shape[-1]
        ready = end if last else end - self.receptive_field
        made = None
        if ready > self.done:
            made = self.work(known, self.start)[:, self.done - self.start : ready - self.start]
            self.done = ready
        needed = max(0, self.done - self.receptive_field) // self.grid * self.grid
        # A copy: what is left of a view would keep all of it.
        self.kept, self.start = known[:, needed - self.start :].clone(), needed
        return made


class Stream(Iterator[Audio]):
    """The audio of a mel that comes in pieces: each piece as soon as it is settled.

    Args:
        model: on the device where it runs.
        mel_chunks: log-mels (M, F_i), one after the other; those without frames are skipped.
        sampler: as of `VocoderModel.sampler_for`.
        seed: of the clip's noise.
        consistency: iterations of mel consistency; None for the model's own.
        chunk: frames computed at a time.
        context: makes the context in which the network runs.

    Attributes:
        halo: samples of mel that must follow a sample before it is settled.

    Raises:
        UserError: a model with attention, a chunk below 1; as the chunks come, one that is no mel, after the audio of
            those before it, no frames at all, or a state that is not finite.
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
        if model.network.receptive_field is None:
            raise UserError("this model", "has attention: every sample depends on the whole mel", "use generate")
        if chunk < 1:
            raise UserError(f"chunk {chunk}", "is below 1", f"it is a number of frames, {CHUNK} if left out")
        self.model, self.sampler, self.seed, self.context = model, sampler, seed, context
        self.chunk, self.hop = chunk, model.mel_spec.hop_length
        self.device = next(model.parameters()).device
        # The mel that stages still look at, from frame `first` on; samples of noise and pulses, and the pulses' phase.
        self.mel, self.first, self.done = torch.empty(model.mel_spec.n_mels, 0, device=self.device), 0, 0
        self.phase: Tensor | float = 0.0
        # Between two frames F0 is read from both; a mean is made of frames, and whitened by frames.
        pulses = 1 + model.excitation.pitch.receptive_field if model.excitation else 0
        self.lead = pulses if model.rough is None else max(pulses, -(-2 * model.mel_spec.n_fft // self.hop))
        self.stages = self._stages(model.consistency if consistency is None else consistency)
        self.halo = self.lead * self.hop + sum(stage.receptive_field for stage in self.stages)
        self._pieces = self._run(mel_chunks)

    def __next__(self) -> Audio:
        """The next piece, (T_i,) samples, some whole frames."""
        return next(self._pieces)

    def _run(self, mel_chunks: Iterable[Tensor]) -> Iterator[Audio]:
        waiting, frames = self.mel.cpu(), 0
        for number, mel in enumerate(mel_chunks):
            try:
                mel = mel_tensor(mel, self.model.mel_spec, f"mel chunk {number}", empty=True)
            except UserError:
                if frames:
                    yield from self._advance(waiting, last=True)
                raise
            waiting, frames = torch.cat([waiting, mel.cpu()], -1), frames + mel.shape[-1]
            while waiting.shape[-1] >= self.chunk:
                piece, waiting = waiting.split([self.chunk, waiting.shape[-1] - self.chunk], -1)
                yield from self._advance(piece, last=False)
        if not frames:
            raise UserError("mel chunks", "there are none", "give at least one frame")
        yield from self._advance(waiting, last=True)

    @torch.inference_mode()
    def _advance(self, mel: Tensor, last: bool) -> list[Audio]:
        """Send so many more frames (M, F) through all stages."""
        self.mel = torch.cat([self.mel, mel.to(self.device)], -1)
        piece = self._enter(last)
        for stage in self.stages:
            if piece is None and not last:
                break
            piece = stage(piece, last)
        self._forget()
        return [] if piece is None else [Audio(piece[-1].cpu(), self.model.mel_spec.sample_rate)]

    def _forget(self) -> None:
        """Drop the frames that no stage will look at again."""
        oldest = min(stage.start for stage in self.stages) // self.hop
        needed = min(oldest, max(0, self.done // self.hop - self.lead))
        self.mel, self.first = self.mel[:, needed - self.first :].clone(), needed

    def _frames(self, start: int, samples: int) -> Tensor:
        """The log-mel (1, M, F) of a stretch."""
        first = start // self.hop - self.first
        return self.mel[None, :, first : first + samples // self.hop]

    def _enter(self, last: bool) -> Tensor | None:
        """What the first call begins with: the condition's signals and noise; (R, samples)."""
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
            pulses, self.phase = model.excitation.stretch(normalized, done - start, ready - start, self.phase)
            rows.append(pulses[0])
        noise = batch_noise([self.seed], 1, ready - done, done, self.device)[0]
        return torch.cat([*rows, self.sampler.noise_scale(model.denoiser) * noise])

    def _stages(self, consistency: int) -> list[Stage]:
        model, spec = self.model, self.model.mel_spec
        network, prior = model.network, 0 if isinstance(model.prior, StandardPrior) else spec.n_fft
        assert network.receptive_field is not None  # refused above
        return [
            *(Stage(call, network.receptive_field, self.hop, network.grid) for call in self._calls()),
            Stage(self._color, prior, self.hop, self.hop),
            *(Stage(self._project, spec.win_length, self.hop, self.hop) for _ in range(consistency)),
        ]

    def _calls(self) -> list[Work]:
        """The network calls. Rows: signals of the condition, states and features, both newest first."""
        sampler, denoiser = self.sampler, self.model.denoiser
        if isinstance(sampler, Ancestral) and sampler.variance == "learned":
            return [self._learned(n, *pair) for n, pair in enumerate(pairwise(sampler.grid_for(denoiser).tolist()))]
        table = sampler.table(denoiser)
        states, features = max(len(step.carry) for step in table), max(len(step.weights) for step in table)
        return [self._tabled(n, step, states, features) for n, step in enumerate(table)]

    def _tabled(self, n: int, step: Step, states_kept: int, features_kept: int) -> Work:
        """The n-th row of a sampler's table, as `sampler.integrate` takes it."""
        signals = self.model.network.frontend.signals
        have = min(n + 1, states_kept)

        def work(rows: Tensor, start: int) -> Tensor:
            told, states, features = rows[:signals], [*rows[signals : signals + have]], [*rows[signals + have :]]
            with self.context():
                x0 = self.model.denoiser(states[0][None, None], step.t, self._condition(told, start))[0, 0]
            features = [combine(step.feature, (states[0], x0), fused=True), *features]
            x = combine((*step.carry, *step.weights), (*states[: len(step.carry)], *features), fused=True)
            if step.noise:
                x = torch.add(x, self._noise(n, start, len(x)), alpha=step.noise)
            self._refuse_not_finite(x, n, start)
            kept = [x, *states][:states_kept], features[: features_kept - 1]
            return torch.stack([*told, *kept[0], *kept[1]])

        return work

    def _learned(self, n: int, t: float, s: float) -> Work:
        """The n-th step, from t to s, of a variance that the network tells."""
        signals = self.model.network.frontend.signals
        sampler = Ancestral(1, "learned", torch.tensor([t, s], dtype=torch.float64))

        def work(rows: Tensor, start: int) -> Tensor:
            told, x = rows[:signals], rows[signals:]
            noise = self._noise(n, start, x.shape[-1])
            with self.context():
                x, _ = sampler.integrate(
                    self.model.denoiser, x[None], self._condition(told, start), lambda _: noise, None
                )
            self._refuse_not_finite(x, n, start)
            return torch.cat([told, x[0]])

        return work

    def _condition(self, told: Tensor, start: int) -> Condition:
        mel = normalize_mel(self._frames(start, told.shape[-1]), self.model.mel_spec)
        return Condition(mel, signal=told[None] if len(told) else None)

    def _noise(self, step: int, start: int, samples: int) -> Tensor:
        return step_noise([self.seed], 1, samples, start, self.device)(step)[0, 0]

    def _refuse_not_finite(self, x: Tensor, n: int, start: int) -> None:
        if not torch.isfinite(x.sum()):
            raise not_finite(f"step {n + 1} of {self.sampler.nfe}, from sample {start} on")

    def _color(self, rows: Tensor, start: int) -> Tensor:
        """(2, samples): the restored signal, as the start of the first iteration and as what the last one would be."""
        signals = self.model.network.frontend.signals
        mel = self._frames(start, rows.shape[-1])
        return self.model.restore(rows[signals, None], mel).expand(2, -1)

    def _project(self, rows: Tensor, start: int) -> Tensor:
        """One iteration: (start, previous) to (next start, answer), as in `consistency.project`."""
        begun, previous = rows
        mel = self._frames(start, rows.shape[-1])
        answer = project(begun[None], mel, self.model.mel_spec, iterations=1)[0]
        return torch.stack([answer + MOMENTUM * (answer - previous), answer])
