"""Batch rendering: many recordings and mels to audio files, in batches of like length, free to be interrupted.

Beside each rendering stands a sidecar (`rendering.sidecar`), which says how it came about: `Settings`, hashes of input
and model. A clip is rendered when its audio is missing or when its sidecar says anything else than what is asked for
now; so the same command, given again, goes on where it was stopped.

Batches (`rendering.batches`) are a function of the inputs that can be rendered, sorted by length, and of their size,
and not of what is rendered already. So every clip that a run writes has the bytes that a run over the same inputs into
an empty folder would write, with the same batch size, device and number of threads. Clips that are there already stay
as they are: after inputs have been added or mended, or with another batch size, they may differ from such a run in the
last bit of some samples. (A batch that does not fit into memory is an exception: its clips are rendered alone.)
"""

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from audiodiff.audio import io
from audiodiff.audio.mel import MelSpec
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError, first_line
from audiodiff.files import folder_lock
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.rendering import sidecar
from audiodiff.rendering.batches import unfinished_batches
from audiodiff.rendering.jobs import RenderInput

_CLAIM = {"sidecar": "audiodiff render", "version": 1}
# Why a file system refuses one name and takes others.
_OF_ITS_NAME = {
    *(errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
}


@dataclass(frozen=True)
class Settings:
    """How to render.

    Attributes:
        steps: network calls a clip.
        sampler: name; None for the model's own.
        seed: clip `id` is made from the noise of `clip_seed(seed, id)`.
        consistency: iterations of mel consistency; None for the model's own.
        batch_size: clips at once; the last bit of some samples depends on it.
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
    """A clip: where it is rendered to, about how many frames it has, what its sidecar says of how, if it is missing."""

    source: RenderInput
    audio: Path
    frames: int
    recipe: dict
    missing: bool


@dataclass
class Outcome:
    """How many clips were rendered, were there already, and were left out with a report."""

    rendered: int = 0
    kept: int = 0
    left_out: int = 0


def render(
    vocoder: Vocoder,
    sources: Sequence[RenderInput],
    out: str | Path,
    settings: Settings,
    report: Callable[[UserError], None],
    quiet: bool = False,
) -> Outcome:
    """Render clips below a folder.

    Args:
        vocoder: the model.
        sources: what `audiodiff.rendering.jobs.find_inputs` found.
        out: folder.
        settings: how.
        report: called for every clip that cannot be rendered; the others are.
        quiet: no progress bar.

    Raises:
        UserError: the folder or a file in it cannot be written, or another process writes to it.
    """
    with folder_lock(out):
        sidecar.make_folder(Path(out))  # says why where there is none
        return _Renderer(vocoder, Path(out), settings, report)(sources, quiet)


class _Renderer:
    def __init__(self, vocoder: Vocoder, out: Path, settings: Settings, report: Callable[[UserError], None]):
        self.vocoder, self.out, self.settings, self.report = vocoder, out, settings, report
        self.outcome = Outcome()

    def __call__(self, sources: Sequence[RenderInput], quiet: bool) -> Outcome:
        jobs = [job for source in sources if (job := self._attempt(self._plan, source))]
        jobs.sort(key=lambda job: (-job.frames, job.source.name))
        batches, steps = unfinished_batches(jobs, self.settings.batch_size), self.settings.steps
        if batches:
            sidecar.check_writable(self.out)
        title = f"rendering {sum(job.missing for job in jobs)} clips"
        # disable=None: only where somebody watches.
        with tqdm(total=steps * sum(map(len, batches)), desc=title, unit="step", disable=quiet or None) as self.bar:
            for batch in batches:
                end = self.bar.n + steps * len(batch)
                self._batch(batch)
                self.bar.update(end - self.bar.n)
        return self.outcome

    def _attempt(self, work: Callable, source: RenderInput) -> object | None:
        """What `work` makes of a clip; None where it cannot be read, which is reported."""
        try:
            return work(source)
        except UserError as error:
            self._leave_out(error)
        except Exception as error:  # A reader may raise anything at a file that is damaged, or made to hurt.
            self._leave_out(UserError(source.path, f"cannot be read ({first_line(error)})"))
        return None

    def _leave_out(self, error: UserError) -> None:
        self.outcome.left_out += 1
        self.report(error)

    def _plan(self, source: RenderInput) -> Job:
        settings, vocoder = self.settings, self.vocoder
        audio = self.out / f"{source.name}.{settings.format}"
        if audio.resolve() == source.path.resolve():
            raise UserError(source.path, "would be overwritten by its own rendering", "choose another --out")
        sidecar.check_name(audio)
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
        found = {} if settings.overwrite else sidecar.read_sidecar(audio, _CLAIM)
        missing = not found.items() >= recipe.items()
        frames = None if missing else found.get("frames")
        if not isinstance(frames, int):
            frames = source.frames(vocoder)  # which may have to decode the whole file
        self.outcome.kept += not missing
        return Job(source, audio, frames, recipe, missing)

    def _batch(self, jobs: Sequence[Job]) -> None:
        clips = []
        for job in jobs:
            loaded = self._attempt(lambda source: source.load(self.vocoder, self.settings.mel_spec), job.source)
            if loaded:
                clips.append((job, *loaded))
        if any(job.missing for job, *_ in clips):
            self._generate(clips)

    def _generate(self, clips: list[tuple[Job, Tensor, int]]) -> None:
        """Render and store; where a batch fails its clips are tried alone, so that one of them does not cost all."""
        jobs, mels, lengths = zip(*clips, strict=True)
        recipe, base = jobs[0].recipe, self.bar.n

        def advance(progress: Progress) -> None:
            self.bar.update(base + progress.done * len(jobs) - self.bar.n)

        started = time.perf_counter()
        try:
            rendered = self.vocoder.generate(
                mels,
                recipe["nfe"],
                [job.recipe["clip_seed"] for job in jobs],
                recipe["sampler"],
                recipe["consistency"],
                advance,
            )
        except (ValueError, MemoryError, RuntimeError) as error:  # torch's lack of memory is a RuntimeError
            if len(clips) > 1:
                for clip in clips:
                    if clip[0].missing:
                        self._generate([clip])
            else:
                self._leave_out(UserError(jobs[0].source.path, f"cannot be rendered ({first_line(error)})"))
            return
        spent = time.perf_counter() - started
        speed = sum(audio.seconds for audio in rendered) / spent
        for job, audio, length in zip(jobs, rendered, lengths, strict=True):
            if job.missing:
                self._store(job, io.Audio(audio.samples[:length], audio.sample_rate), speed)

    def _store(self, job: Job, audio: io.Audio, speed: float) -> None:
        metadata = {
            "id": job.source.id,
            "input": str(job.source.path),
            **job.recipe,
            "precision": self.vocoder.precision,
            "device": str(self.vocoder.device),
            "batch_size": self.settings.batch_size,
            "mel_spec": self.vocoder.spec.to_dict(),
            "sample_rate": audio.sample_rate,
            "frames": job.frames,
            "samples": audio.samples.shape[-1],
            "seconds": audio.seconds,
            # As in reports: seconds of audio in a second of work, over the batch.
            "real_time_factor": speed,
        }
        try:
            sidecar.write_with_sidecar(job.audio, lambda path: io.write(path, audio), _CLAIM, metadata)
        except UserError as error:
            if getattr(error.__cause__, "errno", None) not in _OF_ITS_NAME:
                raise  # of the disk, which takes no other clip either
            self._leave_out(error)
        else:
            self.outcome.rendered += 1
