"""Editing of files: an edited file, or several variations of it, each with its sidecar.

Only windows of the file are read into memory, and whatever is not edited is copied (`audio.rewriting`).
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.audio.rewriting import Encoding, Replacement, default_suffix, encoding_for, rewrite, watermarked
from audiodiff.errors import UserError
from audiodiff.files import check_writable, folder_lock
from audiodiff.pipelines.audio_editor import AudioEditor
from audiodiff.pipelines.edit_options import EditConfig
from audiodiff.pipelines.edit_window import scale_progress
from audiodiff.pipelines.memory import DoesNotFit
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.rendering import sidecar
from audiodiff.rendering.batch_place import BatchPlace
from audiodiff.rendering.file_recording import FileRecording
from audiodiff.rendering.jobs import Job, unfinished_batches
from audiodiff.rendering.monitor import Outcome
from audiodiff.rendering.settings import SavedSettings

COMMAND = "audiodiff edit"
BATCH_SIZE = 8  # variations at once


@dataclass(frozen=True)
class EditJob(Job):
    """A variation to write, and the place in a batch that it is to be sampled at again."""

    place: BatchPlace | None


def edit_file(
    editor: AudioEditor,
    source: str | Path,
    config: EditConfig,
    out: str | Path | None = None,
    variations: int = 1,
    overwrite: bool = False,
    watermark: bool = False,
    quiet: bool = False,
    saved: SavedSettings | None = None,
) -> tuple[Outcome, list[Path]]:
    """Edit a file, and write what does not exist.

    Args:
        editor: the model.
        source: the file; it is not changed.
        config: what to change.
        out: the file to write, in the format of the source, WAV or FLAC; None: `NAME-edited` here, in the format of
            the source if that keeps every sample, else WAV.
        variations: how many; of several, the number of each is added to its name.
        overwrite: replace existing files, also those of others.
        watermark: embed a watermark (`audio.watermark`) in what is changed.
        quiet: no progress bar.
        saved: settings whose variation is to be made again; the configuration is theirs, already.

    Returns:
        What was done, and all paths.

    Raises:
        UserError: the source cannot be read, is silent, or is the target; the target cannot be written, or exists and
            is not ours or was made with other settings; or as `AudioEditor.edit`.
    """
    if variations < 1:
        raise UserError(f"variations {variations}", "must be at least 1", "give 1 or more")
    if saved is not None:
        saved.compare(editor)
    with AudioFile(source) as file:
        recording = FileRecording(file)
        editor.check(config, recording.channels, variations)
        editor.find_regions(recording, config)
        out = Path(out or f"{file.path.stem}-edited{default_suffix(file)}")
        paths = [out.with_name(f"{out.stem}-{n:04d}{out.suffix}") for n in range(variations)]
        paths = paths if variations > 1 else [out]
        encoding = encoding_for(file, out)
        jobs = _jobs(editor, file, config, paths, overwrite, watermark, saved)
        outcome = Outcome(skipped=sum(not job.missing for job in jobs))
        with tqdm(desc="editing", unit="step", disable=quiet or None) as bar:
            batches = unfinished_batches(jobs, BATCH_SIZE)
            for number, batch in enumerate(batches):
                advance = scale_progress(partial(_advance, bar), number, len(batches))
                _edit(editor, recording, config, batch, encoding, outcome, advance)
        return outcome, paths


def _jobs(
    editor: AudioEditor,
    file: AudioFile,
    config: EditConfig,
    paths: Sequence[Path],
    overwrite: bool,
    watermark: bool,
    saved: SavedSettings | None,
) -> list[EditJob]:
    """What is to be written, with the sidecars of what exists."""
    with file.path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    shared = {"input_hash": digest, "model_hash": editor.model_hash, **editor.settings(config)}
    shared["watermark"] = watermark or None
    jobs, exact = [], saved if saved is not None and saved.clip_seed is not None else None
    for number, path in enumerate(paths):
        if path.resolve() == file.path.resolve():
            raise UserError(path, "would be overwritten by its own edit", "choose another --out")
        check_writable(path)
        sidecar.check_name(path)
        seeds = {"clip_seed": clip_seeds(config.seed, len(paths))[number]}
        if config.morph_seed is not None:
            seeds["morph_clip_seed"] = clip_seeds(config.morph_seed, len(paths))[number]
        if exact is not None:
            own = {"clip_seed": exact.clip_seed, "morph_clip_seed": exact.morph_clip_seed}
            seeds |= {name: seed for name, seed in own.items() if seed is not None and name in seeds}
        settings = shared | seeds
        found = {} if overwrite else sidecar.read_matching(path, COMMAND, settings)
        jobs.append(EditJob(path, settings, found, exact and exact.batch))
    return jobs


def _edit(
    editor: AudioEditor,
    recording: FileRecording,
    config: EditConfig,
    jobs: Sequence[EditJob],
    encoding: Encoding,
    outcome: Outcome,
    advance: Callable[[Progress], None] | None,
) -> None:
    """Edit a batch of variations, one by one where they do not fit in memory, and write those that are missing."""
    started, rate = time.perf_counter(), recording.sample_rate
    numbers, others = ([job.settings.get(key, 0) for job in jobs] for key in ("clip_seed", "morph_clip_seed"))
    places = [BatchPlace(number, len(jobs)) for number in range(len(jobs))]
    if (place := jobs[0].place) is not None:
        places, numbers, others = [place], numbers * place.size, others * place.size
    try:
        patches = list(editor.patches(recording, config, numbers, advance, others))
    except DoesNotFit as error:
        if len(jobs) == 1:
            raise UserError(recording.name, error.problem, "edit shorter regions, or set --context") from error
        for job in jobs:
            _edit(editor, recording, config, [job], encoding, outcome, advance)
        return
    edited = len(jobs) * sum(patch.stop - patch.start for patch in patches) / rate
    entries = {
        "input": str(recording.file.path),
        "edited": [[patch.start / rate, patch.stop / rate] for patch in patches],
        "precision": editor.precision,
        "device": str(editor.device),
        "batch_size": len(jobs),
        "sample_rate": rate,
        "channels": recording.channels,
        "real_time_factor": edited / (time.perf_counter() - started),
        **sidecar.folders_of(editor, config),
    }
    for place, job in zip(places, jobs, strict=True):
        if job.missing:
            parts = [Replacement(patch.start, patch.stop, patch.samples[place.index]) for patch in patches]
            if job.settings["watermark"]:
                parts = watermarked(parts, rate)
            details = place.record()
            metadata = sidecar.describe(COMMAND, {**job.settings, **sidecar.precision_of(editor), **details})
            with folder_lock(job.path.parent, wait=True):  # another process may write the same file
                sidecar.write_with_sidecar(
                    job.path,
                    lambda path, parts=parts, metadata=metadata: rewrite(
                        recording.file, path, parts, encoding, metadata
                    ),
                    COMMAND,
                    job.settings | entries | details,
                )
            outcome.written += 1


def _advance(bar: tqdm, progress: Progress) -> None:
    bar.total = progress.total
    bar.update(progress.done - bar.n)
