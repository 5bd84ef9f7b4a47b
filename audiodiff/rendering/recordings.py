"""Recordings in, audio files out, one by one: upsampling and restoration of files (`rendering.renderer`).

A recording is worked on when its output is missing, or when the recording has changed since; an output that was made
with other settings is an error (`rendering.jobs`). A recording that fails is one line, and the others go on.
"""

import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.errors import UserError, first_line
from audiodiff.pipelines.memory import DoesNotFit
from audiodiff.pipelines.options import SamplingOptions
from audiodiff.pipelines.pipeline import Pipeline, Progress
from audiodiff.rendering import sidecar
from audiodiff.rendering.inputs import RenderInput
from audiodiff.rendering.jobs import Job, JobWriter
from audiodiff.rendering.options import FileOptions, WriteOptions
from audiodiff.rendering.renderer import Renderer

OptionsT = TypeVar("OptionsT", bound=SamplingOptions)


@dataclass(frozen=True)
class RecordingJob(Job):
    """A recording to work on, and how."""

    source: RenderInput
    options: Any


class RecordingRenderer(Renderer[RenderInput], Generic[OptionsT]):
    """Works on recordings one by one.

    Args:
        pipeline: that does it.
        out: output folder.
        options: of those that state nothing else.
        files: how files are written.

    Attributes:
        COMMAND: that sidecars name.
        VERB: of errors and of the progress bar: "upsampl" of "cannot be upsampled" and "upsampling".
    """

    COMMAND: ClassVar[str]
    VERB: ClassVar[str]

    def __init__(self, pipeline: Pipeline, out: Path, options: OptionsT, files: WriteOptions):
        super().__init__(pipeline, out, FileOptions.one_by_one(files), self.COMMAND)
        self.options = options
        self.complete(options)

    @abstractmethod
    def complete(self, options: OptionsT) -> OptionsT:
        """Options with the model's own in place of None; raises a UserError for those that it does not take."""

    @abstractmethod
    def write(self, job: RecordingJob, writer: JobWriter, advance: Callable[[Progress], None]) -> None:
        """Work on one and write its file; the progress is in steps of the options."""

    def check(self, rows: Sequence[RenderInput]) -> None:
        """Check the options of rows that have some."""
        for row in rows:
            self.options_of(row)

    def options_of(self, row: RenderInput) -> OptionsT:
        """The options of a recording, with the model's own in place of None."""
        if not row.options:
            return self.complete(self.options)
        try:
            return self.complete(replace(self.options, **row.options))
        except UserError as error:
            raise UserError(f"{row.path}, {error.subject}", error.problem, error.fix) from error

    def render(self, rows: Sequence[RenderInput], writer: JobWriter) -> None:
        """Work on a shard."""
        with tempfile.TemporaryDirectory() as scratch:
            jobs = [job for row in rows if (job := self._plan(row, writer, Path(scratch)))]
            writer.run(jobs, lambda batch, advance: self._work(batch, writer, advance))

    def _work(self, jobs: Sequence[RecordingJob], writer: JobWriter, advance: Callable[[Progress], None]) -> None:
        for job in jobs:
            path = job.source.path
            try:
                self.write(job, writer, _share_of_steps(job.options.steps, advance))
            except (DoesNotFit, NotFinite) as error:
                writer.fail(UserError(path, error.problem, error.fix))
            except UserError as error:
                writer.fail(_of_source(error, job.source))
            except (ValueError, MemoryError, RuntimeError) as error:  # torch's lack of memory is a RuntimeError
                writer.fail(UserError(path, f"cannot be {self.VERB}ed ({first_line(error)})"))

    def _plan(self, source: RenderInput, writer: JobWriter, scratch: Path) -> RecordingJob | None:
        """The job of a recording; None where it cannot be read, which is reported."""
        path = writer.out / f"{source.name}.{writer.files.format}"
        try:
            if source.is_mel:
                raise UserError(source.path, "is a mel, not a recording", "give audio files")
            if path.resolve() == source.path.resolve():
                raise UserError(source.path, "would be overwritten by its own output", "choose another --out")
            sidecar.check_name(path)
            source = source.fetched(scratch)
            options = self.options_of(source)
            settings = {
                "input_hash": source.digest(),
                "model_hash": self.pipeline.model_hash,
                **options.record(),
                **writer.files.record(),
                "clip_seed": source.seed_of_noise(options.seed),
            }
            return RecordingJob(path, settings, writer.find(path, settings, ["input_hash"]), source, options)
        except sidecar.SettingsMismatch:
            raise
        except UserError as error:
            writer.fail(_of_source(error, source))
        except Exception as error:  # readers may raise anything at a damaged or malicious file
            writer.fail(UserError(source.path, f"cannot be read ({first_line(error)})"))
        return None


def _of_source(error: UserError, source: RenderInput) -> UserError:
    """An error of the copy of a remote file as one of the file."""
    copied = source.local is not None and error.subject == str(source.local)
    return UserError(source.path, error.problem, error.fix) if copied else error


def _share_of_steps(steps: int, advance: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Report the progress of all chunks of a recording as that of its steps."""
    return lambda progress: advance(Progress(steps * progress.done // progress.total, steps))


def blocks_of(file: AudioFile) -> Iterator[Tensor]:
    """The samples (C, T_i) of a file, in order."""
    for block in file.blocks():
        if not np.isfinite(block).all():
            raise UserError(file.path, "holds NaN or infinite samples", "repair the recording")
        yield torch.from_numpy(np.ascontiguousarray(block.T))
