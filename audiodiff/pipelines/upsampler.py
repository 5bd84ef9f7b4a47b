"""`Upsampler`: a trained model in use, from recordings of a low sample rate to a full band."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import SupportsFloat

import torch
from torch import Tensor

from audiodiff.audio.band import lowpass
from audiodiff.audio.io import Audio
from audiodiff.audio.resampled import Resampled
from audiodiff.errors import UserError
from audiodiff.models.adapted import AppliedAdapter
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.pipelines import seeds
from audiodiff.pipelines.options import UpsamplingOptions, check_audio
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.residual_pipeline import CHUNK_SECONDS, MIN_SECONDS, ResidualPipeline, check_finite

CUTOFFS = "cutoffs"  # key of the training record: lowest and highest cutoff of the crops in Hz


class Upsampler(ResidualPipeline):
    """Recordings of a low sample rate in, recordings at the model's sample rate out.

    Below `audio.band.KNOWN` of the cutoff, which is half of the recording's rate, the output is the resampled
    recording; above the cutoff it is generated. Channels are upsampled one by one from the same noise, so equal
    channels stay equal.

    A recording is upsampled in chunks with all samples around them that matter: memory does not grow with its length,
    and the output does not depend on the chunks, up to rounding.

    Args:
        arguments: those of `ResidualPipeline`, with an `UpsamplerModel`.
    """

    MODEL = UpsamplerModel
    model: UpsamplerModel

    def upsample(
        self,
        audio: Audio,
        steps: int | None = None,
        *,
        seed: int = 0,
        clip_seeds: Sequence[SupportsFloat] | None = None,
        sampler: str | None = None,
        cutoff: float | None = None,
        adapters: Sequence[str | Path | AppliedAdapter] = (),
        callback: Callable[[Progress], None] | None = None,
    ) -> Audio:
        """Complete the band of a recording.

        Args:
            audio: (T,) or (C, T) at any rate below the model's; with a cutoff also at a higher one.
            steps, seed, sampler, cutoff, adapters: as of `UpsamplingOptions`.
            clip_seeds: the noise of the recording, in place of `seed`; see `pipelines.seeds`.
            callback: called with the progress after every step of every chunk.

        Returns:
            Audio at the model's rate, of the shape of the recording.

        Raises:
            UserError: several recordings, a rate that is too high or too low, a recording that is too short or silent,
                an unknown sampler, or an option out of range.
        """
        check_audio("audio", audio)
        if audio.samples.ndim > 2:
            raise UserError("audio", "holds several recordings", "give them one by one")
        options = UpsamplingOptions(steps=steps, seed=seed, sampler=sampler, cutoff=cutoff, adapters=tuple(adapters))
        (noise_seed,) = seeds.resolve(options.seed, clip_seeds, 1)
        rows = audio.samples if audio.samples.ndim == 2 else audio.samples[None]
        pieces = self.stream([rows], rows.shape[-1], audio.sample_rate, options, noise_seed, callback)
        output = torch.cat(list(pieces), -1)
        return Audio(output if audio.samples.ndim == 2 else output[0], self.sample_rate)

    def stream(
        self,
        blocks: Iterable[Tensor],
        samples: int,
        sample_rate: int,
        options: UpsamplingOptions,
        noise_seed: int,
        callback: Callable[[Progress], None] | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        name: str = "audio",
    ) -> Iterator[Tensor]:
        """Complete the band of a recording that comes in blocks, chunk by chunk.

        Args:
            blocks: (C, T_i) of the recording, in order.
            samples: of the recording, in all.
            sample_rate: of the recording, Hz.
            options: how to sample.
            noise_seed: of the noise.
            callback: as of `upsample`.
            chunk_seconds: length of a chunk; longer ones take more memory and less time.
            name: that errors call the recording.

        Returns:
            (C, T') at the model's rate.

        Raises:
            UserError: as `upsample`; of what is found in the samples, while it is drawn from.
        """
        adapted, options = self.adapted_for(self.complete(options, sample_rate, name))
        assert options.cutoff is not None  # it is complete
        if samples < MIN_SECONDS * sample_rate:
            raise UserError(name, f"holds {samples} samples", f"give at least {MIN_SECONDS:g} s")
        source = Resampled(blocks, samples, sample_rate, self.sample_rate)
        limit = 2 * options.cutoff < sample_rate
        return adapted._chunks(source, options, noise_seed, callback, chunk_seconds, limit, name)

    def complete(self, options: UpsamplingOptions, sample_rate: int, name: str = "audio") -> UpsamplingOptions:
        """Options for a recording with the model's and the recording's own values where they are None.

        Args:
            options: as they are wanted.
            sample_rate: of the recording, Hz.
            name: that errors call it.

        Raises:
            UserError: the recording has no band to complete, or less than the model takes, or the sampler is unknown.

        Warns:
            UserWarning: the model was not trained with such a cutoff.
        """
        rate, low, cutoff = self.sample_rate, self.model.lowest_cutoff, options.cutoff
        if cutoff is None and sample_rate >= rate:
            problem = f"is at {sample_rate} Hz, which is not below the model's {rate} Hz"
            raise UserError(name, problem, "state its cutoff (--cutoff HZ) if it lacks its upper band")
        if sample_rate < 2 * low:
            fix = f"this model completes recordings of {2 * low:g} Hz and more"
            raise UserError(name, f"is at {sample_rate} Hz", fix)
        cutoff = sample_rate / 2 if cutoff is None else cutoff
        if not low <= cutoff < rate / 2 or 2 * cutoff > sample_rate:
            highest, problem = min(rate, sample_rate) / 2, f"its band cannot end at {cutoff:g} Hz"
            raise UserError(name, problem, f"this model completes bands that end between {low:g} and {highest:g} Hz")
        lowest, highest = self.training.get(CUTOFFS, (0, rate))
        if not lowest <= cutoff <= highest:
            text = f"{name}: its band ends at {cutoff:g} Hz, this model was trained with {lowest:g} to {highest:g} Hz"
            warnings.warn(text, stacklevel=2)
        return replace(self.with_defaults(options), cutoff=cutoff)

    @torch.inference_mode()
    def _chunks(
        self,
        source: Resampled,
        options: UpsamplingOptions,
        noise_seed: int,
        callback: Callable[[Progress], None] | None,
        chunk_seconds: float,
        limit: bool,
        name: str,
    ) -> Iterator[Tensor]:
        """Chunks of the output; `limit` says whether the recording has samples above the cutoff to be removed."""
        chunk, margin = self._chunking(source.samples, chunk_seconds)
        starts, audible = range(0, source.samples, chunk), False
        for number, start in enumerate(starts):
            stop = min(start + chunk, source.samples)
            signal = source.read(start - margin, stop + margin).to(self.device)
            audible = audible or bool(signal.any())

            def report(step: int, nfe: int, *_: object, number: int = number) -> None:
                if callback is not None:
                    callback(Progress(number * nfe + step + 1, len(starts) * nfe))

            whole = self._complete_band(signal, start, options, noise_seed, limit, report)
            yield whole[:, margin : margin + stop - start].cpu()
        if not audible:
            raise UserError(name, "is silent", "give a recording with sound")

    def _complete_band(
        self, signal: Tensor, start: int, options: UpsamplingOptions, seed: int, limit: bool, report: Callable
    ) -> Tensor:
        """The full band of (C, T); `start` is the position of its noise."""
        assert options.cutoff is not None  # they are complete
        self._check_memory(signal)
        cutoff = torch.full((len(signal),), options.cutoff, device=self.device)
        signal = lowpass(signal, cutoff, self.sample_rate) if limit else signal
        band = self.model.embed_band(signal, cutoff)
        z = self._sample(band.condition, signal.shape, start, options, seed, report)
        return check_finite(self.model.restore(z, band))
