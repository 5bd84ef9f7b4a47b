"""Batch generation: many clips to files `NNNN.wav`, in batches (`rendering.jobs`).

Clip i of a seed does not depend on how many clips there are, so that a larger count adds files to a folder.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from audiodiff.audio.io import write_chunks
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.files import folder_lock
from audiodiff.pipelines.audio_generator import PEAK, WEAKER, AudioGenerator, Wish, clip_seeds
from audiodiff.pipelines.pipeline import Progress
from audiodiff.rendering import sidecar
from audiodiff.rendering.jobs import FileOptions, Job, JobWriter, Outcome
from audiodiff.rendering.spool import Spool

COMMAND = "audiodiff generate"


@dataclass(frozen=True)
class Settings:
    """What to generate.

    Attributes:
        wish: what the clips are to be.
        count: of clips.
        seed: of all.
        peak: of each clip, unless it continues another; None: unchanged.

    Raises:
        UserError: a value that is out of range.
    """

    wish: Wish = field(default_factory=Wish)
    count: int = 1
    seed: int = 0
    peak: float | None = PEAK

    def __post_init__(self):
        """Check the values."""
        presets.build(self.wish.sampler or presets.NAMES[0], 20 if self.wish.steps is None else self.wish.steps)
        if self.count < 1:
            raise UserError(f"count {self.count}", "is below 1", "give 1 or more")
        if self.peak is not None and not 0 < self.peak <= 1:
            raise UserError(f"peak {self.peak:g}", "is not above 0 and at most 1", "1 is full scale")


def _raise(error: UserError) -> None:
    raise error


def generate(
    generator: AudioGenerator,
    out: str | Path,
    settings: Settings,
    files: FileOptions = FileOptions(),  # noqa: B008, frozen
    quiet: bool = False,
    report: Callable[[UserError], None] = _raise,
) -> Outcome:
    """Generate clips as `out/NNNN.wav`, those that do not exist.

    Args:
        generator: the model.
        out: output folder.
        settings: what to generate.
        files: how files are written.
        quiet: no progress bar.
        report: called with the error of each clip whose samples are not finite; the others are written. By default the
            first ends the work.

    Raises:
        UserError: the folder or a file in it cannot be written, another process writes to it, a file exists that is
            not ours or was generated with other settings, or as `AudioGenerator.generate`.
    """
    with folder_lock(out):
        sidecar.create_folder(Path(out))  # with the reason, where there is none
        writer, shared, jobs = (
            JobWriter(COMMAND, generator, Path(out), files, report),
            _settings(generator, settings),
            [],
        )
        for number, seed in enumerate(clip_seeds(settings.seed, settings.count)):
            path, own = writer.out / f"{number:04d}.{files.format}", shared | {"clip_seed": seed}
            jobs.append(Job(path, own, writer.find(path, own)))
        return writer.run(jobs, partial(_generate, writer, settings), shared["steps"], "generating", quiet)


def _settings(generator: AudioGenerator, settings: Settings) -> dict:
    """Sidecar entries of what decides how the clips sound, besides their seeds."""
    wish, model = settings.wish, generator.model
    entries = {
        "model_hash": generator.model_hash,
        "sampler": wish.sampler or model.sampler,
        "steps": model.calls if wish.steps is None else wish.steps,
        "seed": settings.seed,
        "seconds": wish.seconds,
        "labels": list(wish.labels),
        "tempo": wish.tempo,
        "guidance_scale": wish.guidance,
        "loop": wish.loop,
        "peak_level": settings.peak,
    }
    for name, clip in (("continue_from", wish.after), ("init_audio", wish.like)):
        entries[name] = None if clip is None else hashlib.sha256(clip.samples.numpy().tobytes()).hexdigest()
    return entries | ({} if wish.like is None else {"init_noise_level": wish.strength})


def _generate(writer: JobWriter, settings: Settings, batch: Sequence[Job], advance: Callable[[Progress], None]) -> None:
    """Generate a batch and write its missing clips."""
    generator, started = writer.pipeline, time.perf_counter()
    peak = settings.peak if settings.wish.after is None else None
    with Spool() as spool:
        for piece in generator.pieces([job.settings["clip_seed"] for job in batch], settings.wish, advance):
            spool.add(piece)
        speed = len(batch) * spool.samples / generator.sample_rate / (time.perf_counter() - started)
        for number, job in enumerate(batch):
            if not job.missing:
                continue
            if not spool.finite[number]:
                fix = "use --precision float32" if settings.wish.guidance == 1 else WEAKER
                writer.fail(UserError(job.path, "has samples that are not finite", fix))
                continue
            write = partial(write_chunks, pieces=spool.clip(number, peak), sample_rate=generator.sample_rate)
            writer.write(job, write, spool.samples, speed, channels=spool.channels)
