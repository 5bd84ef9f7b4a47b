"""`audiodiff search`: audio files of a folder that sound like a text says, or like an example."""

import json
from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Model
from audiodiff.errors import UserError


def search(
    folder: Annotated[Path, typer.Argument(help="Folder of audio files; all folders below it are searched.")],
    text: Annotated[str | None, typer.Argument(help='Description of the sound, such as "short snare".')] = None,
    like: Annotated[
        Path | None, typer.Option(help="Audio file to search for similar ones, in place of a text.")
    ] = None,
    model: Model = Path("audio-text"),
    limit: Annotated[int, typer.Option(help="Maximum number of files (at least 1).")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of path, similarity and seconds.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of stored embeddings (default: the user's cache).")] = None,
    device: Device = "auto",
) -> None:
    """Search a folder for sounds. Prints similarity (-1 to 1), file, and for recordings the second, best first.

    Files are embedded at the first search and when they change.
    """
    if (text is None) == (like is None):
        problem = "neither a text nor --like is given" if text is None else "a text and --like are given"
        raise UserError("search", problem, 'give one, such as `audiodiff search FOLDER "short snare"`')
    import warnings

    from tqdm import tqdm

    from audiodiff.audio.io import Audio, read
    from audiodiff.cli.output import report_error
    from audiodiff.options import whole_number
    from audiodiff.pipelines.audio_index import AudioIndex, embed_query
    from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder

    whole_number(limit, "--limit", 1)
    embedder = AudioTextEmbedder.from_pretrained(model, device)
    query: str | Audio = read(like) if like is not None else text or ""
    embed_query(embedder, query)  # which may warn or refuse, before the work on files

    def progress(files: list[Path]) -> tqdm:
        return tqdm(files, desc="embedding", unit="file", disable=None if files else True)

    with warnings.catch_warnings(action="ignore"):  # of odd files, and of the query again
        index = AudioIndex(embedder, folder, cache, report_error, progress)
        matches = index.search(query, limit)
    if as_json:
        print(json.dumps([vars(match) | {"path": str(match.path)} for match in matches], indent=1))
        return
    for match in matches:
        at = f"  at {match.seconds:.1f} s" if match.seconds else ""
        print(f"{match.similarity:6.3f}  {match.path}{at}")
