"""The files of a request: each clip with its settings in its metadata, and the settings of all as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from audiodiff.audio.io import resample_for_flac, write
from audiodiff.demo.task import Clip
from audiodiff.rendering.sidecar import describe

SETTINGS = "settings.json"


@contextmanager
def written(
    clips: Sequence[Clip], settings: Mapping[str, Any], name: str, format: str
) -> Iterator[tuple[list[Path], list[Path]]]:
    """Write the files of a request to a folder that exists until the context is left; Gradio copies what is returned.

    Args:
        clips: those of the visitor have no settings.
        settings: of the request.
        name: that file names begin with.
        format: "wav", "flac" or "ogg".

    Yields:
        The file of each clip, and those that are offered: what was generated, and the settings.
    """
    with TemporaryDirectory() as found:  # outside of Gradio's folder, whose files it does not copy
        files: list[Path] = []
        offered: list[Path] = []
        several = sum(clip.settings is not None for clip in clips) > 1
        for clip in clips:
            if clip.settings is None:
                path = Path(found) / f"recording-{len(files)}.wav"
                write(path, clip.audio, "wav")
            else:
                title = f"{name}-{len(offered) + 1:02d}" if several else name
                path = _write(clip, Path(found) / title, format)
                offered.append(path)
                if clip.spread is not None:
                    spread_file(path).write_bytes(clip.spread)
            files.append(path)
        record = Path(found) / SETTINGS
        record.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        pictures = [picture for file in files if (picture := spread_file(file)).exists()]
        yield files, [*offered, *pictures, record]


def spread_file(path: Path) -> Path:
    """The picture of the spread of a clip with this file."""
    return path.with_name(f"{path.stem}-spread.png")


def _write(clip: Clip, stem: Path, format: str) -> Path:
    """Write a generated clip; its path."""
    assert clip.settings is not None  # it is generated
    metadata = describe(clip.settings["command"], clip.settings)
    if clip.rewriting is not None:
        path = stem.with_suffix(clip.rewriting.suffix)
        clip.rewriting.write(path, metadata)
        return path
    path = stem.with_suffix(f".{format}")
    write(path, resample_for_flac(clip.audio) if format == "flac" else clip.audio, format, metadata=metadata)
    return path
