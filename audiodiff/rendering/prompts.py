"""Clips to generate in bulk: a table with a prompt or other conditions a row, plain text with a prompt a line, a
manifest of clips with captions, or a number of clips alone.

The columns of a table are the options of generation, such as `prompt`, `labels`, `seconds` and `seed`, and `name`. Rows
without a name are named by their number, over all files: 0001, 0002 and so on. Several clips of a row are clips of one
seed, named NAME-0, NAME-1 and so on.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.pipelines.options import GenerationConfig, configure
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.remote import is_path
from audiodiff.rendering.batch_place import BatchPlace
from audiodiff.rendering.tables import Columns, check_name, check_unique, is_manifest, load_audio, read_table


@dataclass(frozen=True)
class PromptRow:
    """One clip to generate.

    Attributes:
        name: of the row; empty: it has none, and the clip is one of the seed of all.
        options: of the row, conditions too, in place of those of all rows; audio as its path.
        place: file and line number, for errors.
        file: name of the clip's file, without suffix.
        clip: its number among those of the row.
        clip_seed: in place of that of the seed and the number.
        batch: place that it is to be sampled at again.
    """

    name: str
    options: Mapping[str, object]
    place: str
    file: str
    clip: int = 0
    clip_seed: int | None = None
    batch: BatchPlace | None = None

    def merge(self, config: GenerationConfig) -> tuple[GenerationConfig, int]:
        """What to generate, and the seed of the clip.

        A seed of the row is that of `AudioGenerator.generate`; one of all rows stands for a series, whose rows are
        named (`pipelines.seeds`).

        Raises:
            UserError: an option of the row is out of range, or its audio cannot be read.
        """
        try:
            options = {name: load_audio(v) if is_path(v) else v for name, v in self.options.items()}
            if self.name and "seed" not in options:
                options["seed"] = clip_seeds(config.seed, [self.name])[0]
            merged = configure(config, options)
        except UserError as error:
            raise UserError(f"{self.place}, {error.subject}", error.problem, error.fix) from error
        seed = clip_seeds(merged.seed, [str(self.clip)])[0] if self.clip_seed is None else self.clip_seed
        return merged, seed


def check_count(count: int | None) -> int:
    """The number of clips of each row, 1 where it is not given.

    Raises:
        UserError: less than one.
    """
    if count is not None and count < 1:
        raise UserError(f"count {count}", "must be at least 1", "give 1 or more")
    return count or 1


def read_prompts(paths: Iterable[Path], count: int = 1) -> list[PromptRow]:
    """The rows of files, in order; without files, clips of the seed of all, as `audiodiff generate` names them.

    Args:
        paths: tables, texts and manifests.
        count: clips of each row.

    Raises:
        UserError: a file cannot be read, is of another type, holds nothing, or has a row or column that does not fit;
            or two rows have one name.
    """
    rows: list[PromptRow] = []
    columns = Columns(GenerationConfig, "name", line="prompt")
    for path in (paths := list(paths)):
        found = list(_manifest(path) if is_manifest(path) else _table(path, columns))
        if not found:
            raise UserError(path, "holds nothing to generate", "write a prompt a line")
        rows += found
    if not paths:
        return [PromptRow("", {}, f"clip {number}", f"{number:04d}", number) for number in range(count)]
    named = [row if row.name else replace(row, name=f"{number:04d}") for number, row in enumerate(rows, 1)]
    check_unique((row.name, row.place) for row in named)
    if count == 1:
        return [replace(row, file=row.name) for row in named]
    return [replace(row, file=f"{row.name}-{number}", clip=number) for row in named for number in range(count)]


def _table(path: Path, columns: Columns) -> Iterator[PromptRow]:
    for row in read_table(path, columns):
        yield PromptRow(check_name(row.words.get("name", ""), row.place), row.options, row.place, "")


def _manifest(path: Path) -> Iterator[PromptRow]:
    for clip in Manifest.load(path).clips:
        if clip.caption:
            name = PurePosixPath(*[part for part in PurePosixPath(clip.path).parts if part not in ("/", "..")])
            yield PromptRow(str(name.with_suffix("")), {"prompt": clip.caption}, f"{path}, {clip.id}", "")
