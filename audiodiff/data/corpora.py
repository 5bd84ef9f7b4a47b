"""Corpora: from a name such as `asterisk-en` or `folder:PATH` to FLAC files, one manifest over all, and an audit.

What is prepared lies in OUT/manifest.jsonl, OUT/audit.json and, for each corpus, OUT/LABEL/KEY.flac (16 bit, at the
recording's own rate, if FLAC can have it; speech is mixed to mono, music keeps two channels), and in
OUT/LABEL/corpus.json from what it was made. A corpus whose corpus.json still holds is not touched again; of one that
was interrupted, or whose files have changed, only what is missing or different is made. One process at a time prepares
into a folder.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from audiodiff.audio.io import EXTENSIONS, Audio, resample_for_flac, write
from audiodiff.audio.reading.folder import files_below
from audiodiff.data import debian, music, recordings, scores, synthetic
from audiodiff.data import manifest as manifests
from audiodiff.data.audit import SILENT_DBFS, Audit, audit, measure
from audiodiff.data.manifest import Clip, Manifest, assign_splits
from audiodiff.data.recordings import Recording
from audiodiff.errors import UserError, first_line
from audiodiff.files import folder_lock, is_safe_relative_path, short_name, write_text

RECORD = "corpus.json"
VERSION = 2  # raise it when the same recordings would be prepared differently
SHORTEST_SECONDS = 0.4
SHORTEST_STROKE_SECONDS = 0.03  # of one-shots, and of whatever has a label
DEFAULT_CLIPS = 200  # of synthetic speech: about 20 minutes


@dataclass(frozen=True)
class Corpus:
    """An opened corpus: its recordings, where they come from, the license and the file that states it, whom to name."""

    recordings: list[Recording]
    source: str
    license: str
    copyright: Path | None = None
    synthetic: bool = False
    attribution: str = ""


@dataclass(frozen=True)
class Plan:
    """A corpus that was asked for, before anything is fetched.

    Attributes:
        label: its folder's name, and the first part of its clips' ids.
        made_from: what it is made from; while this is unchanged, nothing has to be done again.
        open: given a folder for downloads, the corpus.
    """

    label: str
    made_from: dict
    open: Callable[[Path], Corpus]


def _festvox_ru(downloads: Path) -> Corpus:
    package = "festvox-ru"
    root = debian.fetch(package, downloads)
    found = recordings.festvox(root / "usr/share/festival/voices/russian/msu_ru_nsh_clunits")
    return _debian_corpus(found, root, package)


def _asterisk(language: str, downloads: Path) -> Corpus:
    package = f"asterisk-core-sounds-{language}"
    texts = debian.fetch(package, downloads) / f"usr/share/doc/{package}/core-sounds-{language}.txt.gz"
    root = debian.fetch(f"{package}-g722", downloads)
    found = recordings.asterisk(root / "usr/share/asterisk/sounds", texts)
    return _debian_corpus(found, root, f"{package}-g722", f"{language}-*")


def _fillets_cs(downloads: Path) -> Corpus:
    package = "fillets-ng-data-cs"
    root = debian.fetch(package, downloads)
    scripts = debian.fetch("fillets-ng-data", downloads) / "usr/share/games/fillets-ng/script"
    return _debian_corpus(recordings.fillets(root / "usr/share/games/fillets-ng/sound", scripts), root, package)


def _sonic_pi(downloads: Path) -> Corpus:
    package = "sonic-pi-samples"
    root = debian.fetch(package, downloads)
    found = [
        replace(one, license=debian.license(root, package, f"etc/samples/{one.key}.flac"))
        for one in music.sonic_pi(root / "usr/share/sonic-pi/samples")
    ]
    return _debian_corpus(found, root, package)


def _hydrogen(downloads: Path) -> Corpus:
    package = "hydrogen-drumkits"
    root = debian.fetch(package, downloads)
    found = [
        # A kit's folder may add a version to the name of the archive that the copyright file speaks of.
        replace(one, license=debian.license(root, package, *(f"drumkits/{n}.h2drumkit" for n in _names(one.speaker))))
        for one in music.hydrogen(root / "usr/share/hydrogen/data/drumkits")
    ]
    return _debian_corpus(found, root, package)


def _names(kit: str) -> tuple[str, str]:
    return kit, kit.rpartition(" ")[0]


def _singularity(downloads: Path) -> Corpus:
    package = "singularity-music"
    root = debian.fetch(package, downloads)
    corpus = _debian_corpus(music.pieces(root / "usr/share/games/singularity/music"), root, package)
    # The copyright file holds the license's whole text, and never its name; the README beside it does.
    return replace(corpus, license="CC-BY-SA-3.0 (2007-2008, 2012 Max McCracken)")


def _wesnoth(downloads: Path) -> Corpus:
    package = "wesnoth-1.16-music"
    root = debian.fetch(package, downloads)
    return _debian_corpus(music.pieces(root / "usr/share/games/wesnoth/1.16/data/core/music"), root, package)


def _debian_corpus(found: list[Recording], root: Path, package: str, *files: str) -> Corpus:
    source = f"Debian {package} {debian.version(root, package)}"
    copyright = root / "usr/share/doc" / package / "copyright"
    attribution = debian.attribution(root, package, *files)
    return Corpus(found, source, debian.license(root, package, *files), copyright, attribution=attribution)


def _hibari(clips: int, downloads: Path) -> Corpus:
    package = synthetic.package()
    license = f"{package.metadata['License'] or package.metadata['License-Expression']} (the model's; synthetic speech)"
    return Corpus(synthetic.recordings(clips), f"synthetic: hibari-tts {package.version}", license, synthetic=True)


def _scores(downloads: Path) -> Corpus:
    return Corpus(scores.recordings(), scores.SOURCE, scores.LICENSE, synthetic=True)


PACKAGED: dict[str, Callable[[Path], Corpus]] = {
    "festvox-ru": _festvox_ru,
    **{f"asterisk-{language}": partial(_asterisk, language) for language in ("en", "fr", "es", "it", "ru")},
    "fillets-cs": _fillets_cs,
    "sonic-pi-samples": _sonic_pi,
    "hydrogen-drumkits": _hydrogen,
    "singularity-music": _singularity,
    "wesnoth-music": _wesnoth,
    "scores": _scores,
}
# layout, source and license of corpora that the user has; the licenses are those stated in the corpora's own READMEs
LAYOUTS: dict[str, tuple[Callable[[Path], list[Recording]], str, str]] = {
    "ljspeech": (recordings.ljspeech, "LJSpeech", "public domain"),
    "vctk": (recordings.vctk, "VCTK", "CC-BY-4.0"),
    "folder": (recordings.folder, "the user's folder", "not stated"),
    "music": (music.folder, "the user's folder", "not stated"),
}
NAMES = (*PACKAGED, "hibari", *(f"{layout}:PATH" for layout in LAYOUTS))


def plan(name: str, clips: int = DEFAULT_CLIPS) -> Plan:
    """What preparing `name` means.

    Raises:
        UserError: there is no such corpus, or PATH is missing or no folder.
    """
    kind, _, path = name.partition(":")
    if name in PACKAGED:
        return Plan(name, {"corpus": name}, PACKAGED[name])
    if name == "hibari":
        return Plan(name, {"corpus": name, "texts": _hash(synthetic.texts(clips))}, partial(_hibari, clips))
    if kind not in LAYOUTS or not path:
        raise UserError(name, "is not a corpus", f"choose among {', '.join(NAMES)}")
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise UserError(root, "no such folder", f"give {kind}: the path of the corpus")
    layout, source, license = LAYOUTS[kind]
    made_from = {"corpus": kind, "path": str(root), "files": _hash(_listing(root))}
    name = recordings.readable(root.name or "root")
    label = name if kind == "folder" else kind
    return Plan(label, made_from, lambda downloads: Corpus(layout(root), f"{source}, {name}", license))


def default_folder(root: str | Path) -> Path:
    """Where a user's folder is prepared: below `data/`, under its name, or if that holds anything else under one more.

    Prepared there, it shares its manifest with nothing.
    """
    root = Path(root).expanduser().resolve()
    place = Path("data") / (root.name or "root")
    # In this order, since another process may be preparing there: its record comes before its first clip.
    anything = any(not found.name.startswith(".") and found.is_file() for found in place.rglob("*"))
    labels = {file.parent.name for file in place.glob(f"*/{RECORD}")}
    origins = {_origin(place, label) for label in labels}
    taken = labels - {"music"} or origins not in (set(), {str(root)}) or (anything and not origins)
    return place.with_name(f"{place.name}-{_hash([str(root)])[:8]}") if taken else place


def prepare(
    names: Sequence[str],
    out: str | Path,
    split_by: str | None = None,
    clips: int = DEFAULT_CLIPS,
    report: Callable[[UserError], None] = lambda error: None,
) -> Manifest:
    """Prepare corpora below `out`, beside those that are there, and audit them all.

    Args:
        names: of `NAMES`.
        out: folder of the manifest.
        split_by: "clip" or "speaker" (whole speakers); None keeps what the manifest there has, else "clip".
        clips: number of synthetic utterances of `hibari`.
        report: called for every file that is left out, now or earlier, except on purpose by a packaged corpus.

    Raises:
        UserError: an unknown name, a missing folder, a package that cannot be had, a corpus without usable clips.
    """
    out = Path(out)
    if split_by not in (None, *manifests.SPLIT_BY):
        raise UserError("--split-by", f"is {split_by!r}", f"choose {' or '.join(manifests.SPLIT_BY)}")
    plans = [plan(name, clips) for name in names]
    _check_places(plans, out)
    with folder_lock(out, wait=True):
        _check_places(plans, out)  # another process may have prepared there until now
        manifest = _prepare(plans, out, split_by)
    for wanted in plans:
        for kind, entries in _left_out(wanted.label, out).items():
            if kind == "unreadable" or "path" in wanted.made_from:
                for subject, problem in entries:
                    report(UserError(subject, problem))
    return manifest


def _prepare(plans: Sequence[Plan], out: Path, split_by: str | None) -> Manifest:
    old = Manifest.load(out) if (out / manifests.NAME).exists() else Manifest((), out)
    split_by = split_by or old.split_by
    manifest = Manifest(assign_splits(old.clips, split_by), out, split_by)
    for wanted in plans:
        if not _is_done(wanted, manifest):
            others = [clip for clip in manifest.clips if not clip.id.startswith(f"{wanted.label}/")]
            made, rest = _prepare_corpus(wanted, out)
            manifest = Manifest(assign_splits([*others, *made], split_by), out, split_by)
            manifest.save()
            _write_record(wanted, out, {"version": VERSION} | rest)
    if manifest != old:
        manifest.save()
    if not Audit.matches(manifest):
        audit(manifest, _all_left_out(manifest)).save(out)
    return manifest


def _prepare_corpus(wanted: Plan, out: Path) -> tuple[list[Clip], dict]:
    """The clips of a corpus; whom to name for it, and per kind of finding what was left out: (its name, why)."""
    corpus = wanted.open(out / ".downloads")
    clips: list[Clip] = []
    left_out: dict[str, list] = {"unreadable": [], "left out": []}
    for recording in tqdm(corpus.recordings, desc=wanted.label, unit="clip"):
        name = f"{wanted.label}/{recording.key}"
        unsafe = not is_safe_relative_path(recording.key)
        if remark := recording.remark or unsafe * "its name leads out of the folder":
            left_out["left out"].append((name, remark))
            continue
        target = out / _file_of(name)
        audio = _made_before(recording, target)
        if audio is None:
            try:
                audio = recording.read()
            except Exception as error:  # of any decoder: the other files are prepared
                problem = error.problem if isinstance(error, UserError) else f"cannot be read ({first_line(error)})"
                left_out["unreadable"].append((name, problem))
                continue
            if reason := _unfit(audio, SHORTEST_STROKE_SECONDS if recording.label else SHORTEST_SECONDS):
                left_out["left out"].append((name, reason))
                continue
            if not clips and not _record(out, wanted.label):
                _write_record(wanted, out, {})  # whose the folder is, should this be interrupted
            write(target, resample_for_flac(audio))
            if recording.stamp is not None:
                os.utime(target, ns=(recording.stamp, recording.stamp))
            audio = music.stereo(target)
        clips.append(_clip(name, recording, audio, wanted.label, corpus))
    if not clips:
        why = next((f"; the first: {reason}" for found in left_out.values() for _, reason in found), "")
        raise UserError(wanted.label, f"none of its {len(corpus.recordings)} recordings can be used{why}")
    if corpus.copyright is not None:
        shutil.copyfile(corpus.copyright, out / wanted.label / "copyright")
    shutil.rmtree(out / ".downloads", ignore_errors=True)
    return clips, {"attribution": corpus.attribution, "left_out": left_out}


def _file_of(name: str) -> str:
    """Where the clip of a name lies, relative to the manifest."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{short_name(last, len('.flac'))}.flac"


