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
) -> Iterator[tuple[list[Path | None], list[Path]]]:
    """Write the files of a request to a folder that exists until the context is left; Gradio copies what is returned.

    Args:
        clips: those of the visitor have no settings, and no file.
        settings: of the request.
        name: that file names begin with.
        format: "wav", "flac" or "ogg".

    Yields:
        The file of each clip, None where it has none, and all files.
    """
    with TemporaryDirectory() as found:  # outside of Gradio's folder, whose files it does not copy
        files: list[Path | None] = []
        generated = sum(clip.settings is not None for clip in clips)
        for clip in clips:
            if clip.settings is None:
                files.append(None)
                continue
            number = sum(file is not None for file in files) + 1
            path = Path(found) / (f"{name}-{number:02d}.{format}" if generated > 1 else f"{name}.{format}")
            audio = resample_for_flac(clip.audio) if format == "flac" else clip.audio
            write(path, audio, format, metadata=describe(clip.settings["command"], clip.settings))
            files.append(path)
        record = Path(found) / SETTINGS
        record.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        yield files, [*(file for file in files if file is not None), record]
