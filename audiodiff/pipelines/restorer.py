"""`Restorer`: a trained model in use, from recordings that are clipped, noisy or have gaps to restored ones."""

import warnings
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any, SupportsFloat

import torch
from torch import Tensor

from audiodiff.audio.clipping import clip_levels
from audiodiff.audio.io import Audio, resample
from audiodiff.audio.observation import Observation
from audiodiff.diffusion.noise import stable_hash
from audiodiff.errors import UserError
from audiodiff.models.adapted import AppliedAdapter
from audiodiff.models.restoration_model import RestorationModel
from audiodiff.pipelines import seeds
from audiodiff.pipelines.edit_options import parse_interval
from audiodiff.pipelines.options import check_audio
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.residual_pipeline import CHUNK_SECONDS, MIN_SECONDS, ResidualPipeline, check_finite
from audiodiff.pipelines.restoration_options import RestorationOptions

LONGEST_GAP = "longest_gap"  # key of the training record: seconds
PEAK = 0.7  # that the model's input is scaled to
_GAIN_SECONDS = 0.02  # time constant of the gain above the model's band


class Restorer(ResidualPipeline):
    """Recordings in, restored recordings at their own sample rate out.

    First clipped peaks are restored, then gaps are filled, then noise is removed, each where it is asked for.
    Declipping and filling return every other sample bit by bit, at any sample rate: only the correction of the others
    is resampled. It has the model's band; above it, gaps get the extrapolation that they start from, and noise is
    attenuated as much as the model attenuates the upper half of its band.

    Channels are restored one by one from the same noise, so equal channels stay equal. The model works in chunks with
    all samples around them that matter, so the output does not depend on them, up to rounding.

    Args:
        arguments: those of `ResidualPipeline`, with a `RestorationModel`.
    """

    MODEL = RestorationModel
    model: RestorationModel

    def restore(
        self,
        audio: Audio,
        steps: int | None = None,
        *,
        declip: bool = False,
        clip_level: float | None = None,
        fill: Sequence[str | tuple[float, float]] = (),
        denoise: bool = False,
        seed: int = 0,
        clip_seeds: Sequence[SupportsFloat] | None = None,
        sampler: str | None = None,
        adapters: Sequence[str | Path | AppliedAdapter] = (),
        callback: Callable[[Progress], None] | None = None,
    ) -> Audio:
        """Restore a recording.

        Args:
            audio: (T,) or (C, T) at any rate.
            declip, clip_level, fill, denoise, steps, seed, sampler, adapters: as of `RestorationOptions`.
            clip_seeds: the noise of the recording, in place of `seed`; see `pipelines.seeds`.
            callback: called with the progress after every step of every chunk.

        Returns:
            Audio at the rate and of the shape of the recording. Restored peaks may exceed full scale.

        Raises:
            UserError: several recordings, one that is too short or silent, no clipping to be found, a gap outside of
                it, an unknown sampler, or an option out of range.
        """
        check_audio("audio", audio)
        if audio.samples.ndim > 2:
            raise UserError("audio", "holds several recordings", "give them one by one")
        wanted: dict[str, Any] = {"declip": declip, "clip_level": clip_level, "fill": fill, "denoise": denoise}
        wanted |= {"steps": steps, "seed": seed, "sampler": sampler, "adapters": tuple(adapters)}
        options = RestorationOptions(**wanted)
        (noise_seed,) = seeds.resolve(options.seed, clip_seeds, 1)
        return self.restore_recording(audio, options, noise_seed, callback)

    def restore_recording(
        self,
        audio: Audio,
        options: RestorationOptions,
        noise_seed: int,
        callback: Callable[[Progress], None] | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        name: str = "audio",
    ) -> Audio:
        """Restore a recording by options.

        Args:
            audio: (T,) or (C, T).
            options: what to restore.
            noise_seed: of the noise.
            callback: as of `restore`.
            chunk_seconds: length of a chunk; longer ones take more memory and less time.
            name: that errors call the recording.

        Raises:
            UserError: as `restore`.
        """
        adapted, options = self.adapted_for(self.with_defaults(options))
        length, rate = audio.samples.shape[-1], audio.sample_rate
        if length < MIN_SECONDS * rate:
            raise UserError(name, f"holds {length} samples", f"give at least {MIN_SECONDS:g} s")
        gaps = self._gaps(options, length, rate, name)
        rows = _without(audio.samples.reshape(-1, length), gaps)
        if not rows.any():
            raise UserError(name, f"is silent{' outside of its gaps' if gaps else ''}", "give a recording with sound")
        observe: dict[str, Callable[[Tensor], Observation]] = {}
        if options.declip:
            observe["declip"] = lambda signal: _clipped(signal, options.clip_level, name)
        if gaps:
            observe["fill"] = lambda signal: Observation.with_gaps(signal, [gaps] * len(signal), rate)
        if options.denoise:
            observe["denoise"] = Observation.noisy
        for number, (stage, of) in enumerate(observe.items()):

            def report(progress: Progress, number: int = number) -> None:
                if callback is not None:
                    done = number * progress.total + progress.done
                    callback(Progress(done, len(observe) * progress.total))

            observation = of(rows)
            restored = adapted._complete(
                observation, rate, options, stable_hash(stage, noise_seed), report, chunk_seconds
            )
            rows = adapted._attenuate_above(rows, restored, rate) if stage == "denoise" else restored
        return Audio(rows.reshape(audio.samples.shape), rate)

    def _gaps(self, options: RestorationOptions, samples: int, rate: int, name: str) -> list[tuple[int, int]]:
        """Gaps in samples, in order, overlapping ones joined."""
        found: list[tuple[int, int]] = []
        for text in options.fill:
            start, stop = parse_interval(str(text), "gap", "s")
            end = samples / rate if stop == inf else stop
            if start >= samples / rate or round(end * rate) > samples:
                problem = f"is not within {name}, which ends at {samples / rate:.6g} s"
                raise UserError(f"gap {text}", problem, "give START:END in seconds")
            first, last = round(start * rate), round(end * rate)
            if first >= last:
                raise UserError(f"gap {text}", f"holds no sample at {rate} Hz", "give a longer one")
            found.append((first, last))
        joined: list[tuple[int, int]] = []
        for first, last in sorted(found):
            if joined and first <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(last, joined[-1][1])
            else:
                joined.append((first, last))
        if joined == [(0, samples)]:
            wanted = ", ".join(map(str, options.fill))
            raise UserError(f"gap {wanted}", "is the whole recording", "leave something to fill it from")
        longest = max(((last - first) / rate for first, last in joined), default=0.0)
        if longest > (limit := self.training.get(LONGEST_GAP, inf)):
            text = f"{name}: a gap of {longest:.3g} s, this model was trained with up to {limit:g} s"
            warnings.warn(f"{text}: what was said in it is unknown", stacklevel=3)
        return joined

    @torch.inference_mode()
    def _complete(
        self,
        observation: Observation,
        rate: int,
        options: RestorationOptions,
        seed: int,
        report: Callable[[Progress], None],
        chunk_seconds: float,
    ) -> Tensor:
        """The restored signals (C, T) of an observation at a sample rate."""
        samples, own = observation.guess.shape[-1], self.sample_rate
        guess = resample(observation.guess, rate, own)
        scale = PEAK / max(float(guess.abs().max()), 1e-6)
        flags = (observation.free, observation.saturation, observation.weight.any(0, keepdim=True).float())
        free, saturation, (needed,) = (_at_rate(flag, rate, own, guess.shape[-1]) for flag in flags)
        inputs = torch.stack([guess * scale, free, saturation])
        chunk, margin = self._chunking(guess.shape[-1], chunk_seconds)
        correction, starts = torch.zeros_like(guess), range(0, guess.shape[-1], chunk)
        for number, start in enumerate(starts):
            stop = min(start + chunk, guess.shape[-1])
            if needed[max(start - own // 100, 0) : stop + own // 100].any():  # resampling reaches a little further
                piece = _stretch(inputs, start - margin, stop + margin).to(self.device)

                def progress(step: int, nfe: int, *_: object, number: int = number) -> None:
                    report(Progress(number * nfe + step + 1, len(starts) * nfe))

                whole = self._correct(piece, start, options, seed, progress)
                correction[:, start:stop] = whole[:, margin : margin + stop - start].cpu()
        correction = resample(correction / scale, own, rate)[..., :samples]
        return observation.complete(torch.nn.functional.pad(correction, (0, samples - correction.shape[-1])))

    def _correct(
        self, inputs: Tensor, start: int, options: RestorationOptions, seed: int, progress: Callable
    ) -> Tensor:
        """The correction (C, T) of guess, free and saturation (3, C, T); `start` is the position of the noise."""
        self._check_memory(inputs[0])
        embedded = self.model.embed(*inputs)
        z = self._sample(embedded.condition, inputs[0].shape, start, options, seed, progress)
        return check_finite(self.model.correction(z, embedded))

    def _attenuate_above(self, noisy: Tensor, restored: Tensor, rate: int) -> Tensor:
        """Attenuate the band (C, T) above the model's by the gain that the upper half of the model's band has got."""
        own = self.sample_rate
        if rate <= own:
            return restored
        before, after = (resample(signal, rate, own) for signal in (noisy, restored))
        upper = [
            one - resample(resample(one, own, own // 2), own // 2, own)[..., : one.shape[-1]] for one in (before, after)
        ]
        width = round(_GAIN_SECONDS * own) | 1
        power = [torch.nn.functional.avg_pool1d(one.square(), width, 1, width // 2) for one in upper]
        gain = (power[1] / power[0].clamp(min=1e-12)).clamp(max=1).sqrt()
        samples = noisy.shape[-1]
        gain = torch.nn.functional.interpolate(gain[:, None], size=samples, mode="linear")[:, 0]
        above = noisy - resample(before, own, rate)[..., :samples]
        return restored - (1 - gain) * above


def _clipped(signal: Tensor, level: float | None, name: str) -> Observation:
    """The observation of a recording (C, T) that was clipped at a level, or at those that are found in it."""
    if level is not None:
        levels = torch.full((len(signal), 2), level)
    else:
        levels = torch.tensor([clip_levels(row) for row in signal])
    observation = Observation.clipped(signal, levels.to(signal))
    if not observation.weight.any():
        found = "no clipping was found" if level is None else f"no sample reaches the clip level {level:g}"
        raise UserError(name, found, f"state {'the' if level is None else 'another'} level (--clip-level)")
    return observation


def _without(signal: Tensor, gaps: Sequence[tuple[int, int]]) -> Tensor:
    """A signal (C, T) that is zero in gaps, so that what they hold decides nothing."""
    emptied = signal.clone() if gaps else signal
    for start, stop in gaps:
        emptied[:, start:stop] = 0
    return emptied


def _at_rate(flags: Tensor, rate: int, target: int, samples: int) -> Tensor:
    """Flags of samples (C, T) between -1 and 1 at another rate, (C, samples), each where its time is nearest.

    Of several that fall on one sample the one of the largest magnitude counts: none is lost at a lower rate.
    """
    if rate <= target:
        place = _nearest(samples, target, rate, flags.device).clamp(max=flags.shape[-1] - 1)
        return flags[:, place]
    place = _nearest(flags.shape[-1], rate, target, flags.device).clamp(max=samples - 1).expand_as(flags)
    empty = flags.new_zeros(len(flags), samples)
    high, low = (empty.scatter_reduce(-1, place, one.clamp(min=0), "amax") for one in (flags, -flags))
    return high - low


def _nearest(samples: int, rate: int, target: int, device: torch.device) -> Tensor:
    """(samples,) positions at another rate, nearest in time to each sample; integers, which any length bears."""
    return (2 * target * torch.arange(samples, device=device) + rate) // (2 * rate)


def _stretch(signals: Tensor, start: int, stop: int) -> Tensor:
    """The samples [start, stop) of signals (..., T), zero beyond their ends."""
    length = signals.shape[-1]
    inside = signals[..., max(start, 0) : min(stop, length)]
    return torch.nn.functional.pad(inside, (max(-start, 0), max(stop - length, 0)))
