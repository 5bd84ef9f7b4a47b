"""Batch rendering: many recordings and mels to audio files, in batches of similar length (`rendering.jobs`).

A file is rendered when it is missing, or when its input has changed since. One that was rendered with other settings is
an error. A batch that does not fit into memory is rendered clip by clip, with a warning that says how many would.
"""

import errno
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from torch import Tensor

from audiodiff.audio import io
from audiodiff.audio.mel import MelSpec
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError, first_line
from audiodiff.pipelines import memory
from audiodiff.pipelines.memory import DoesNotFit
from audiodiff.pipelines.options import SynthesisOptions
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.remote import location
from audiodiff.rendering import sidecar
from audiodiff.rendering.batch_place import BatchPlace
from audiodiff.rendering.inputs import RenderInput
from audiodiff.rendering.jobs import Job, JobWriter
from audiodiff.rendering.monitor import Outcome
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.renderer import Renderer, render_all

# Errors of a file system that refuses one name and accepts others.
_NAME_ERRORS = {
    *(errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
}


@dataclass(frozen=True)
class RenderJob(Job):
    """A clip to render, with its input and about how many frames it has."""

    source: RenderInput
    frames: int
    options: SynthesisOptions


def render(
    vocoder: Vocoder,
    inputs: Sequence[RenderInput],
    out: str | Path,
    options: SynthesisOptions,
    report: Callable[[UserError], None],
    files: FileOptions = FileOptions(),  # noqa: B008, frozen
    mel_spec: MelSpec | None = None,
    convert_mel: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Render clips below a folder.

    Args:
        vocoder: the model.
        inputs: as `audiodiff.rendering.inputs.find_inputs` finds them.
        out: output folder.
        options: how to synthesize.
        report: called with the error of each clip that cannot be rendered; the others are.
        files: how files are written.
        mel_spec: of saved mels whose files carry none.
        convert_mel: also convert saved mels of other filters or another transform, approximately.
        quiet: no progress bar.

    Raises:
        UserError: the folder or a file in it cannot be written, another process writes to it, a file exists that was
            rendered with other settings, or the sampler is unknown or needs more steps.
    """
    renderer = MelRenderer(vocoder, location(out), options, files, mel_spec, convert_mel)
    return render_all(renderer, inputs, report, quiet=quiet)


class MelRenderer(Renderer[RenderInput]):
    """Renders recordings and mels with a vocoder; arguments as of `render`."""

    def __init__(
        self,
        vocoder: Vocoder,
        out: Path,
        options: SynthesisOptions,
        files: FileOptions = FileOptions(),  # noqa: B008, frozen
        mel_spec: MelSpec | None = None,
        convert_mel: bool = False,
    ):
        super().__init__(vocoder, out, files)
        self.vocoder, self.options = vocoder, options
        self.mel_spec, self.convert_mel = mel_spec, convert_mel

    def check(self, rows: Sequence[RenderInput]) -> None:
        """Check the samplers and adapters."""
        kinds = {tuple(row.options.items()): row for row in [*rows, RenderInput(Path(), "", PurePosixPath("_"))]}
        for row in kinds.values():
            options = self.options_of(row)
            presets.build(options.sampler, options.steps)  # raises for an unknown sampler
            self.vocoder.with_adapters(options.adapters)  # raises for those of another model

    def options_of(self, row: RenderInput) -> SynthesisOptions:
        """The options of a clip, with the model's own in place of None."""
        try:
            return self.vocoder.complete(replace(self.options, **row.options))
        except UserError as error:
            if not row.options:
                raise
            raise UserError(f"{row.path}, {error.subject}", error.problem, error.fix) from error

    def render(self, rows: Sequence[RenderInput], writer: JobWriter) -> None:
        """Render a shard, in batches of similar length."""
        with tempfile.TemporaryDirectory() as scratch:
            _Shard(self, writer, Path(scratch))(rows)


class _Shard:
    """A shard at work, with a folder for copies of remote inputs."""

    def __init__(self, renderer: MelRenderer, writer: JobWriter, scratch: Path):
        self.scratch = scratch
        self.writer, self.vocoder, self.options_of = writer, renderer.vocoder, renderer.options_of
        self.mel_spec, self.convert_mel = renderer.mel_spec, renderer.convert_mel

    def __call__(self, inputs: Sequence[RenderInput]) -> None:
        jobs = [job for source in inputs if (job := self._attempt(self._plan, source))]
        jobs.sort(key=lambda job: (str(job.options.record()), -job.frames, job.source.name))
        self.writer.run(jobs, self._batch, lambda job: (job.options, job.source.batch and job.source), self._memory)

    def _memory(self, job: RenderJob) -> int:
        """Bytes that a clip takes in a batch."""
        network, spec = self.vocoder.model.network, self.vocoder.spec
        return memory.needed(network, job.frames * spec.hop_length)

    def _attempt(self, work: Callable, source: RenderInput) -> object | None:
        """The result of `work` on an input; None where it cannot be read, which is reported."""
        try:
            return work(source)
        except sidecar.SettingsMismatch:
            raise
        except UserError as error:
            copied = error.subject.startswith(str(self.scratch))
            self.writer.fail(UserError(source.path, error.problem, error.fix) if copied else error)
        except Exception as error:  # readers may raise anything at a damaged or malicious file
            self.writer.fail(UserError(source.path, f"cannot be read ({first_line(error)})"))
        return None

    def _plan(self, source: RenderInput) -> RenderJob:
        path = self.writer.out / f"{source.name}.{self.writer.files.format}"
        if path.resolve() == source.path.resolve():
            raise UserError(source.path, "would be overwritten by its own rendering", "choose another --out")
        sidecar.check_name(path)
        source = source.fetched(self.scratch)
        options = self.options_of(source)
        values = options.record()
        del values["setting"]  # other names of the same values make the same file
        settings = {
            "input_hash": source.digest(self.mel_spec),
            "model_hash": self.vocoder.model_hash,
            **values,
            **self.writer.files.record(),
            "clip_seed": source.seed_of_noise(options.seed),
        }
        found = self.writer.find(path, settings, renewed=["input_hash"])
        frames = found.get("frames")
        if not isinstance(frames, int):
            frames = source.frames(self.vocoder)  # may have to decode the whole file
        return RenderJob(path, settings, found, source, frames, options)

    def _batch(self, jobs: Sequence[RenderJob], advance: Callable[[Progress], None]) -> None:
        clips = []
        for job in jobs:
            loaded = self._attempt(self._load, job.source)
            if loaded:
                clips.append((job, *loaded))
        if any(job.missing for job, *_ in clips):
            self._synthesize(clips, advance)

    def _load(self, source: RenderInput) -> tuple[Tensor, int]:
        return source.load(self.vocoder, self.mel_spec, self.convert_mel)

    def _synthesize(
        self, clips: list[tuple[RenderJob, Tensor, int]], advance: Callable[[Progress], None] | None
    ) -> None:
        """Synthesize and write; where a batch fails its clips are tried one by one, so that one does not cost all."""
        jobs, mels, lengths = zip(*clips, strict=True)
        options, started = jobs[0].options, time.perf_counter()
        seeds, longest = [job.settings["clip_seed"] for job in jobs], max(mel.shape[-1] for mel in mels)
        places = [BatchPlace(number, len(jobs), longest) for number in range(len(jobs))]
        if (place := jobs[0].source.batch) is not None:
            places, mels, seeds = [place], place.mels(mels[0]), seeds * place.size
        try:
            rendered = self.vocoder.generate(
                mels,
                options.steps,
                clip_seeds=seeds,
                sampler=options.sampler,
                consistency=options.consistency,
                adapters=options.adapters,
                callback=advance,
            )
        except (ValueError, MemoryError, RuntimeError) as error:  # torch's lack of memory is a RuntimeError
            self._one_by_one(clips, error)
            return
        speed = sum(audio.seconds for audio in rendered) / (time.perf_counter() - started)
        for job, place, length in zip(jobs, places, lengths, strict=True):
            if job.missing:
                audio = rendered[place.index]
                self._write(job, io.Audio(audio.samples[:length], audio.sample_rate), speed, place)

    def _one_by_one(self, clips: list[tuple[RenderJob, Tensor, int]], error: Exception) -> None:
        """After an error of a batch; that of a single clip is its own."""
        if len(clips) > 1:
            if isinstance(error, DoesNotFit):
                warnings.warn(f"{error}; rendering it clip by clip", stacklevel=2)
            for clip in clips:
                if clip[0].missing:
                    self._synthesize([clip], None)
        elif isinstance(error, DoesNotFit):
            self.writer.fail(UserError(clips[0][0].source.path, error.problem, error.fix))
        else:
            self.writer.fail(UserError(clips[0][0].source.path, f"cannot be rendered ({first_line(error)})"))

    def _write(self, job: RenderJob, audio: io.Audio, speed: float, place: BatchPlace) -> None:
        entries = {
            "id": job.source.id,
            "input": str(job.source.path),
            "setting": job.options.setting,
            "mel_spec": self.vocoder.spec.to_dict(),
            "frames": job.frames,
            "seconds": audio.seconds,
            **sidecar.folders_of(self.vocoder, job.options),
        }
        details = place.record() | ({"convert_mel": self.convert_mel} if job.source.is_mel else {})
        try:
            self.writer.write_pieces(job, [audio.samples[None]], entries, speed, details)
        except UserError as error:
            if getattr(error.__cause__, "errno", None) not in _NAME_ERRORS:
                raise  # of the disk, which takes no other clip either
            self.writer.fail(error)
