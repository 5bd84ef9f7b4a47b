"""Restoration of files: recordings to restored audio files at their own sample rate, one by one.

A file is restored when it is missing, or when its input has changed since; one that was restored with other settings is
an error (`rendering.jobs`). Where restored peaks exceed full scale, the whole file is attenuated, which is said and
recorded in its sidecar.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from audiodiff.audio.io import Audio, write
from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.errors import UserError
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.pipelines.restorer import Restorer
from audiodiff.rendering.inputs import RenderInput
from audiodiff.rendering.jobs import Outcome
from audiodiff.rendering.options import WriteOptions
from audiodiff.rendering.recordings import RecordingJob, RecordingWorker, blocks_of, work_through

_FULL_SCALE = 1 - 2.0**-15


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
    options = restorer.with_defaults(options)
    return work_through(restorer, _Worker, inputs, out, options, report, files, quiet)


class _Worker(RecordingWorker[RestorationOptions]):
    command, verb = "audiodiff restore", "restor"

    def write(self, job: RecordingJob, advance: Callable[[Progress], None]) -> None:
        restorer: Restorer = self.writer.pipeline  # type: ignore[assignment]
        started, path = time.perf_counter(), job.source.path
        with AudioFile(path) as file:
            recording = Audio(torch.cat(list(blocks_of(file)), -1), file.sample_rate)
        seed, report = job.settings["clip_seed"], self.share_of_steps(advance)
        samples = restorer.restore_recording(recording, self.options, seed, report, name=str(path)).samples
        gain = min(_FULL_SCALE / max(float(samples.abs().max()), _FULL_SCALE), 1.0)
        if gain < 1:
            peak = -20 * torch.tensor(gain).log10().item()
            warnings.warn(f"{path}: restored peaks exceed full scale, the output is {peak:.1f} dB softer", stacklevel=2)
        restored, length = Audio(samples * gain if gain < 1 else samples, recording.sample_rate), samples.shape[-1]
        seconds = length / recording.sample_rate
        self.writer.write(
            job,
            partial(write, audio=restored),
            length,
            seconds / (time.perf_counter() - started),
            id=job.source.id,
            input=str(path),
            sample_rate=recording.sample_rate,
            gain=gain,
        )
