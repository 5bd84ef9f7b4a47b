"""Captions of a user's recordings: from captions.csv, from a text file beside each, or from their names.

captions.csv has lines `FILE,CAPTION` (or another delimiter of `table`), with a heading or without; a caption may hold
commas. Where the user asks for captions, a recording that is not in it has that of its text file, else one by the rules
for names (`captions.naming`), if they know a word of it. Of a recording in parts, all have its caption.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from audiodiff.data.captions import Caption, caption_of_name
from audiodiff.data.corpora.corpus import Recording
from audiodiff.data.corpora.folder import audio_files
from audiodiff.data.table import Table
from audiodiff.errors import UserError

NAME = "captions.csv"
FORM = "`FILE,CAPTION`"
_COLUMNS = ("caption", "description", "prompt", "text")
_MOST_LETTERS = 2000


def read_captions(path: Path, files: Mapping[str, Path]) -> dict[str, str]:
    """The captions in a table, by the recordings' keys.

    Args:
        path: captions.csv.
        files: the recordings' files by key.

    Raises:
        UserError: as `Table.read`; or a line names a file that is not there or has no caption, or a column is unknown.
    """
    table = Table.read(path, files, FORM)
    if table.heading and [name.lower() for name in table.heading if name] not in [[name] for name in _COLUMNS]:
        unknown = next((name for name in table.heading if name.lower() not in _COLUMNS), table.heading[-1])
        raise UserError(path, f"column {unknown!r} is unknown", "write the heading `file,caption`")
    found: dict[str, str] = {}
    for line in table.lines:
        where = f"{path}, line {line.number}"
        if not line.keys:
            raise UserError(where, f"names {line.name!r}, which is no audio there", "correct the name or the folder")
        caption, problem = check_caption(f"{table.delimiter} ".join(cell for cell in line.cells if cell))
        if problem:
            raise UserError(where, problem, f"write {FORM}")
        found |= dict.fromkeys(line.keys, caption)
    return found


def check_caption(text: str) -> tuple[str, str]:
    """A caption in one line, and what is wrong with it, "" if nothing is."""
    caption = " ".join(text.split())
    if not caption:
        return "", "has no caption"
    if not caption.isprintable():
        return "", "has a caption with unprintable characters"
    if len(caption) > _MOST_LETTERS:
        return "", f"has a caption of {len(caption)} letters, more than {_MOST_LETTERS}"
    return caption, ""


def has_captions(root: Path) -> bool:
    """Whether a folder holds captions.csv."""
    return (root / NAME).is_file()


def add_captions(found: Sequence[Recording], root: Path, texts_and_names: bool) -> list[Recording]:
    """Recordings with their captions; the text of a file that is a caption is no transcript.

    Args:
        found: recordings in a folder, by the keys of `audio_files`.
        root: the folder.
        texts_and_names: whether text files are captions, and names are read where there are none.

    Raises:
        UserError: as `read_captions`.
    """
    files = audio_files(root)
    table = read_captions(root / NAME, files) if has_captions(root) else {}
    return [_add_caption(one, files, table, texts_and_names) for one in found]


def _add_caption(one: Recording, files: Mapping[str, Path], table: Mapping[str, str], texts: bool) -> Recording:
    key = one.key if one.key in files else one.key.rpartition("/")[0]
    if key in table:
        return replace(one, caption=Caption(table[key]))
    if not texts:
        return one
    path = files[key].with_suffix(".txt")
    if not os.path.isfile(path):  # Path.is_file raises for names that are too long
        return replace(one, caption=_of_name(key))
    try:
        caption, problem = check_caption(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        caption, problem = "", f"cannot be read as UTF-8 ({getattr(error, 'reason', error)})"
    reason = one.exclude_reason or (f"its text {path.name} {problem}" if problem else "")
    return replace(one, text="", caption=Caption(caption), exclude_reason=reason)


def _of_name(key: str) -> Caption:
    try:
        return caption_of_name(key)
    except UserError:
        return Caption()
