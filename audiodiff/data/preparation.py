"""Preparing corpora: from a name such as `asterisk-en` or `folder:PATH` to FLAC files, one manifest and an audit.

The result is OUT/manifest.jsonl, OUT/audit.json and, for each corpus, OUT/LABEL/KEY.flac (16 bit, at the recording's
own rate if FLAC supports it; speech is mixed to mono, music keeps two channels), and OUT/LABEL/corpus.json, which
records the inputs. A corpus whose corpus.json is up to date is not prepared again; of one that was interrupted, or
whose files have changed, only what is missing or different is prepared. One process at a time prepares into a folder.

Clips with texts have phonemes where the language has a front end, and durations and pitch of each phoneme where the
corpus states durations (`audiodiff align` finds those of others). Pitch is measured, unless the corpus states it.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiodiff.audio.io import Audio, resample_for_flac, write
from audiodiff.data import manifest as manifests
from audiodiff.data.audit import SILENT_DBFS, Audit, audit, measure
from audiodiff.data.captions.caption import ROLES, Caption
from audiodiff.data.captions.character import character_of
from audiodiff.data.corpora import registry
from audiodiff.data.corpora.corpus import Corpus, Recording, TimedAudio, text_hash
from audiodiff.data.corpora.music import read_stereo
from audiodiff.data.corpora.phonemes import phonemes_of
from audiodiff.data.corpora.registry import Preparation
from audiodiff.data.journal import Journal
from audiodiff.data.manifest import DURATIONS_TOLERANCE, Clip, Manifest, assign_splits
from audiodiff.data.prosody import symbol_pitch
from audiodiff.errors import UserError, first_line
from audiodiff.files import folder_lock, is_safe_relative_path, short_name, write_text

_log = logging.getLogger(__name__)
RECORD = "corpus.json"
VERSION = 5  # increased when the same recordings would be prepared differently
SHORTEST_SECONDS = 0.4
SHORTEST_LABELED_SECONDS = 0.03  # of one-shots, which have a label or a caption
Progress = Callable[..., Iterable]  # of an iterable and keyword arguments, as `tqdm.tqdm`


def _no_progress(items: Iterable, **_: Any) -> Iterable:
    return items


def default_folder(root: str | Path) -> Path:
    """Where a user's folder is prepared: `data/NAME`, or with a hash appended if that holds other data.

    So prepared, it shares its manifest with no other corpus.
    """
    root = Path(root).expanduser().resolve()
    folder = Path("data") / (root.name or "root")
    # In this order, since another process may be preparing there: its record comes before its first clip.
    any_file = any(not found.name.startswith(".") and found.is_file() for found in folder.rglob("*"))
    labels = {file.parent.name for file in folder.glob(f"*/{RECORD}")}
    origins = {_origin(folder, label) for label in labels}
    in_use = labels - {"music"} or origins not in (set(), {str(root)}) or (any_file and not origins)
    return folder.with_name(f"{folder.name}-{registry.content_hash([str(root)])[:8]}") if in_use else folder


def prepare(
    names: Sequence[str],
    out: str | Path,
    split_by: str | None = None,
    clips: int | None = None,
    language: str = "",
    report: Callable[[UserError], None] = lambda error: None,
    progress: Progress = _no_progress,
    captions: bool = False,
) -> Manifest:
    """Prepare corpora below `out`, beside those already there, and audit all of them.

    Args:
        names: keys of `registry.CORPORA`.
        out: folder of the manifest.
        split_by: "clip" or "speaker" (whole speakers); None keeps that of the existing manifest, else "clip".
        clips: number of utterances of each voice of synthetic speech; None: the corpus's default.
        language: of the texts of a user's folder, such as "en-us"; "" if unknown.
        report: called for every file that is left out, now or earlier, except on purpose by a packaged corpus.
        progress: wraps the loops over recordings and clips, such as `tqdm.tqdm`.
        captions: whether texts and names of the recordings in a user's folder are captions.

    Raises:
        UserError: an unknown name, a missing folder, a failed download, a corpus without usable clips.
    """
    out = Path(out)
    if split_by not in (None, *manifests.SPLIT_BY):
        raise UserError("--split-by", f"is {split_by!r}", f"choose {' or '.join(manifests.SPLIT_BY)}")
    preparations = [registry.resolve(name, clips, language, captions) for name in names]
    _check_folders(preparations, out)
    with folder_lock(out, wait=True):
        _check_folders(preparations, out)  # another process may have prepared there until now
        manifest = _prepare(preparations, out, split_by, progress)
    for preparation in preparations:
        for kind, entries in _left_out(preparation.label, out).items():
            if kind == "unreadable" or "path" in preparation.inputs:
                for subject, problem in entries:
                    report(UserError(subject, problem))
    return manifest


def _prepare(preparations: Sequence[Preparation], out: Path, split_by: str | None, progress: Progress) -> Manifest:
    old = Manifest.load(out) if (out / manifests.NAME).exists() else Manifest((), out)
    split_by = split_by or old.split_by
    manifest = Manifest(assign_splits(old.clips, split_by), out, split_by)
    for preparation in preparations:
        if not _is_up_to_date(preparation, manifest):
            others = [clip for clip in manifest.clips if not clip.id.startswith(f"{preparation.label}/")]
            clips, record = _prepare_corpus(preparation, out, progress)
            manifest = Manifest(assign_splits([*others, *clips], split_by), out, split_by)
            manifest.save()
            _write_record(preparation, out, {"version": VERSION} | record)
    if manifest != old:
        manifest.save()
    if not Audit.matches(manifest):
        audit(manifest, _all_left_out(manifest), progress).save(out)
    return manifest


def _prepare_corpus(preparation: Preparation, out: Path, progress: Progress) -> tuple[list[Clip], dict]:
    """Prepare the clips of one corpus.

    Returns:
        The clips, and for the corpus's record: its attribution and, per kind of finding, (name, reason) of what was
        left out.
    """
    downloads = out / ".downloads"
    corpus = preparation.open(downloads)
    clips: list[Clip] = []
    left_out: dict[str, list] = {"unreadable": [], "left out": []}
    journal = Journal(out / preparation.label)
    for recording in progress(corpus.recordings, desc=preparation.label, unit="clip"):
        name = f"{preparation.label}/{recording.key}"
        outside = "" if is_safe_relative_path(recording.key) else "its name leads out of the folder"
        if reason := recording.exclude_reason or outside:
            left_out["left out"].append((name, reason))
            continue
        target = out / _clip_path(name)
        durations = recording.durations or journal.durations(recording.key)
        pitch = journal.pitch(recording.key)
        audio = _prepared_audio(recording, target)
        if audio is not None and recording.phonemes and abs(sum(durations) - audio.seconds) > DURATIONS_TOLERANCE:
            audio = None  # synthetic speech whose durations were lost
        if audio is None:
            started = time.process_time()
            try:
                audio = recording.read()
            except Exception as error:  # of any decoder: the other files are still prepared
                problem = error.problem if isinstance(error, UserError) else f"cannot be read ({first_line(error)})"
                left_out["unreadable"].append((name, problem))
                continue
            if reason := _unusable(audio, recording):
                left_out["left out"].append((name, reason))
                continue
            if not clips and not _record(out, preparation.label):
                _write_record(preparation, out, {})  # marks the folder as this corpus's, in case of an interruption
            if isinstance(audio, TimedAudio):
                durations, pitch = audio.durations, audio.pitch
                journal.add(recording.key, durations, time.process_time() - started, pitch)
            write(target, resample_for_flac(audio))
            if recording.modified_ns is not None:
                os.utime(target, ns=(recording.modified_ns, recording.modified_ns))
            audio = read_stereo(target)
        clip = _clip(name, recording, audio, preparation.label, corpus)
        clips.append(_annotated(clip, recording, audio, durations, pitch))
    if not clips:
        why = next((f"; the first: {reason}" for found in left_out.values() for _, reason in found), "")
        raise UserError(preparation.label, f"none of its {len(corpus.recordings)} recordings can be used{why}")
    if corpus.copyright_file is not None:
        shutil.copyfile(corpus.copyright_file, out / preparation.label / "copyright")
    shutil.rmtree(downloads, ignore_errors=True)
    record: dict[str, Any] = {"attribution": corpus.attribution, "left_out": left_out}
    if journal.core_hours:
        _log.info("%s: synthesized in %.3f core-hours", preparation.label, journal.core_hours)
        record["core_hours"] = round(journal.core_hours, 3)
    return clips, record


def _clip_path(name: str) -> str:
    """The path of a clip's file, relative to the manifest."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{short_name(last, len('.flac'))}.flac"


