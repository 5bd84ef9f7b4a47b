"""Batch generation: many clips to files `NNNN.wav`, in batches (`rendering.jobs`).

Clip i of a seed does not depend on how many clips there are, so that a larger count adds files to a folder.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from audiodiff.errors import UserError
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.clip_sampler import LOWER_GUIDANCE
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.pipelines.pipeline import Progress
from audiodiff.remote import location
from audiodiff.rendering import renderer, sidecar
from audiodiff.rendering.batch_place import BatchPlace
from audiodiff.rendering.jobs import Job, JobWriter
from audiodiff.rendering.monitor import Outcome
from audiodiff.rendering.names import name_rows
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.prompts import PromptRow, check_count, read_prompts
from audiodiff.rendering.renderer import Renderer, render_all
from audiodiff.rendering.sidecar import folders_of
from audiodiff.rendering.spool import Spool

COMMAND = "audiodiff generate"
# Options whose values any model takes that has them: what is checked for one row is checked for all.
_OWN = ("prompt", "negative", "seed", "seconds", "tempo", "first_beat")


@dataclass(frozen=True)
class ClipJob(Job):
    """A clip to generate of a row, and its place in a batch that it is to be sampled in again."""

    config: GenerationConfig
    place: BatchPlace | None


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
    rows = name_prompts(read_prompts([], check_count(count)), files.name)
    clips = ClipRenderer(generator, location(out), config, files, COMMAND)
    return render_all(clips, rows, report, title="generating", quiet=quiet)


def name_prompts(rows: Sequence[PromptRow], template: str) -> list[PromptRow]:
    """Rows with the names of their files; raises as `name_rows`."""
    return name_rows(
        rows,
        template,
        lambda row: {"name": row.file, "clip": row.clip, **row.options},
        lambda row, name: replace(row, file=name),
        lambda row: f"{row.place} (clip {row.clip})" if row.name and row.clip else row.place,
    )


class ClipRenderer(Renderer[PromptRow]):
    """Generates rows of a table, in batches of clips that are sampled alike.

    Args:
        generator: the model.
        out: output folder.
        config: of the rows that state nothing else.
        files: how files are written.
        command: that sidecars name.
    """

    def __init__(
        self,
        generator: AudioGenerator,
        out: Path,
        config: GenerationConfig,
        files: FileOptions,
        command: str = renderer.COMMAND,
    ):
        super().__init__(generator, out, files, command)
        self.generator, self.config = generator, config

    def check(self, rows: Sequence[PromptRow]) -> None:
        """Check the options of all rows by themselves, and one of each kind of row against the model."""
        kinds = set()
        for row in rows:
            config, _ = row.merge(self.config)
            kind = tuple((name, str(value)) for name, value in row.options.items() if name not in _OWN)
            if (kind, len(row.options)) not in kinds:
                kinds.add((kind, len(row.options)))
                try:
                    self.generator.check(config)
                except UserError as error:
                    if not row.options:
                        raise
                    raise UserError(f"{row.place}, {error.subject}", error.problem, error.fix) from error

    def render(self, rows: Sequence[PromptRow], writer: JobWriter) -> None:
        """Generate a shard."""
        jobs = []
        for row in rows:
            config, seed = row.merge(self.config)
            path = writer.out / f"{row.file}.{self.files.format}"
            sidecar.check_name(path)
            settings = {**_settings(self.generator, config), **self.files.record(), "clip_seed": seed}
            jobs.append(ClipJob(path, settings, writer.find(path, settings), config, row.batch))
        alike = {
            id(job): json.dumps({**job.settings, "clip_seed": job.place and id(job), "seed": None}) for job in jobs
        }
        jobs.sort(key=lambda job: alike[id(job)])
        writer.run(jobs, partial(self._generate, writer), together=lambda job: alike[id(job)], memory=self._memory)

    def _generate(self, writer: JobWriter, batch: Sequence[ClipJob], advance: Callable[[Progress], None]) -> None:
        """Generate a batch; of the rows of a table one that fails is reported, and the others go on."""
        _generate(writer, batch, advance, report=self.command == renderer.COMMAND)

    def _memory(self, job: ClipJob) -> int:
        """Bytes that a clip takes in a batch."""
        return self.generator.memory(job.config)


def _settings(generator: AudioGenerator, config: GenerationConfig) -> dict:
    """Sidecar entries of what decides how the clips sound, besides their seeds."""
    return {"model_hash": generator.model_hash, **generator.settings(config)}


def _generate(
    writer: JobWriter, batch: Sequence[ClipJob], advance: Callable[[Progress], None], report: bool = False
) -> None:
    """Generate a batch and write its missing clips.

    Args:
        writer: of the files.
        batch: of clips of one configuration.
        advance: called with the progress.
        report: report an error of sampling for each clip, rather than raise it.
    """
    generator, config, started = writer.pipeline, batch[0].config, time.perf_counter()
    peak_level = config.peak_level if config.continue_from is None else None
    seeds = [job.settings["clip_seed"] for job in batch]
    places = [BatchPlace(number, len(seeds)) for number in range(len(seeds))]
    if (place := batch[0].place) is not None:
        seeds, places = seeds * place.size, [place]
    with Spool() as spool:
        try:
            for chunk in generator.chunks(config, seeds, advance):
                spool.add(chunk)
        except UserError as error:
            if not report:
                raise
            for job in batch:
                if job.missing:
                    writer.fail(UserError(job.path, f"{error.subject} {error.problem}", error.fix))
            return
        speed = len(batch) * spool.samples / generator.sample_rate / (time.perf_counter() - started)
        for job, place in zip(batch, places, strict=True):
            if not job.missing:
                continue
            if not spool.finite[place.index]:
                guided = job.settings["guidance_scale"] != 1 or config.guides()
                fix = LOWER_GUIDANCE if guided else "use --precision float32"
                writer.fail(UserError(job.path, "has samples that are not finite", fix))
                continue
            entries = {"channels": spool.channels, **folders_of(generator, config)}
            writer.write_pieces(job, spool.clip(place.index, peak_level), entries, speed, place.record())