def _made_before(recording: Recording, target: Path) -> Audio | None:
    """What an earlier run made of the same file, if that is whole."""
    if not os.path.exists(target) or recording.stamp not in (None, target.stat().st_mtime_ns):
        return None
    try:
        return music.stereo(target)
    except UserError:
        return None


def _unfit(audio: Audio, shortest: float) -> str:
    """Why a recording is left out, "" if it is not."""
    if audio.seconds < shortest:
        return f"{audio.seconds:.3f} s, shorter than {shortest} s"
    level = measure(audio.samples.numpy(), audio.sample_rate).rms_dbfs
    return f"silent, {level:.0f} dBFS" if level < SILENT_DBFS else ""


def _clip(name: str, recording: Recording, audio: Audio, label: str, corpus: Corpus) -> Clip:
    return Clip(
        id=name,
        path=_file_of(name),
        seconds=audio.seconds,
        sample_rate=audio.sample_rate,
        text=recording.text,
        speaker=f"{label}/{recording.speaker}" if recording.speaker else label,
        license=recording.license or corpus.license,
        source=corpus.source,
        synthetic=corpus.synthetic,
        content=hashlib.sha256(audio.samples.numpy().tobytes()).hexdigest()[:16],
        label=recording.label,
        tempo=recording.tempo,
        piece=f"{label}/{recording.piece}" if recording.piece else "",
        channels=len(audio.samples),
    )


