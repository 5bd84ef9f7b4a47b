"""Jobs: audio files to write in batches, which may be interrupted and resumed.

Each file has a sidecar (`rendering.sidecar`) that records how it was made. Files that exist with the requested settings
are skipped, so rerunning a command resumes it.

In floating point a clip depends on the shape of its batch: the last bit of one 16-bit sample in some thousand does. So
the list of jobs is cut into batches as a whole, finished ones included, and a batch with a missing file is sampled
whole, though only missing files are written. A resumed run thus writes the bytes of an uninterrupted one over the same
inputs, with the same batch size, device and number of threads. A job that fails in every run costs its batch in every
run.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from torch import Tensor

from audiodiff.audio.io import write_chunks
from audiodiff.errors import UserError
from audiodiff.pipelines.pipeline import Pipeline, Progress
from audiodiff.rendering import sidecar
from audiodiff.rendering.finishing import finish
from audiodiff.rendering.monitor import ClipResult, Observer
from audiodiff.rendering.options import FileOptions

JobT = TypeVar("JobT", bound="Job")


@dataclass(frozen=True)
class Job:
    """One audio file to write.

    Attributes:
        path: of the audio file.
        settings: sidecar entries that decide what the file holds.
        found: its sidecar, if the file exists with these settings; else empty.
    """

    path: Path
    settings: dict
    found: dict

    @property
    def missing(self) -> bool:
        """Whether the file is to be written."""
        return not self.found


class JobWriter:
    """Writes the files of jobs, batch by batch.

    Args:
        command: recorded in sidecars, such as "audiodiff render".
        pipeline: that synthesizes the clips.
        out: output folder.
        files: how files are written.
        observer: receives what becomes of each job.
    """

    def __init__(self, command: str, pipeline: Pipeline, out: Path, files: FileOptions, observer: Observer):
        self.command, self.pipeline, self.out, self.files, self.observer = command, pipeline, out, files, observer

    def find(self, path: Path, settings: dict, renewed: Collection[str] = ()) -> dict:
        """The sidecar of a file that is finished; arguments and errors of `sidecar.read_matching`."""
        return {} if self.files.overwrite else sidecar.read_matching(path, self.command, settings, renewed)

    def fail(self, error: UserError) -> None:
        """Report a job that fails."""
        self.observer.add(ClipResult(error.subject, "failed", error=error))

    def run(
        self,
        jobs: Sequence[JobT],
        synthesize: Callable[[Sequence[JobT], Callable[[Progress], None]], None],
        together: Callable[[JobT], object] = lambda job: None,
        memory: Callable[[JobT], int] = lambda job: 0,
    ) -> None:
        """Synthesize all batches with a missing file.

        Args:
            jobs: all jobs, in the order of their batches.
            synthesize: takes a batch and a progress callback, and writes its missing files by `write`.
            together: what clips of one batch have in common.
            memory: bytes that a job takes in a batch, where that is known.
        """
        for job in jobs:
            if not job.missing:
                self.observer.add(ClipResult(self._name(job), "skipped"))
        batches = unfinished_batches(
            jobs, self.files.batch_size, together, memory, round(self.files.batch_memory * 1e9)
        )
        if batches:
            sidecar.check_writable(self.out)
        for batch in batches:
            clips = sum(job.missing for job in batch)
            synthesize(
                batch, lambda progress, clips=clips: self.observer.advance(clips * progress.done / progress.total)
            )

    def write_pieces(
        self,
        job: Job,
        pieces: Iterable[Tensor],
        entries: Mapping[str, object],
        speed: float | None = None,
        details: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Write the audio file of a job, finished as requested (`rendering.finishing`), and its sidecar.

        Args:
            job: that is being worked on.
            pieces: (C, T') of the audio, in order; may be synthesized on the way.
            entries: of the sidecar, besides the job's settings; read after the last piece.
            speed: seconds of audio per second of work; None: of this call.
            details: entries that the file's own metadata state, too.

        Raises:
            UserError: as `audio.io.write_chunks`, and what `pieces` raises.
        """
        started, record = time.perf_counter(), dict(job.settings)
        finished, rate = finish(pieces, self.pipeline.sample_rate, self.files)
        samples = 0

        def counted() -> Iterator[Tensor]:
            nonlocal samples
            for piece in finished:
                samples += piece.shape[-1]
                yield piece

        def write(path: Path) -> None:
            write_chunks(path, counted(), rate, self.files.encoding, self._metadata(job, details))
            own = samples / rate / (time.perf_counter() - started) if speed is None else speed
            record.update(self._execution(samples, own) | {"sample_rate": rate} | dict(entries) | dict(details))

        sidecar.write_with_sidecar(job.path, write, self.command, record)
        self._count(job, samples / rate)

    def write(self, job: Job, write: Callable[..., None], samples: int, speed: float, **entries: object) -> None:
        """Write the audio file of a job by `write`, and its sidecar.

        Args:
            job: that is finished.
            write: writes the audio to a path; called with the path and a keyword `metadata`.
            samples: of the audio.
            speed: seconds of audio per second of work, over the batch.
            entries: of the sidecar, besides the job's settings.

        Raises:
            UserError: as `write`.
        """
        record = job.settings | self._execution(samples, speed) | entries
        write = partial(write, metadata=self._metadata(job, {}))
        sidecar.write_with_sidecar(job.path, write, self.command, record)
        self._count(job, samples / self.pipeline.sample_rate)

    def _metadata(self, job: Job, details: Mapping[str, object]) -> dict:
        return sidecar.describe(self.command, {**job.settings, **sidecar.precision_of(self.pipeline), **details})

    def _execution(self, samples: int, speed: float) -> dict:
        """Sidecar entries of how a file was synthesized, which do not decide what it holds."""
        return {
            "precision": self.pipeline.precision,
            "device": str(self.pipeline.device),
            "batch_size": self.files.batch_size,
            "sample_rate": self.pipeline.sample_rate,
            "samples": samples,
            "real_time_factor": speed,
        }

    def _count(self, job: Job, seconds: float) -> None:
        self.observer.add(ClipResult(self._name(job), "written", seconds))

    def _name(self, job: Job) -> str:
        return job.path.relative_to(self.out).as_posix()


def unfinished_batches(
    jobs: Sequence[JobT],
    size: int,
    together: Callable[[JobT], object] = lambda job: None,
    memory: Callable[[JobT], int] = lambda job: 0,
    most: int = 0,
) -> list[Sequence[JobT]]:
    """The batches of the whole list that have a missing file, in order.

    Args:
        jobs: the longest of each batch first.
        size: jobs of a batch, at most.
        together: equal for all jobs of a batch.
        memory: bytes that a job takes; each of a batch takes as much as the first.
        most: bytes of a batch, unless a single job takes more.
    """
    batches: list[list[JobT]] = []
    for job in jobs:
        batch = batches[-1] if batches else []
        full = not batch or len(batch) == size or (len(batch) + 1) * memory(batch[0]) > most
        if full or together(batch[0]) != together(job):
            batches.append([job])
        else:
            batch.append(job)
    return [batch for batch in batches if any(job.missing for job in batch)]
