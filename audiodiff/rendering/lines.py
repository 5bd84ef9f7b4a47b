"""Texts to speak in bulk: plain text with a clip a line, a table with a clip a row (`rendering.tables`), or a manifest.

A plain text (`.txt`) is one clip a line, empty lines are left out: a book whose paragraphs are lines becomes a clip a
paragraph. A table has a column `text`; the other columns are options of its rows. A `reference` of a row takes the
place of a speaker that is stated for all, and the other way around. Of a manifest the clips with a text are spoken.
Clips without a `name` are named by their number, over all files: 0001, 0002 and so on.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.options import whole_number
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.seeds import clip_seeds, take_seed
from audiodiff.remote import is_path
from audiodiff.rendering.tables import (
    Columns,
    TableRow,
    check_name,
    check_unique,
    is_manifest,
    load_audio,
    read_table,
)


@dataclass(frozen=True)
class TextLine:
    """One text to speak.

    Attributes:
        text: to speak.
        name: of the clip, relative to the output folder, without suffix; empty: its number.
        options: of the line, by name, in place of those of all lines; a reference as its path.
        place: file and line number, for errors.
        file_name: where it is another than `name`.
        take: its number among the takes of the text.
    """

    text: str
    name: str
    options: Mapping[str, object]
    place: str
    file_name: str = ""
    take: int = 0

    @property
    def file(self) -> str:
        """The name of its file, without suffix."""
        return self.file_name or self.name

    def merge(self, options: SpeechOptions) -> SpeechOptions:
        """The options that the line is spoken with.

        A seed of the line is the seed of `SpeechSynthesizer.say`; one of all lines stands for a series, whose clips are
        named (`pipelines.seeds`).

        Raises:
            UserError: an option of the line is out of range, or its reference cannot be read.
        """
        own = dict(self.options)
        if "speaker" in own or "reference" in own:
            own = {"speaker": None, "reference": None} | own
        try:
            seed = whole_number(own.get("seed", clip_seeds(options.seed, [self.name])[0]), "seed")  # type: ignore[arg-type]
            own["seed"] = take_seed(seed, self.take)
            if is_path(path := own.get("reference")):
                own["reference"] = load_audio(path)
            return replace(options, **own)
        except UserError as error:
            raise UserError(f"{self.place}, {error.subject}", error.problem, error.fix) from error


def read_lines(paths: Iterable[Path], count: int = 1) -> list[TextLine]:
    """The texts of files, in order, named; several takes of a text are named NAME-0, NAME-1 and so on.

    Args:
        paths: texts, tables and manifests.
        count: takes of each text.

    Raises:
        UserError: a file cannot be read, is of another type, has a row or column that does not fit, or holds no text;
            or two lines have one name.
    """
    lines: list[TextLine] = []
    columns = Columns(SpeechOptions, "text", "name", line="text", required="text")
    for path in paths:
        found = list(_manifest(path) if is_manifest(path) else _table(path, columns))
        if not found:
            raise UserError(path, "holds no text", "write a text a line")
        lines += found
    named = [line if line.name else replace(line, name=f"{number:04d}") for number, line in enumerate(lines, 1)]
    check_unique((line.name, line.place) for line in named)
    return name_takes(named, count)


def name_takes(lines: list[TextLine], count: int) -> list[TextLine]:
    """Takes of named lines, NAME-0 and so on; the lines themselves for one."""
    if count == 1:
        return lines
    return [replace(line, file_name=f"{line.name}-{take}", take=take) for line in lines for take in range(count)]


def _table(path: Path, columns: Columns) -> Iterator[TextLine]:
    for row in read_table(path, columns):
        yield _line(row)


def _line(row: TableRow) -> TextLine:
    if "text" not in row.words:
        raise UserError(row.place, "has no text", "write one in a column text, or remove the line")
    return TextLine(row.words["text"], check_name(row.words.get("name", ""), row.place), row.options, row.place)


def _manifest(path: Path) -> Iterator[TextLine]:
    for clip in Manifest.load(path).clips:
        if clip.text:
            name = PurePosixPath(*[part for part in PurePosixPath(clip.path).parts if part not in ("/", "..")])
            yield TextLine(clip.text, str(name.with_suffix("")), {}, f"{path}, {clip.id}")
