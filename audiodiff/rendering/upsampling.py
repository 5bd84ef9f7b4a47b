"""Upsampling of files: recordings of a low sample rate to audio files at the model's rate, one by one.

A file is written while it is read, so memory does not grow with its length. It is upsampled when it is missing, or when
its input has changed since; one that was upsampled with other settings is an error (`rendering.jobs`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.errors import UserError, first_line
from audiodiff.files import folder_lock
from audiodiff.pipelines.memory import DoesNotFit
from audiodiff.pipelines.options import UpsamplingOptions
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.upsampler import Upsampler
from audiodiff.rendering import sidecar
from audiodiff.rendering.inputs import RenderInput
from audiodiff.rendering.jobs import Job, JobWriter, Outcome
from audiodiff.rendering.options import FileOptions, WriteOptions

COMMAND = "audiodiff upsample"


@dataclass(frozen=True)
class UpsamplingJob(Job):
    """A recording to upsample."""

    source: RenderInput


def upsample(
    upsampler: Upsampler,
    inputs: Sequence[RenderInput],
    out: str | Path,
    options: UpsamplingOptions,
    report: Callable[[UserError], None],
    files: WriteOptions = WriteOptions(),  # noqa: B008, frozen
    quiet: bool = False,
) -> Outcome:
    """Upsample recordings to files below a folder.

    Args:
        upsampler: the model.
        inputs: as `audiodiff.rendering.inputs.find_inputs` finds them.
        out: output folder.
        options: how to upsample.
        report: called with the error of each recording that cannot be upsampled; the others are.
        files: how files are written.
        quiet: no progress bar.

    Raises:
        UserError: the folder or a file in it cannot be written, another process writes to it, a file exists that was
            upsampled with other settings, or the sampler is unknown or needs more steps.
    """
    options = upsampler.with_defaults(options)
    with folder_lock(out):
        sidecar.create_folder(Path(out))
        single = FileOptions(batch_size=1, format=files.format, overwrite=files.overwrite)
        writer = JobWriter(COMMAND, upsampler, Path(out), single, report)
        jobs = [job for source in inputs if (job := _plan(upsampler, writer, source, options))]
        work = _Worker(upsampler, writer, options)
        assert options.steps is not None
        return writer.run(jobs, work, options.steps, "upsampling", quiet)


def _plan(
    upsampler: Upsampler, writer: JobWriter, source: RenderInput, options: UpsamplingOptions
) -> UpsamplingJob | None:
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
            "model_hash": upsampler.model_hash,
            **options.record(),
            "clip_seed": clip_seed(options.seed, source.id),
        }
        found = writer.find(path, settings, renewed=["input_hash"])
        return UpsamplingJob(path, settings, found, source)
    except sidecar.SettingsMismatch:
        raise
    except UserError as error:
        writer.fail(error)
    except Exception as error:  # readers may raise anything at a damaged or malicious file
        writer.fail(UserError(source.path, f"cannot be read ({first_line(error)})"))
    return None


class _Worker:
    def __init__(self, upsampler: Upsampler, writer: JobWriter, options: UpsamplingOptions):
        self.upsampler, self.writer, self.options = upsampler, writer, options

    def __call__(self, jobs: Sequence[UpsamplingJob], advance: Callable[[Progress], None]) -> None:
        for job in jobs:
            path = job.source.path
            try:
                self._write(job, advance)
            except (DoesNotFit, NotFinite) as error:
                self.writer.fail(UserError(path, error.problem, error.fix))
            except UserError as error:
                self.writer.fail(error)
            except (ValueError, MemoryError, RuntimeError) as error:  # torch's lack of memory is a RuntimeError
                self.writer.fail(UserError(path, f"cannot be upsampled ({first_line(error)})"))

    def _write(self, job: UpsamplingJob, advance: Callable[[Progress], None]) -> None:
        options = self.options
        assert options.steps is not None
        steps = options.steps

        def report(progress: Progress) -> None:
            advance(Progress(steps * progress.done // progress.total, steps))

        with AudioFile(job.source.path) as file:
            pieces = self.upsampler.stream(
                _blocks(file),
                file.samples,
                file.sample_rate,
                options,
                job.settings["clip_seed"],
                report,
                name=str(job.source.path),
            )
            entries = {"id": job.source.id, "input": str(job.source.path), "input_rate": file.sample_rate}
            self.writer.write_streamed(job, pieces, entries)


def _blocks(file: AudioFile) -> Iterator[Tensor]:
    """The samples (C, T_i) of a file, in order."""
    for block in file.blocks():
        if not np.isfinite(block).all():
            raise UserError(file.path, "holds NaN or infinite samples", "repair the recording")
        yield torch.from_numpy(np.ascontiguousarray(block.T))