def _prepared_audio(recording: Recording, target: Path) -> Audio | None:
    """The clip that an earlier run prepared from the same file, if it is whole."""
    if not os.path.exists(target) or recording.modified_ns not in (None, target.stat().st_mtime_ns):
        return None
    try:
        return read_stereo(target)
    except UserError:
        return None


def _unusable(audio: Audio, recording: Recording) -> str:
    """Why a recording is left out, "" if it is not."""
    shortest = SHORTEST_LABELED_SECONDS if recording.label or recording.caption.text else SHORTEST_SECONDS
    if audio.seconds < shortest:
        return f"{audio.seconds:.3f} s, shorter than {shortest} s"
    level = measure(audio.samples.numpy(), audio.sample_rate).rms_dbfs
    return f"silent, {level:.0f} dBFS" if level < SILENT_DBFS else ""


def _clip(name: str, recording: Recording, audio: Audio, label: str, corpus: Corpus) -> Clip:
    return Clip(
        id=name,
        path=_clip_path(name),
        seconds=audio.seconds,
        sample_rate=audio.sample_rate,
        text=recording.text,
        speaker=f"{corpus.speakers_of or label}/{recording.speaker}" if recording.speaker else label,
        license=recording.license or corpus.license,
        source=corpus.source,
        synthetic=corpus.synthetic,
        content=hashlib.sha256(audio.samples.numpy().tobytes()).hexdigest()[:16],
        label=recording.label,
        tempo=recording.tempo,
        language=corpus.language if recording.text else "",
        piece=_piece(recording, label),
        channels=audio.channels,
        caption=recording.caption.text,
        caption_parts=_with_character(recording.caption, audio).parts,
    )


