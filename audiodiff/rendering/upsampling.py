"""Upsampling of files: recordings of a low sample rate to audio files at the model's rate, one by one.

A file is written while it is read, so memory does not grow with its length. It is upsampled when it is missing, or when
its input has changed since; one that was upsampled with other settings is an error (`rendering.jobs`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.errors import UserError
from audiodiff.pipelines.options import UpsamplingOptions
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.upsampler import Upsampler
from audiodiff.rendering.inputs import RenderInput
from audiodiff.rendering.monitor import Outcome
from audiodiff.rendering.options import WriteOptions
from audiodiff.rendering.recordings import RecordingJob, RecordingWorker, blocks_of, work_through


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
    return work_through(upsampler, _Worker, inputs, out, options, report, files, quiet)


class _Worker(RecordingWorker[UpsamplingOptions]):
    command, verb = "audiodiff upsample", "upsampl"

    def write(self, job: RecordingJob, advance: Callable[[Progress], None]) -> None:
        upsampler: Upsampler = self.writer.pipeline  # type: ignore[assignment]
        with AudioFile(job.source.path) as file:
            pieces = upsampler.stream(
                blocks_of(file),
                file.samples,
                file.sample_rate,
                self.options,
                job.settings["clip_seed"],
                self.share_of_steps(advance),
                name=str(job.source.path),
            )
            entries = {"id": job.source.id, "input": str(job.source.path), "input_rate": file.sample_rate}
            self.writer.write_pieces(job, pieces, entries)
