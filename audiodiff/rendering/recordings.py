"""Recordings in, audio files out, one by one: the jobs of a folder, and one line for each that fails."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.errors import UserError, first_line
from audiodiff.files import folder_lock
from audiodiff.options import options_of
from audiodiff.pipelines.memory import DoesNotFit
from audiodiff.pipelines.options import SamplingOptions
from audiodiff.pipelines.pipeline import Pipeline, Progress
from audiodiff.rendering import sidecar
from audiodiff.rendering.inputs import RenderInput
from audiodiff.rendering.jobs import Job, JobWriter
from audiodiff.rendering.monitor import Monitor, Outcome
from audiodiff.rendering.options import FileOptions, WriteOptions

OptionsT = TypeVar("OptionsT", bound=SamplingOptions)


@dataclass(frozen=True)
class RecordingJob(Job):
    """A recording to work on."""

    source: RenderInput


class RecordingWorker(ABC, Generic[OptionsT]):
    """Works on recordings one by one.

    Args:
        writer: of the files.
        options: complete ones.

    Attributes:
        command: that sidecars name.
        verb: of errors and of the progress bar: "upsampl" of "cannot be upsampled" and "upsampling".
    """

    command: str
    verb: str

    def __init__(self, writer: JobWriter, options: OptionsT):
        self.writer, self.options = writer, options

    def __call__(self, jobs: Sequence[RecordingJob], advance: Callable[[Progress], None]) -> None:
        """Work on each; those that fail are reported."""
        for job in jobs:
            path = job.source.path
            try:
                self.write(job, advance)
            except (DoesNotFit, NotFinite) as error:
                self.writer.fail(UserError(path, error.problem, error.fix))
            except UserError as error:
                self.writer.fail(error)
            except (ValueError, MemoryError, RuntimeError) as error:  # torch's lack of memory is a RuntimeError
                self.writer.fail(UserError(path, f"cannot be {self.verb}ed ({first_line(error)})"))

    @abstractmethod
    def write(self, job: RecordingJob, advance: Callable[[Progress], None]) -> None:
        """Work on one and write its file; the progress is in steps of the options."""

    def share_of_steps(self, advance: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """Report the progress of all chunks of a recording as that of its steps."""
        steps = self.options.steps
        assert steps is not None  # they are complete
        return lambda progress: advance(Progress(steps * progress.done // progress.total, steps))


def work_through(
    pipeline: Pipeline,
    worker: type[RecordingWorker[OptionsT]],
    inputs: Sequence[RenderInput],
    out: str | Path,
    options: OptionsT,
    report: Callable[[UserError], None],
    files: WriteOptions,
    quiet: bool,
) -> Outcome:
    """Work on recordings, to files below a folder.

    Args:
        pipeline: that does it.
        worker: how.
        inputs: as `audiodiff.rendering.inputs.find_inputs` finds them.
        out: output folder.
        options: complete ones.
        report: called with the error of each recording that fails; the others are worked on.
        files: how files are written.
        quiet: no progress bar.

    Raises:
        UserError: the folder or a file in it cannot be written, another process writes to it, or a file exists that
            was written with other settings.
    """
    with folder_lock(out):
        sidecar.create_folder(Path(out))
        single = FileOptions(batch_size=1, **{name: getattr(files, name) for name in options_of(WriteOptions)})
        with Monitor(f"{worker.verb}ing", len(inputs), report, quiet) as monitor:
            writer = JobWriter(worker.command, pipeline, Path(out), single, monitor)
            jobs = [job for source in inputs if (job := _plan(pipeline, writer, source, options))]
            writer.run(jobs, worker(writer, options))
        return monitor.outcome


def _plan(pipeline: Pipeline, writer: JobWriter, source: RenderInput, options: SamplingOptions) -> RecordingJob | None:
    """The job of a recording; None where it cannot be read, which is reported."""
    path = writer.out / f"{source.name}.{writer.files.format}"
    try:
        if source.is_mel:
            raise UserError(source.path, "is a mel, not a recording", "give audio files")
        if path.resolve() == source.path.resolve():
            raise UserError(source.path, "would be overwritten by its own output", "choose another --out")
        sidecar.check_name(path)
        settings = {
            "input_hash": source.digest(),
            "model_hash": pipeline.model_hash,
            **options.record(),
            **writer.files.record(),
            "clip_seed": clip_seed(options.seed, source.id),
        }
        found = writer.find(path, settings, renewed=["input_hash"])
        return RecordingJob(path, settings, found, source)
    except sidecar.SettingsMismatch:
        raise
    except UserError as error:
        writer.fail(error)
    except Exception as error:  # readers may raise anything at a damaged or malicious file
        writer.fail(UserError(source.path, f"cannot be read ({first_line(error)})"))
    return None


def blocks_of(file: AudioFile) -> Iterator[Tensor]:
    """The samples (C, T_i) of a file, in order."""
    for block in file.blocks():
        if not np.isfinite(block).all():
            raise UserError(file.path, "holds NaN or infinite samples", "repair the recording")
        yield torch.from_numpy(np.ascontiguousarray(block.T))
