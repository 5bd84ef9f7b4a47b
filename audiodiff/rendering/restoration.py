"""Restoration of files: recordings to restored audio files at their own sample rate, one by one.

A file keeps the encoding of its input, so samples that do not change are copied as they are encoded
(`audio.rewriting`); for their sake there is neither another bit depth nor a loudness to choose. Where restored peaks
exceed what integers hold, the whole file is attenuated, which is said and recorded in its sidecar.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.audio.rewriting import Encoding, Replacement, changes, encoding_for, rewrite, watermarked
from audiodiff.errors import UserError
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.pipelines.restorer import Restorer
from audiodiff.remote import location
from audiodiff.rendering import sidecar
from audiodiff.rendering.file_recording import FileRecording
from audiodiff.rendering.inputs import RenderInput
from audiodiff.rendering.jobs import JobWriter
from audiodiff.rendering.monitor import Outcome
from audiodiff.rendering.options import WriteOptions
from audiodiff.rendering.recordings import RecordingJob, RecordingRenderer
from audiodiff.rendering.renderer import render_all


def restore(
    restorer: Restorer,
    inputs: Sequence[RenderInput],
    out: str | Path,
    options: RestorationOptions,
    report: Callable[[UserError], None],
    files: WriteOptions = WriteOptions(),  # noqa: B008, frozen
    quiet: bool = False,
) -> Outcome:
    """Restore recordings to files below a folder.

    Args:
        restorer: the model.
        inputs: as `audiodiff.rendering.inputs.find_inputs` finds them.
        out: output folder.
        options: what to restore.
        report: called with the error of each recording that cannot be restored; the others are.
        files: how files are written.
        quiet: no progress bar.

    Raises:
        UserError: the folder or a file in it cannot be written, another process writes to it, a file exists that was
            restored with other settings, or the sampler is unknown or needs more steps.
    """
    renderer = RestorationRenderer(restorer, location(out), options, files)
    return render_all(renderer, inputs, report, title="restoring", quiet=quiet)


class RestorationRenderer(RecordingRenderer[RestorationOptions]):
    """Restores recordings; arguments as of `restore`."""

    COMMAND, VERB = "audiodiff restore", "restor"
    pipeline: Restorer

    def complete(self, options: RestorationOptions) -> RestorationOptions:
        """Options with the model's own in place of None."""
        return self.pipeline.with_defaults(options)

    def write(self, job: RecordingJob, writer: JobWriter, advance: Callable[[Progress], None]) -> None:
        """Restore one, and copy what does not change."""
        restorer, started, path = self.pipeline, time.perf_counter(), job.source.path
        with AudioFile(job.source.file) as file:
            encoding, recording = encoding_for(file, job.path), FileRecording(file)
            audio = Audio(recording.read(0, recording.samples), file.sample_rate)
            seed = job.settings["clip_seed"]
            restored = restorer.restore_recording(audio, job.options, seed, advance, name=str(path)).samples
            parts, gain = replacements(audio.samples, restored, encoding, str(path))
            if writer.files.watermark:
                parts = watermarked(parts, file.sample_rate)
            writer.write(
                job,
                partial(rewrite, file, replacements=parts, encoding=encoding),
                file.samples,
                audio.samples.shape[-1] / audio.sample_rate / (time.perf_counter() - started),
                id=job.source.id,
                input=str(path),
                sample_rate=file.sample_rate,
                gain=gain,
                **sidecar.folders_of(restorer, job.options),
            )


def replacements(before: Tensor, after: Tensor, encoding: Encoding, name: str) -> tuple[list[Replacement], float]:
    """What a file is rewritten with: its samples that are restored, or all of them where these exceed full scale.

    Args:
        before: the recording (C, T).
        after: as it is restored.
        encoding: of the file that is written.
        name: that the warning calls the recording.

    Returns:
        The replacements, and the gain of the file, at most 1.

    Warns:
        UserWarning: the file is attenuated.
    """
    gain = _gain_within(encoding.bounds, after)
    if gain == 1:
        return changes(before, after), gain
    text = f"{name}: restored peaks exceed full scale, the output is {-20 * math.log10(gain):.1f} dB softer"
    warnings.warn(text, stacklevel=2)
    return [Replacement(0, before.shape[-1], after * gain)], gain


def _gain_within(bounds: tuple[float, float], signal: Tensor) -> float:
    """The gain, at most 1, that brings a signal within bounds."""
    excess = [float(peak) / bound for bound, peak in zip(bounds, signal.aminmax(), strict=True)]  # 0 of infinite bounds
    return 1 / max(1.0, *excess)