def attribution(manifest: Manifest, label: str) -> str:
    """Whom a prepared corpus' own papers name, in their words; "" where they name nobody."""
    return _record(manifest.root, label).get("attribution", "")


def _record(out: Path, label: str) -> dict:
    """What corpus.json says; empty where it is missing or damaged, since it only saves work."""
    try:
        record = json.loads((out / label / RECORD).read_text(encoding="utf-8", errors="surrogateescape"))
        left_out = [entry for kind in ("unreadable", "left out") for entry in record.get("left_out", {}).get(kind, [])]
        texts = [record.get("attribution", ""), *record.get("made_from", {}).values()]
        texts += [text for subject, problem in left_out for text in (subject, problem)]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return record if all(isinstance(text, str) for text in texts) else {}


def _origin(out: Path, label: str) -> str | None:
    """The folder that a corpus was made from; None where there was none, or it is not known."""
    return _record(out, label).get("made_from", {}).get("path")


def _write_record(wanted: Plan, out: Path, rest: dict) -> None:
    record = {"made_from": wanted.made_from} | rest
    write_text(out / wanted.label / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _is_done(wanted: Plan, manifest: Manifest) -> bool:
    record = _record(manifest.root, wanted.label)
    clips = [clip for clip in manifest.clips if clip.id.startswith(f"{wanted.label}/")]
    unchanged = record.get("version") == VERSION and record.get("made_from") == wanted.made_from
    return unchanged and bool(clips) and all(manifest.path(clip).exists() for clip in clips)


def _all_left_out(manifest: Manifest) -> dict[str, list]:
    labels = sorted({clip.id.split("/")[0] for clip in manifest.clips})
    each = [_left_out(label, manifest.root) for label in labels]
    return {kind: [entry for one in each for entry in one[kind]] for kind in ("unreadable", "left out")}


def _left_out(label: str, out: Path) -> dict[str, list]:
    found = _record(out, label).get("left_out", {})
    return {kind: found.get(kind, []) for kind in ("unreadable", "left out")}


def _check_places(plans: Iterable[Plan], out: Path) -> None:
    """Refuse folders of one name from two places, and an output that would become its own input."""
    paths: dict[str, str | None] = {}
    for wanted in plans:
        path = wanted.made_from.get("path")
        if path is not None and out.resolve().is_relative_to(path):
            raise UserError(out, f"lies within {path}, which it is made from", "choose another --out")
        before = paths.setdefault(wanted.label, _origin(out, wanted.label) or path)
        if before != path:
            raise UserError(path, f"has the same name as {before}, prepared in {out}", "choose another --out")


def _listing(root: Path) -> list:
    """Every file below `root` that could matter: its name, size and time of modification."""
    files = [path for path in files_below(root, {*EXTENSIONS, ".txt", ".csv"}) if path.is_file()]
    return [(path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _hash(value: list) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
