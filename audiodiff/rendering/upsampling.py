"""Upsampling of files: recordings of a low sample rate to audio files at the model's rate, one by one.

A file is written while it is read, so memory does not grow with its length. The band that a recording has stays as it
is, up to what is requested of its file: another sample rate, a loudness, fewer bits.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.errors import UserError
from audiodiff.pipelines.options import UpsamplingOptions
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.upsampler import Upsampler
from audiodiff.remote import location
from audiodiff.rendering import sidecar
from audiodiff.rendering.inputs import RenderInput
from audiodiff.rendering.jobs import JobWriter
from audiodiff.rendering.monitor import Outcome
from audiodiff.rendering.options import WriteOptions
from audiodiff.rendering.recordings import RecordingJob, RecordingRenderer, blocks_of
from audiodiff.rendering.renderer import render_all


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
    renderer = UpsamplingRenderer(upsampler, location(out), options, files)
    return render_all(renderer, inputs, report, title="upsampling", quiet=quiet)


class UpsamplingRenderer(RecordingRenderer[UpsamplingOptions]):
    """Upsamples recordings; arguments as of `upsample`."""

    COMMAND, VERB = "audiodiff upsample", "upsampl"
    pipeline: Upsampler

    def complete(self, options: UpsamplingOptions) -> UpsamplingOptions:
        """Options with the model's own in place of None."""
        return self.pipeline.with_defaults(options)

    def write(self, job: RecordingJob, writer: JobWriter, advance: Callable[[Progress], None]) -> None:
        """Upsample one, piece by piece."""
        with AudioFile(job.source.file) as file:
            pieces = self.pipeline.stream(
                blocks_of(file),
                file.samples,
                file.sample_rate,
                job.options,
                job.settings["clip_seed"],
                advance,
                name=str(job.source.path),
            )
            entries = {"id": job.source.id, "input": str(job.source.path), "input_rate": file.sample_rate}
            writer.write_pieces(job, pieces, entries | sidecar.folders_of(self.pipeline, job.options))