def _with_character(caption: Caption, audio: Audio) -> Caption:
    """A composed caption with the measured character of its sound."""
    if not caption.parts:
        return caption
    said = [words for role in ROLES for words in caption.of_role(role)]
    return caption.with_character(character_of(audio.samples, audio.sample_rate, said))


def _piece(recording: Recording, label: str) -> str:
    if recording.text_piece and recording.text:
        return f"text/{text_hash(recording.text)}"
    return f"{label}/{recording.piece}" if recording.piece else ""


def _annotated(
    clip: Clip, recording: Recording, audio: Audio, durations: tuple[float, ...], pitch: tuple[float, ...]
) -> Clip:
    """A clip with its phonemes, their durations and pitch, as far as they are known; pitch () is measured."""
    phonemes = recording.phonemes or _phonemes(clip.text, clip.language)
    if not durations:
        return replace(clip, phonemes=phonemes)
    return replace(clip, phonemes=phonemes, durations=durations, pitch=pitch or symbol_pitch(audio, durations))


def _phonemes(text: str, language: str) -> str:
    """The phonemes of a transcript; "" where the language has no front end here."""
    try:
        return phonemes_of(text, language)
    except UserError as error:
        _log.info("texts without phonemes: %s", error)
        return ""


def attribution(manifest: Manifest, label: str) -> str:
    """Who is to be named for a prepared corpus, in the words of its copyright file; "" for nobody."""
    return _record(manifest.root, label).get("attribution", "")


def _record(out: Path, label: str) -> dict:
    """The content of corpus.json; empty if it is missing or damaged, since it only saves work."""
    try:
        record = json.loads((out / label / RECORD).read_text(encoding="utf-8", errors="surrogateescape"))
        if "made_from" in record:  # the name of "inputs" of version 0.1
            record["inputs"] = record.pop("made_from")
        left_out = [entry for kind in ("unreadable", "left out") for entry in record.get("left_out", {}).get(kind, [])]
        texts = [record.get("attribution", ""), *record.get("inputs", {}).values()]
        texts += [text for subject, problem in left_out for text in (subject, problem)]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return record if all(isinstance(text, str) for text in texts) else {}


def _origin(out: Path, label: str) -> str | None:
    """The folder that a corpus was prepared from; None if there was none, or it is unknown."""
    return _record(out, label).get("inputs", {}).get("path")


def _write_record(preparation: Preparation, out: Path, rest: dict) -> None:
    record = {"inputs": preparation.inputs} | rest
    write_text(out / preparation.label / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _is_up_to_date(preparation: Preparation, manifest: Manifest) -> bool:
    record = _record(manifest.root, preparation.label)
    clips = [clip for clip in manifest.clips if clip.id.startswith(f"{preparation.label}/")]
    unchanged = record.get("version") == VERSION and record.get("inputs") == preparation.inputs
    return unchanged and bool(clips) and all(manifest.path(clip).exists() for clip in clips)


def _all_left_out(manifest: Manifest) -> dict[str, list]:
    labels = sorted({clip.id.split("/")[0] for clip in manifest.clips})
    each = [_left_out(label, manifest.root) for label in labels]
    return {kind: [entry for one in each for entry in one[kind]] for kind in ("unreadable", "left out")}


def _left_out(label: str, out: Path) -> dict[str, list]:
    found = _record(out, label).get("left_out", {})
    return {kind: found.get(kind, []) for kind in ("unreadable", "left out")}


def _check_folders(preparations: Iterable[Preparation], out: Path) -> None:
    """Refuse two folders of the same name, and an output folder inside its own input."""
    paths: dict[str, str | None] = {}
    for preparation in preparations:
        path = preparation.inputs.get("path")
        if path is not None and out.resolve().is_relative_to(path):
            raise UserError(out, f"lies within {path}, which it is prepared from", "choose another --out")
        before = paths.setdefault(preparation.label, _origin(out, preparation.label) or path)
        if before != path:
            raise UserError(path, f"has the same name as {before}, prepared in {out}", "choose another --out")
