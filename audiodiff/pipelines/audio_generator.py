"""`AudioGenerator`: a trained model in use, from nothing to audio of any length, or on from what is given.

Longer than the model was trained on, a clip is made in windows that overlap at every step of the sampler
(`diffusion.windowed`), so that memory is bounded by a window; a loop's windows go around. A continuation keeps the end
of the given clip while it makes what follows (`diffusion.editing.Inpainting`), a variation begins with the given clip
and some noise (`diffusion.editing.SDEdit`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from audiodiff.audio.arrays import whole_number
from audiodiff.audio.io import Audio, resample
from audiodiff.audio.loudness import normalize_peak
from audiodiff.diffusion.editing import Inpainting, SDEdit
from audiodiff.diffusion.guidance.extrapolation import ClassifierFree
from audiodiff.diffusion.noise import batch_noise, clip_seed, step_noise
from audiodiff.diffusion.samplers.sampler import DenoiserLike, NotFinite
from audiodiff.diffusion.windowed import Windowed
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.codec import autoencoder
from audiodiff.nn.condition import Condition
from audiodiff.pipelines.inputs import Seeds, real_number, seed_list
from audiodiff.pipelines.pipeline import Pipeline, Progress

PEAK = 0.9
LONGEST = 24 * 3600  # seconds of a clip
STRONGEST = 100  # guidance
WEAKER = "lower the guidance (2 to 4 are usual), or use float32"  # where a guided clip is not finite
SLIGHTEST = 1e-3  # strength of a variation
_MIN_LEVEL = 1e-6  # root mean square that a signal is divided by at least
_LEAD_SECONDS = 1.0  # before a loop's beginning, so that filters have come to rest
_FADE_SECONDS = 0.02  # from a given clip to what a codec makes of its end


@dataclass(frozen=True)
class Wish:
    """What clips are to be.

    Attributes:
        seconds: length of each, of a continuation what is added; None for the length that the model was trained on, of
            a variation for that of the given clip.
        steps: network calls; None for the model's own number.
        sampler: a name from `audiodiff.diffusion.samplers.presets.NAMES`; None for the model's own.
        labels: what the clips are to be, some of the model's; none: anything.
        tempo: beats a minute that they are to have; None: any.
        guidance: weight of labels and tempo; 1 is the model as it is, more takes clips further from those of other
            kinds and costs a second network evaluation a call.
        loop: whether the end leads to the beginning; the length is brought to whole frames of the model.
        after: a clip that is to go on.
        like: a clip that is to be varied.
        strength: how much a variation may differ, from 0.001 to 1, where nothing of the given clip is left.
    """

    seconds: float | None = None
    steps: int | None = None
    sampler: str | None = None
    labels: Sequence[str] = ()
    tempo: float | None = None
    guidance: float = 1.0
    loop: bool = False
    after: Audio | None = None
    like: Audio | None = None
    strength: float = 0.5

    def __post_init__(self):
        """Convert numbers to plain ones, and refuse what cannot be whatever the model is.

        Raises:
            UserError: a length, tempo or strength that is none, steps that are not a whole number, a clip that is not
                `Audio`, or two wishes that exclude each other.
        """
        for name in ("seconds", "tempo", "guidance", "strength"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, real_number(getattr(self, name), name))
        if self.steps is not None:
            object.__setattr__(self, "steps", whole_number(self.steps, "steps"))
        for name in ("after", "like"):
            if not isinstance(given := getattr(self, name), Audio | None):
                problem = f"is of type {type(given).__name__}, not Audio"
                raise UserError(name, problem, "read it with audiodiff.audio.io.read")
        if self.seconds is not None and not 0 < self.seconds <= LONGEST:
            raise UserError(f"seconds {self.seconds}", "is no length", f"give a number above 0, at most {LONGEST}")
        if self.tempo is not None and not 0 < self.tempo < math.inf:
            raise UserError(f"tempo {self.tempo:g}", "is not a tempo", "give beats a minute, such as 120")
        if not abs(self.guidance) <= STRONGEST:
            raise UserError(
                f"guidance {self.guidance:g}",
                f"is not between -{STRONGEST} and {STRONGEST}",
                "1 is as trained, 2 to 4 exaggerate",
            )
        if not SLIGHTEST <= self.strength <= 1:
            raise UserError(
                f"strength {self.strength:g}", f"is not between {SLIGHTEST} and 1", "0.2 is near, 1 anywhere"
            )
        if isinstance(self.labels, str):
            raise UserError(f"labels {self.labels!r}", "is one word", "give a list of labels")
        if sum((self.loop, self.after is not None, self.like is not None)) > 1:
            raise UserError("a loop, a continuation and a variation", "exclude each other", "ask for one of them")


class UnfitClip(UserError):
    """What is wrong with a clip that was given; who gave it knows its name."""


class AudioGenerator(Pipeline):
    """Clips out of noise.

    A clip depends on its seed, on what is wished, and on nothing else: not on its batch.

    Args:
        arguments: those of `Pipeline`, with an `AudioModel`.
    """

    MODEL = AudioModel
    model: AudioModel

    @classmethod
    def untrained(cls, folder: str | Path, device: str | torch.device = "cpu", seed: int = 0) -> Self:
        """The same model with fresh weights; its codec keeps its own, since the model is not what trained it."""
        generator = super().untrained(folder, device, seed)
        if generator.model.codec is not None:
            generator.model.codec.network.load_state_dict(autoencoder(folder).state_dict())
        return generator

    def generate(
        self,
        seeds: Seeds = 0,
        *,
        peak: float | None = PEAK,
        callback: Callable[[Progress], None] | None = None,
        **wish,
    ) -> Audio:
        """Make clips of one length.

        Args:
            seeds: of one clip, or one for each of several.
            peak: that each clip is brought to, its mean taken off; None, and for continuations: as it comes.
            callback: told the progress after every network call.
            wish: what the clips are to be, the fields of `Wish`.

        Returns:
            Audio with samples (C, T) for one seed, (B, C, T) for several.

        Raises:
            UserError: as `Wish`, and for an unknown sampler or label, a tempo to a model that knows none, a length or
                number of calls that is none, seeds that are not whole numbers, or samples that are not finite.
        """
        listed = seed_list(seeds)
        single = listed is None
        numbers = [whole_number(seeds, "seed")] if single else listed
        wished = Wish(**wish)
        pieces = list(self.pieces(numbers, wished, callback)) if numbers else []
        if not pieces:
            return Audio(torch.empty(0, self.model.channels, self._samples(wished)), self.sample_rate)
        waveforms = torch.cat(pieces, dim=-1)
        if not waveforms.isfinite().all():
            raise NotFinite("the generated clips", "hold samples that are not finite", WEAKER)
        if peak is not None and wished.after is None:
            waveforms = normalize_peak(waveforms, peak)
        return Audio(waveforms[0] if single else waveforms, self.sample_rate)

    @torch.inference_mode()
    def diffused(self, audio: Audio) -> Tensor:
        """What the process runs on (C', F) of a recording, which is brought to the model's rate and channels."""
        return self._normalized(self._fitted(audio))[0]

    @torch.no_grad()  # and not inference_mode: continuations take gradients
    def pieces(
        self, seeds: Sequence[int], wish: Wish, callback: Callable[[Progress], None] | None = None
    ) -> Iterator[Tensor]:
        """As `generate`, as they come: stretches (B, C, T') on the CPU, one after the other, of a codec's model.

        Of a clip of any length only what the process runs on is held; raises as `generate`.
        """
        samples = self._samples(wish)
        if wish.after is not None:
            yield from self._continued(seeds, wish, samples, callback)
        elif wish.like is not None:
            given, level = self._given(wish.like)
            z = self._made(seeds, wish, self.model.frames(samples), callback, like=given)
            yield from (piece * level for piece in self._audio(z, samples))
        else:
            z = self._made(seeds, wish, self.model.frames(samples), callback)
            yield from self._audio(z, samples, wish.loop)

    def _made(
        self,
        seeds: Sequence[int],
        wish: Wish,
        frames: int,
        callback: Callable[[Progress], None] | None,
        like: Tensor | None = None,
        after: Tensor | None = None,
    ) -> Tensor:
        """What the process makes (B, Z, frames); `like` (Z, frames) and `after` (Z, F <= frames) are what is given."""
        calls = self.model.calls if wish.steps is None else wish.steps
        window = self.model.frames(self.model.samples)
        denoiser = self.model.denoiser
        if frames > window or wish.loop:
            denoiser = Windowed(denoiser, window, loop=wish.loop)
        denoiser, condition = self._told(denoiser, len(seeds), min(frames, window) * self.model.stride, wish)
        where = (seeds, self.model.network.frontend.channels, frames, 0, self.device)
        start = batch_noise(*where)
        if after is not None:
            known = torch.nn.functional.pad(after, (0, frames - after.shape[-1])).to(start)
            denoiser = Inpainting(denoiser, known, torch.arange(frames, device=self.device) < after.shape[-1])
        if like is not None:
            denoiser = SDEdit(denoiser, wish.strength * denoiser.t_max)
        sampler = self.model.sampler_for(calls, wish.sampler, denoiser.t_max)
        start = start * sampler.noise_scale(denoiser) if like is None else denoiser.add_noise(like.to(start), start)

        def report(step: int, nfe: int, *_: object) -> None:
            if callback is not None:
                callback(Progress(step + 1, nfe))

        try:
            with self._context():
                return sampler(denoiser, start, condition, step_noise(*where), report).float()
        except NotFinite as error:
            raise error if wish.guidance == 1 else NotFinite(error.subject, error.problem, WEAKER) from error

    def _continued(self, seeds: Sequence[int], wish: Wish, samples: int, callback) -> Iterator[Tensor]:
        """The given clip, then what follows."""
        given = self._fitted(wish.after)
        model, most = self.model, self.model.frames(self.model.samples) // 2 * self.model.stride
        # Frames are counted from the end, so that the last known one is whole.
        context = given[..., -min(given.shape[-1] // model.stride * model.stride, most) :]
        if context.shape[-1] < model.stride or not given.any():
            raise UnfitClip("the clip that is to go on", "is too short, or silent", "give a second or more of sound")
        known, level = self._normalized(context)
        frames = known.shape[-1] + model.frames(samples)
        z = self._made(seeds, wish, frames, callback, after=known)
        pieces = (piece * level for piece in self._audio(z, context.shape[-1] + samples))
        fade = min(round(_FADE_SECONDS * model.sample_rate), context.shape[-1])
        share, end = torch.linspace(0, 1, fade), context.shape[-1]
        both = 1 - share, share
        if model.codec is not None and not model.codec.network.phases:
            both = (1 - share).sqrt(), share.sqrt()  # two sounds of other phases add up by their powers
        made = next(pieces)
        while made.shape[-1] < end:
            made = torch.cat([made, next(pieces)], dim=-1)
        joint = both[0] * given[..., given.shape[-1] - fade :] + both[1] * made[..., end - fade : end]
        before = given[..., : given.shape[-1] - fade].expand(len(seeds), -1, -1)
        yield torch.cat([before, joint, made[..., end:]], dim=-1)
        yield from pieces

    def _fitted(self, given: Audio) -> Tensor:
        """A given clip (T,), (C, T) or (1, C, T) at the model's rate, with its channels (C, T)."""
        samples = torch.atleast_2d(given.samples)
        samples = samples[0] if samples.ndim == 3 and len(samples) == 1 else samples
        if samples.ndim > 2:
            raise UnfitClip("the given clip", f"has samples of shape {tuple(samples.shape)}", "give one clip (C, T)")
        if len(samples) not in (1, 2):
            raise UnfitClip("the given clip", f"has {len(samples)} channels", "give one or two, channels first")
        if len(samples) > self.model.channels:
            samples = samples.mean(0, keepdim=True)
        return resample(samples.expand(self.model.channels, -1).contiguous(), given.sample_rate, self.sample_rate)

    def _given(self, given: Audio) -> tuple[Tensor, float]:
        fitted = self._fitted(given)
        if not fitted.any():
            raise UnfitClip("the given clip", "is silent or empty", "give one with sound")
        return self._normalized(fitted)

    def _normalized(self, waveform: Tensor) -> tuple[Tensor, float]:
        """What the process runs on (Z, F) of a clip (C, T), and the level that was taken off it."""
        z = self.model.normalize(waveform[None].to(self.device))[0]
        if self.model.codec is not None:
            return z, 1.0
        level = float(z.square().mean().sqrt().clamp(min=_MIN_LEVEL))
        return z / level, level

    def _audio(self, z: Tensor, samples: int, loop: bool = False) -> Iterator[Tensor]:
        """Of samples of the process (B, Z, F) the audio (B, C, samples), piece by piece."""
        if not loop:
            yield from (piece.float().cpu() for piece in self.model.restored(z, samples))
            return
        lead = self.model.frames(round(_LEAD_SECONDS * self.sample_rate))
        around = torch.arange(-lead, z.shape[-1] + lead, device=z.device) % z.shape[-1]
        first, passed = lead * self.model.stride, 0
        for piece in self.model.restored(z[..., around], None):
            kept = piece[..., max(first - passed, 0) : max(first + samples - passed, 0)]
            passed += piece.shape[-1]
            if kept.shape[-1]:
                yield kept.float().cpu()

    def _samples(self, wish: Wish) -> int:
        seconds = wish.seconds
        if seconds is None and wish.like is not None:
            return self._fitted(wish.like).shape[-1]
        if wish.like is not None:
            raise UserError(f"seconds {seconds:g}", "cannot be chosen for a variation", "leave it out")
        samples = self.model.samples if seconds is None else round(seconds * self.sample_rate)
        if samples < 1:
            raise UserError(f"seconds {seconds}", "is no length", "give a number above 0")
        return max(round(samples / self.model.stride), 1) * self.model.stride if wish.loop else samples

    def _told(self, denoiser: DenoiserLike, clips: int, samples: int, wish: Wish) -> tuple[DenoiserLike, Condition]:
        """The denoiser, guided if it is to be, and what it is told."""
        length, wanted = {"seconds": samples / self.sample_rate}, {}
        if wish.tempo is not None:
            if "tempo" not in self.model.numbers:
                raise UserError(f"tempo {wish.tempo:g}", "is not what this model is told", "leave it out")
            wanted["tempo"] = float(wish.tempo)
        condition = self.model.condition(clips, wish.labels, length | wanted)
        if wish.guidance == 1.0:
            return denoiser, condition
        if not wish.labels and not wanted:
            fix = "give a label, or guidance 1" if self.model.labels else "this model knows no labels: leave it out"
            raise UserError(f"guidance {wish.guidance:g}", "has nothing to go to", fix)
        unguided = self.model.condition(clips, (), length)
        return ClassifierFree(denoiser, wish.guidance, unguided), condition


def clip_seeds(seed: int, count: int) -> list[int]:
    """Those of `count` clips that are made under one seed: clip i has the same whatever the count."""
    return [clip_seed(seed, str(i)) for i in range(count)]
