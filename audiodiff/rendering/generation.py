"""Batch generation: many clips to files `NNNN.wav`, in batches (`rendering.jobs`).

Clip i of a seed does not depend on how many clips there are, so that a larger count adds files to a folder.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from audiodiff.audio.io import write_chunks
from audiodiff.errors import UserError
from audiodiff.files import folder_lock
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.clip_sampler import LOWER_GUIDANCE
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.rendering import sidecar
from audiodiff.rendering.jobs import Job, JobWriter
from audiodiff.rendering.monitor import Monitor, Outcome
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.spool import Spool

COMMAND = "audiodiff generate"


def _raise(error: UserError) -> None:
    raise error


def generate(
    generator: AudioGenerator,
    out: str | Path,
    config: GenerationConfig = GenerationConfig(),  # noqa: B008, frozen
    count: int = 1,
    files: FileOptions = FileOptions(),  # noqa: B008, frozen
    quiet: bool = False,
    report: Callable[[UserError], None] = _raise,
) -> Outcome:
    """Generate clips as `out/NNNN.wav`, those that do not exist.

    Args:
        generator: the model.
        out: output folder.
        config: what to generate.
        count: number of clips.
        files: how files are written.
        quiet: no progress bar.
        report: called with the error of each clip whose samples are not finite; the others are written. By default the
            first ends the work.

    Raises:
        UserError: the folder or a file in it cannot be written, another process writes to it, a file exists that is
            not ours or was generated with other settings, or as `AudioGenerator.generate`.
    """
    if count < 1:
        raise UserError(f"count {count}", "must be at least 1", "give 1 or more")
    generator.check(config)
    with folder_lock(out):
        sidecar.create_folder(Path(out))  # with the reason, where there is none
        with Monitor("generating", count, report, quiet) as monitor:
            writer, shared = JobWriter(COMMAND, generator, Path(out), files, monitor), _settings(generator, config)
            jobs = []
            for number, seed in enumerate(clip_seeds(config.seed, count)):
                path, own = writer.out / f"{number:04d}.{files.format}", shared | {"clip_seed": seed}
                jobs.append(Job(path, own, writer.find(path, own)))
            writer.run(jobs, partial(_generate, writer, config))
        return monitor.outcome


def _settings(generator: AudioGenerator, config: GenerationConfig) -> dict:
    """Sidecar entries of what decides how the clips sound, besides their seeds."""
    return {"model_hash": generator.model_hash, **generator.settings(config)}


def _generate(
    writer: JobWriter, config: GenerationConfig, batch: Sequence[Job], advance: Callable[[Progress], None]
) -> None:
    """Generate a batch and write its missing clips."""
    generator, started = writer.pipeline, time.perf_counter()
    peak_level = config.peak_level if config.continue_from is None else None
    with Spool() as spool:
        for chunk in generator.chunks(config, [job.settings["clip_seed"] for job in batch], advance):
            spool.add(chunk)
        speed = len(batch) * spool.samples / generator.sample_rate / (time.perf_counter() - started)
        for number, job in enumerate(batch):
            if not job.missing:
                continue
            if not spool.finite[number]:
                guided = job.settings["guidance_scale"] != 1 or config.guides()
                fix = LOWER_GUIDANCE if guided else "use --precision float32"
                writer.fail(UserError(job.path, "has samples that are not finite", fix))
                continue
            write = partial(write_chunks, pieces=spool.clip(number, peak_level), sample_rate=generator.sample_rate)
            writer.write(job, write, spool.samples, speed, channels=spool.channels)
