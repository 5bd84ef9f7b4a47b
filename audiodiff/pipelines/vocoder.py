"""`Vocoder`: a trained model in use, from mel spectrograms to audio."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, SupportsFloat

import torch
from torch import Tensor, nn

from audiodiff.audio.io import Audio, resample
from audiodiff.audio.mel import MelSpec
from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.errors import UserError
from audiodiff.models.adapted import AppliedAdapter, changes_with_noise_level
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.options import real_number, whole_number
from audiodiff.pipelines import low_latency, memory, seeds
from audiodiff.pipelines.adapter_options import load_adapters
from audiodiff.pipelines.compiled import CudaRecorder, RecordedSampling, bucket, compiled_denoiser
from audiodiff.pipelines.inputs import Mels, mel_tensors
from audiodiff.pipelines.mel_stream import MelStream
from audiodiff.pipelines.options import SynthesisOptions
from audiodiff.pipelines.pipeline import Pipeline, Progress
from audiodiff.pipelines.stream import CHUNK, Stream


class Vocoder(Pipeline):
    """Mel spectrograms in, waveforms out.

    A clip's audio depends on its mel, its seed, the sampler and the number of steps, not on its batch.

    Args:
        compile: on a CUDA device, compile the network and replay whole sampling calls (`pipelines.compiled`): the first
            clips of each length wait for it. Changes nothing on a CPU, or with an adapter of an interval of noise
            levels, since a replayed call has one set of weights.
        arguments: those of `Pipeline`, with a `VocoderModel`.
    """

    MODEL = VocoderModel
    model: VocoderModel

    def __init__(self, *arguments, compile: bool = False, **named):
        super().__init__(*arguments, **named)
        self.compile = compile
        self._set_model(self.model)

    def _set_model(self, model: PretrainedModel) -> None:
        """Replace the model, and how its sampling is recorded."""
        super()._set_model(model)
        self._recorded = None
        if self.compile and self.device.type == "cuda" and not changes_with_noise_level(self.model):
            denoiser = compiled_denoiser(self.model.denoiser)
            self._recorded = RecordedSampling(denoiser, self._context, CudaRecorder(self.device))

    @property
    def spec(self) -> MelSpec:
        """What mels it takes."""
        return self.model.mel_spec

    def mel(self, audio: Audio) -> Tensor:
        """The log-mel (M, F) of a recording (T,) or (C, T) at any rate, as this model takes it.

        Two channels are mixed. F * hop_length is at least the recording's length at the model's rate: where the spec
        leaves a rest of less than a hop without a frame, the recording is lengthened by silence to whole hops.

        Raises:
            UserError: no samples, more than two channels, or several recordings.
        """
        samples = self._mono(audio)
        hop = self.spec.hop_length
        if self.spec.frames(samples.shape[-1]) * hop < samples.shape[-1]:
            samples = nn.functional.pad(samples, (0, -samples.shape[-1] % hop))
        return self.model.analysis(samples.to(self.device)).cpu()

    @torch.inference_mode()
    def process_signal(self, audio: Audio) -> Tensor:
        """What the process runs on (1, T) of a recording, which its mel belongs to; arguments and errors of `mel`."""
        mel = self.mel(audio)[None].to(self.device)
        return self.model.normalize(self._mono(audio)[None].to(self.device), mel)

    @torch.inference_mode()
    def generate(
        self,
        mel: Mels,
        steps: int | None = None,
        *,
        seed: int = 0,
        clip_seeds: Sequence[SupportsFloat] | None = None,
        sampler: str | None = None,
        consistency: int | None = None,
        setting: str | None = None,
        adapters: Sequence[str | Path | AppliedAdapter] = (),
        callback: Callable[[Progress], None] | None = None,
    ) -> Audio | list[Audio]:
        """Make audio of frames x hop_length samples from log-mels.

        Args:
            mel: (M, F), (B, M, F), or a list of (M, F_i), in this model's `spec`; tensors, NumPy arrays, nested lists.
            steps, seed, sampler, consistency, setting, adapters: as of `SynthesisOptions`.
            clip_seeds: the noise of each clip, in place of `seed`; see `pipelines.seeds`.
            callback: called with the progress after every step, or once at the end where the whole call is replayed
                (`compile` on a CUDA device).

        Returns:
            Audio with samples (T,) for one mel, (B, 1, T) for a batch, a list of Audio for a list.

        Raises:
            UserError: a mel that is empty, not finite, of another spec, or so loud that the audio is not finite; an
                unknown sampler or setting; steps, seeds or a consistency that are not whole numbers, or too small.
        """
        if loaded := load_adapters(adapters):
            chosen: dict[str, Any] = {"sampler": sampler, "consistency": consistency, "setting": setting}
            chosen |= {"seed": seed, "clip_seeds": clip_seeds, "callback": callback}
            return self.with_adapters(loaded).generate(mel, steps, **chosen)
        given = mel_tensors(mel, self.spec)
        batched = isinstance(given, Tensor) and given.ndim == 3
        mels = [given] if isinstance(given, Tensor) and not batched else list(given)
        options = self.complete(
            SynthesisOptions(steps=steps, seed=seed, sampler=sampler, consistency=consistency, setting=setting)
        )
        noise_seeds = seeds.resolve(options.seed, clip_seeds, len(mels))
        if not mels:
            return []
        samples = self._finish(self._sample(mels, noise_seeds, options, callback), mels, options.consistency)
        if not all(clip.isfinite().all() for clip in samples):
            raise NotFinite(
                "audio", "became samples that are not finite", "is its mel of the level that its spec says?"
            )
        if isinstance(given, list):
            return [Audio(clip, self.sample_rate) for clip in samples]
        return Audio(torch.stack(samples)[:, None] if batched else samples[0], self.sample_rate)

    def stream(
        self,
        mel_chunks: Iterable[Tensor],
        steps: int | None = None,
        *,
        seed: int = 0,
        clip_seeds: Sequence[SupportsFloat] | None = None,
        sampler: str | None = None,
        consistency: int | None = None,
        setting: str | None = None,
        chunk: int | None = None,
        look_ahead: float | None = None,
        adapters: Sequence[str | Path | AppliedAdapter] = (),
    ) -> MelStream:
        """Make the audio of a mel that comes in pieces, piece by piece; memory does not grow with the length.

        Two modes:

        - exact: put together, the audio is what `generate` makes of the whole mel, up to float32's rounding: below 1e-5
          of the peak, 1e-4 with 64 iterations of mel consistency, whose momentum amplifies it (in half precision that
          precision's). It comes seconds later (`pipelines.stream`).
        - low latency, with a `look_ahead`: the audio comes `chunk` frames and the look-ahead later, and is close to
          that of `generate` (`pipelines.low_latency`).

        Args:
            mel_chunks: log-mels (M, F_i) of any lengths, in this model's `spec`; those without frames are skipped.
            steps, seed, clip_seeds, sampler, consistency, setting, adapters: as of `generate`, for one clip.
            chunk: frames computed at a time: more take longer to come and cost less; None: 128, or 8 with a look-ahead.
            look_ahead: seconds of mel that are known behind a sample when it becomes final, at least one frame and at
                most 10; 0.1 is a good start. None: exact.

        Returns:
            An iterator of Audio with samples (T_i,). It draws from `mel_chunks` as it is drawn from.

        Raises:
            UserError: a model with attention in exact mode, a look-ahead out of range, as `generate`; while it is drawn
                from, a chunk that is no mel (it is named by its number, from 0), after the audio of those before it, or
                no frames at all.
        """
        options = self.complete(
            SynthesisOptions(steps=steps, seed=seed, sampler=sampler, consistency=consistency, setting=setting)
        )
        (noise_seed,) = seeds.resolve(options.seed, clip_seeds, 1)
        assert options.steps is not None
        built = self.model.sampler_for(options.steps, options.sampler)
        model = self.with_adapters(load_adapters(adapters)).model
        common = model, mel_chunks, built, noise_seed
        if look_ahead is None:
            chunk = whole_number(CHUNK if chunk is None else chunk, "chunk")
            return Stream(*common, options.consistency, chunk, self._context)
        chunk = whole_number(low_latency.CHUNK if chunk is None else chunk, "chunk")
        seconds = real_number(look_ahead, "look_ahead")
        return low_latency.LowLatencyStream(*common, seconds, options.consistency, chunk, self._context)

    def resynthesize(self, audio: Audio, steps: int | None = None, **options) -> Audio:
        """Copy synthesis: the audio (T,) of a recording's mel, trimmed to the recording's length.

        The recording is as of `mel`, options and errors as of `mel` and `generate`.
        """
        at_rate = Audio(self._mono(audio), self.sample_rate)
        output = self.generate(self.mel(at_rate), steps, **options)
        assert isinstance(output, Audio)  # of one mel
        return Audio(output.samples[: at_rate.samples.shape[-1]], output.sample_rate)

    def _mono(self, audio: Audio) -> Tensor:
        """The samples (T,) at the model's rate of a recording (T,) or (C, T), C <= 2."""
        if not isinstance(audio, Audio):
            raise UserError("audio", f"is of type {type(audio).__name__}", "give Audio(samples, sample_rate)")
        samples = audio.samples
        if samples.shape[-1] == 0 or (samples.ndim > 1 and samples.shape[:-1] not in ((1,), (2,))):
            problem = f"has samples of shape {tuple(samples.shape)}, expected one recording (T,) or (C, T)"
            raise UserError("audio", problem, "channels come first; give several recordings one by one")
        return resample(samples if samples.ndim == 1 else samples.mean(0), audio.sample_rate, self.sample_rate)

    def complete(self, options: SynthesisOptions) -> SynthesisOptions:
        """Options with the values of their setting, or of the model's default one, where they are None.

        Raises:
            UserError: the model has no such setting.
        """
        setting = self.model.setting(options.setting)
        own = {name: getattr(setting, name) for name in ("steps", "sampler", "consistency")}
        missing = {name: value for name, value in own.items() if getattr(options, name) is None}
        return replace(options, setting=setting.name, **missing)

    def _sample(
        self, mels: list[Tensor], seeds: list[int], options: SynthesisOptions, callback: Callable | None
    ) -> list[Tensor]:
        """Run the sampler on normalized waveforms; a list of (T_i,) on the model's device, not yet restored."""
        assert options.steps is not None and options.sampler is not None  # they are complete
        steps, name = options.steps, options.sampler
        sampler = self.model.sampler_for(steps, name)
        frames = [item.shape[-1] for item in mels]
        longest = max(frames) if self._recorded is None else bucket(max(frames))
        memory.check(self.model.network, len(mels), longest * self.spec.hop_length, self.sample_rate, self.device)
        held = torch.stack([_hold(item, longest) for item in mels]).to(self.device, torch.float32)
        hop = self.spec.hop_length
        lengths = [count * hop for count in frames]
        masked = min(frames) < longest or self._recorded is not None
        condition = self.model.embed_mel(held, torch.tensor(lengths, device=self.device) if masked else None)
        where = (seeds, 1, longest * hop, 0, self.device)
        x1, noise = sampler.noise_scale(self.model.denoiser) * batch_noise(*where), step_noise(*where)

        def audio(estimate: Tensor) -> Audio:
            restored = self._finish([estimate[0, 0, : lengths[0]].float()], mels[:1], consistency=0)
            return Audio(restored[0], self.sample_rate)

        def report(step: int, nfe: int, _: Tensor, x0: Tensor) -> None:
            if callback is not None:
                callback(Progress(step + 1, nfe, estimate=lambda: audio(x0)))

        if self._recorded is not None:
            white = self._recorded(name, sampler, x1, condition, noise)
            report(steps - 1, steps, white, white)
        else:
            with self._context():
                white = sampler(self.model.denoiser, x1, condition, noise, report)
        return [clip[0, :length].float() for clip, length in zip(white, lengths, strict=True)]

    def _finish(self, white: list[Tensor], mels: list[Tensor], consistency: int | None) -> list[Tensor]:
        """Restore and project clip by clip, at its own length: edges are then the clip's own, whatever the batch."""
        finished = []
        for clip, mel in zip(white, mels, strict=True):
            mel = mel[None].to(self.device, torch.float32)
            restored = self.model.restore(clip[None], mel)
            finished.append(self.model.project(restored, mel, consistency)[0].cpu())
        return finished


def _hold(mel: Tensor, frames: int) -> Tensor:
    """(M, F) lengthened to `frames` by its last frame."""
    return nn.functional.pad(mel[None].float(), (0, frames - mel.shape[-1]), mode="replicate")[0]
