"""Bulk speech: the lines of texts and tables to files, one clip a line (`rendering.lines`, `rendering.jobs`).

A line is spoken when its file is missing, or when its text or the lexicon has changed since. One that was spoken with
other options is an error. Each clip is synthesized by itself, in pieces that go to the file as they come, so that
neither the other lines nor the length matter to it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from audiodiff.errors import UserError
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.remote import location
from audiodiff.rendering import sidecar
from audiodiff.rendering.jobs import Job, JobWriter
from audiodiff.rendering.lines import TextLine
from audiodiff.rendering.monitor import Outcome
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.renderer import Renderer, render_all


@dataclass(frozen=True)
class SpeechJob(Job):
    """A line to speak."""

    line: TextLine


def render_speech(
    synthesizer: SpeechSynthesizer,
    lines: Sequence[TextLine],
    out: str | Path,
    options: SpeechOptions,
    report: Callable[[UserError], None],
    files: FileOptions = FileOptions(),  # noqa: B008, frozen
    lexicon_hash: str | None = None,
    quiet: bool = False,
) -> Outcome:
    """Speak lines as `out/NAME.wav`, those that do not exist.

    Args:
        synthesizer: the voice.
        lines: as `audiodiff.rendering.lines.read_lines` reads them.
        out: output folder.
        options: of the lines that state none of their own.
        report: called with the error of each line that cannot be spoken; the others are.
        files: how files are written; a batch is one clip.
        lexicon_hash: SHA-256 of the lexicon that the synthesizer uses, for sidecars.
        quiet: no progress bar.

    Raises:
        UserError: an option or speaker that the model does not take, of whichever line; the folder or a file in it
            cannot be written, another process writes to it, or a file exists that was spoken with other options.
    """
    renderer = SpeechRenderer(synthesizer, location(out), options, files, lexicon_hash)
    return render_all(renderer, lines, report, title="speaking", quiet=quiet)


class SpeechRenderer(Renderer[TextLine]):
    """Speaks lines with a voice; arguments as of `render_speech`."""

    def __init__(
        self,
        synthesizer: SpeechSynthesizer,
        out: Path,
        options: SpeechOptions,
        files: FileOptions = FileOptions(),  # noqa: B008, frozen
        lexicon_hash: str | None = None,
    ):
        super().__init__(synthesizer, out, replace(files, batch_size=1))
        self.synthesizer, self.options, self.lexicon_hash = synthesizer, options, lexicon_hash

    def check(self, rows: Sequence[TextLine]) -> None:
        """Check the options and speakers of all lines."""
        for line in rows:
            _complete(self.synthesizer, line, self.options)

    def render(self, rows: Sequence[TextLine], writer: JobWriter) -> None:
        """Speak a shard, line by line."""
        jobs = []
        for line in rows:
            path, own = writer.out / f"{line.file}.{self.files.format}", _complete(self.synthesizer, line, self.options)
            settings = describe_speech(
                self.synthesizer, line.text, own.record() | self.files.record(), self.lexicon_hash
            )
            sidecar.check_name(path)
            jobs.append(SpeechJob(path, settings, writer.find(path, settings, ["text", "lexicon_hash"]), line))
        writer.run(jobs, partial(_speak, writer, self.synthesizer, self.options))


def describe_speech(
    synthesizer: SpeechSynthesizer, text: str, options: dict[str, Any], lexicon_hash: str | None
) -> dict[str, Any]:
    """Sidecar entries of all that decides what a spoken text sounds like.

    Args:
        synthesizer: the voice.
        text: what it speaks.
        options: record of complete options.
        lexicon_hash: SHA-256 of a lexicon.
    """
    return {
        "text": text,
        "model_hash": synthesizer.model_hash,
        "vocoder_hash": synthesizer.vocoder.model_hash,
        "lexicon_hash": lexicon_hash,
        **options,
    }


def _complete(synthesizer: SpeechSynthesizer, line: TextLine, options: SpeechOptions) -> SpeechOptions:
    """The options of a line, with the model's own in place of None."""
    own = line.merge(options)
    try:
        synthesizer.check(own)
    except UserError as error:
        raise UserError(f"{line.place}, {error.subject}", error.problem, error.fix) from error
    return synthesizer.complete(own)


class _LineError(UserError):
    """A line that cannot be spoken, such as one without anything to pronounce; the others go on."""


def _speak(
    writer: JobWriter, synthesizer: SpeechSynthesizer, options: SpeechOptions, jobs: Sequence[SpeechJob], _: Callable
) -> None:
    """Speak a batch, which is one line, and write it."""
    for job in jobs:
        entries: dict = {"id": job.line.name, "input": job.line.place, **sidecar.folders_of(synthesizer, options)}
        try:
            writer.write_pieces(job, _pieces(synthesizer, job.line, options, entries), entries)
        except _LineError as error:
            writer.fail(error)


def _pieces(synthesizer: SpeechSynthesizer, line: TextLine, options: SpeechOptions, entries: dict) -> Iterator[Tensor]:
    """The audio (1, T') of a line, piece by piece; adds its words and their seconds to `entries`."""
    words, start = entries.setdefault("words", []), 0.0
    try:
        own = _complete(synthesizer, line, options)  # again: a table of references is not held in memory
        for speech in synthesizer.stream(line.text, own, early=False):
            words += [[word.text, round(start + word.start, 3), round(start + word.end, 3)] for word in speech.words]
            start += speech.seconds
            yield speech.audio.samples[None]
    except UserError as error:
        raise _LineError(line.place, f"{error.subject} {error.problem}", error.fix) from error
