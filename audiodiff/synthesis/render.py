"""Batch rendering: many recordings and mels to audio files, in batches of like length, free to be interrupted.

Beside each rendering stands a sidecar (`synthesis.sidecar`), which says how it came about: `Settings`, hashes of input
and model. A clip is rendered when its audio is missing or when its sidecar says anything else than what is asked for
now; so the same command, given again, goes on where it was stopped.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from audiodiff.audio import io
from audiodiff.audio.mel import MelSpec
from audiodiff.diffusion import presets
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.synthesis import sidecar
from audiodiff.synthesis.jobs import Source
from audiodiff.synthesis.synthesiser import Progress
from audiodiff.synthesis.vocoder import Vocoder

_CLAIM = {"sidecar": "audiodiff render", "version": 1}


@dataclass(frozen=True)
class Settings:
    """How to render.

    Attributes:
        steps: network calls a clip.
        sampler: name; None for the model's own.
        seed: clip `id` is made from the noise of `clip_seed(seed, id)`.
        consistency: iterations of mel consistency; None for the model's own.
        batch_size: clips at once.
        format: of the files, "wav" or "flac".
        mel_spec: what saved mels are whose files do not say.
        overwrite: render what is there already again, and over files that are not renderings.

    Raises:
        UserError: a value that cannot be.
    """

    steps: int = 6
    sampler: str | None = None
    seed: int = 0
    consistency: int | None = None
    batch_size: int = 8
    format: str = "wav"
    mel_spec: MelSpec | None = None
    overwrite: bool = False

    def __post_init__(self):
        """Refuse what would only fail after the first clip."""
        presets.build(self.sampler or presets.NAMES[0], self.steps)
        if self.batch_size < 1:
            raise UserError(f"batch size {self.batch_size}", "is below 1")
        if self.consistency is not None and self.consistency < 0:
            raise UserError(f"consistency {self.consistency}", "is below 0", "0 is none")
        sidecar.check_format(self.format)


@dataclass(frozen=True)
class Job:
    """A clip that is to be rendered: where to, about how many frames, and what its sidecar will say of how."""

    source: Source
    audio: Path
    frames: int
    recipe: dict


@dataclass
class Outcome:
    """How many clips were rendered, were there already, and were left out with a report."""

    rendered: int = 0
    kept: int = 0
    left_out: int = 0


def render(
    vocoder: Vocoder,
    sources: Sequence[Source],
    out: str | Path,
    settings: Settings,
    report: Callable[[UserError], None],
    quiet: bool = False,
) -> Outcome:
    """Render clips below a folder.

    Args:
        vocoder: the model.
        sources: what `audiodiff.synthesis.jobs.find` found.
        out: folder.
        settings: how.
        report: told of every clip that cannot be rendered; the others are.
        quiet: no progress bar.

    Raises:
        UserError: the folder or a file in it cannot be written.
    """
    sidecar.make_folder(Path(out))
    return _Renderer(vocoder, Path(out), settings, report)(sources, quiet)


class _Renderer:
    def __init__(self, vocoder: Vocoder, out: Path, settings: Settings, report: Callable[[UserError], None]):
        self.vocoder, self.out, self.settings, self.tell = vocoder, out, settings, report
        self.outcome = Outcome()

    def __call__(self, sources: Sequence[Source], quiet: bool) -> Outcome:
        jobs = [job for source in sources if (job := self._attempt(self._plan, source))]
        jobs.sort(key=lambda job: -job.frames)
        size, calls = self.settings.batch_size, len(jobs) * self.settings.steps
        title = f"rendering {len(jobs)} clips"
        # disable=None: only where somebody watches.
        with tqdm(total=calls, desc=title, unit="call", disable=True if quiet else None) as self.bar:
            for start in range(0, len(jobs), size):
                self._batch(jobs[start : start + size])
                self._advance((start + size) * self.settings.steps)
        return self.outcome

    def _attempt(self, work: Callable, source: Source) -> object | None:
        try:
            return work(source)
        except UserError as error:
            self._leave_out(error)
            return None

    def _leave_out(self, error: UserError) -> None:
        self.outcome.left_out += 1
        self.tell(error)

    def _advance(self, calls: int) -> None:
        self.bar.update(min(calls, self.bar.total) - self.bar.n)

    def _plan(self, source: Source) -> Job | None:
        """The job, or None where the rendering is there already."""
        settings, vocoder = self.settings, self.vocoder
        audio = self.out / f"{source.name}.{settings.format}"
        if audio.resolve() == source.path.resolve():
            raise UserError(source.path, "would be overwritten by its own rendering", "choose another --out")
        consistency = vocoder.model.consistency if settings.consistency is None else settings.consistency
        recipe = {
            "input_hash": source.digest(settings.mel_spec),
            "model_hash": vocoder.model_hash,
            "sampler": settings.sampler or vocoder.model.sampler,
            "nfe": settings.steps,
            "seed": settings.seed,
            "clip_seed": clip_seed(settings.seed, source.id),
            "consistency": consistency,
        }
        if not settings.overwrite and sidecar.is_there(audio, _CLAIM, recipe):
            self.outcome.kept += 1
            return None
        return Job(source, audio, source.frames(vocoder, settings.mel_spec), recipe)

    def _batch(self, jobs: Sequence[Job]) -> None:
        clips = []
        for job in jobs:
            loaded = self._attempt(lambda source: source.load(self.vocoder, self.settings.mel_spec), job.source)
            if loaded:
                clips.append((job, *loaded))
        if clips:
            self._generate(clips)

    def _generate(self, clips: list[tuple[Job, Tensor, int]]) -> None:
        """Render and store; where a batch fails its clips are tried alone, so that one of them does not cost all."""
        jobs, mels, lengths = zip(*clips, strict=True)
        recipe, base = jobs[0].recipe, self.bar.n

        def progress(progress: Progress) -> None:
            self._advance(base + progress.done * len(jobs))

        started = time.perf_counter()
        try:
            made = self.vocoder.generate(
                mels,
                recipe["nfe"],
                [job.recipe["clip_seed"] for job in jobs],
                recipe["sampler"],
                recipe["consistency"],
                progress,
            )
        except (ValueError, torch.OutOfMemoryError) as error:
            if len(clips) > 1:
                for clip in clips:
                    self._generate([clip])
            else:
                reason, *_ = str(error).partition("\n")
                self._leave_out(UserError(jobs[0].source.path, f"cannot be rendered ({reason})"))
            return
        spent = time.perf_counter() - started
        speed = sum(audio.seconds for audio in made) / spent
        for job, audio, length in zip(jobs, made, lengths, strict=True):
            if audio.samples.isfinite().all():
                self._store(job, io.Audio(audio.samples[:length], audio.sample_rate), speed)
            else:
                problem = "became samples that are not finite"
                self._leave_out(UserError(job.source.path, problem, "is its mel of the level that its spec says?"))

    def _store(self, job: Job, audio: io.Audio, speed: float) -> None:
        told = {
            "id": job.source.id,
            "input": str(job.source.path),
            **job.recipe,
            "precision": self.vocoder.precision,
            "device": str(self.vocoder.device),
            "mel_spec": self.vocoder.spec.to_dict(),
            "sample_rate": audio.sample_rate,
            "samples": audio.samples.shape[-1],
            "seconds": audio.seconds,
            # As in reports: seconds of audio in a second of work, over the batch.
            "real_time_factor": speed,
        }
        sidecar.store(job.audio, lambda path: io.write(path, audio), _CLAIM, told)
        self.outcome.rendered += 1
