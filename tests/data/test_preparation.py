import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from noise_files import sound
from tinytag import TinyTag

from audiodiff.audio.io import AudioFile, probe, read
from audiodiff.data import preparation
from audiodiff.data.audit import Audit
from audiodiff.data.corpora import folder as corpus_folder
from audiodiff.data.manifest import Manifest
from audiodiff.data.preparation import default_folder, prepare
from audiodiff.errors import UserError
from audiodiff.files import LOCK


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def no_decoding(monkeypatch):
    """Whatever decodes a source from now on fails the test."""

    monkeypatch.setattr(corpus_folder, "read", lambda *_: pytest.fail("a source was read again"))


def test_prepared_audio_is_the_source(ljspeech, tmp_path):
    manifest = prepare([f"ljspeech:{ljspeech}"], tmp_path / "out")
    for clip in manifest.clips:
        source = ljspeech / "wavs" / f"{clip.id.split('/')[1]}.wav"
        assert manifest.path(clip).suffix == ".flac"
        assert np.array_equal(read(manifest.path(clip)).samples, read(source).samples)
        assert clip.samples == probe(source).samples


def test_folder_with_texts_speakers_formats_and_faults(tmp_path):
    root = tmp_path / "mine"
    sound(root / "anna/one.wav", seed=1)
    (root / "anna/one.txt").write_text("eins\n", encoding="utf-8")
    sound(root / "anna/one.flac", seed=2)
    sound(root / "bert/two.ogg", rate=44100, channels=2, seed=3)
    sound(root / "three.mp3", rate=22050, seed=4)
    sound(root / "loose.WAV", seed=5, subtype="FLOAT")
    (root / "metadata.csv").write_text("three|drei\nbert/two|zwei\n", encoding="utf-8")
    sound(root / "short.wav", seconds=0.39)
    sound(root / "silent.wav", level=1e-5)
    (root / "text.wav").write_text("not audio")
    (root / "empty.flac").touch()
    sound(root / ".hidden.wav")
    sound(root / "anna/.hidden/z.wav")
    (root / "notes.md").write_text("not audio either")
    sound(root / "cut.flac", seconds=2)
    (root / "cut.flac").write_bytes((root / "cut.flac").read_bytes()[:9000])
    manifest = prepare([f"folder:{root}"], tmp_path / "out")
    assert {clip.id: (clip.speaker, clip.text, clip.sample_rate) for clip in manifest.clips} == {
        "mine/anna/one_flac": ("mine/anna", "eins", 16000),
        "mine/anna/one_wav": ("mine/anna", "eins", 16000),
        "mine/bert/two": ("mine/bert", "zwei", 44100),
        "mine/loose": ("mine", "", 16000),
        "mine/three": ("mine", "drei", 22050),
    }
    assert {clip.license for clip in manifest.clips} == {"not stated"}
    findings = Audit.load(tmp_path / "out").findings
    assert {name for name, _ in findings["unreadable"]} == {"mine/text", "mine/empty", "mine/cut"}
    assert dict(findings["left out"])["mine/short"] == "0.390 s, shorter than 0.4 s"
    assert dict(findings["left out"])["mine/silent"].startswith("silent")


def test_second_run_does_nothing(ljspeech, tmp_path, no_decoding, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.undo()
    first = prepare([f"ljspeech:{ljspeech}"], out)
    before = times(out)
    monkeypatch.setattr(corpus_folder, "read", None)
    monkeypatch.setattr(preparation, "read_stereo", None)
    monkeypatch.setattr(preparation, "audit", None)
    assert prepare([f"ljspeech:{ljspeech}"], out) == first
    assert times(out) == before


def test_an_interrupted_preparation_resumes(ljspeech, tmp_path, monkeypatch):
    out = tmp_path / "out"
    whole = prepare([f"ljspeech:{ljspeech}"], tmp_path / "whole")
    calls = []

    def interrupted(path, audio):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(path)
        real_write(path, audio)

    real_write = preparation.write
    monkeypatch.setattr(preparation, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare([f"ljspeech:{ljspeech}"], out)
    assert not (out / "manifest.jsonl").exists()
    kept = {path: path.stat().st_ino for path in out.rglob("*.flac")}
    assert len(kept) == 2
    monkeypatch.setattr(preparation, "write", real_write)
    assert prepare([f"ljspeech:{ljspeech}"], out).clips == whole.clips
    assert {path: path.stat().st_ino for path in kept} == kept  # atomic writing would have made new ones


def test_changed_sources_and_damaged_files_are_done_again(ljspeech, tmp_path):
    out = tmp_path / "out"
    name = f"ljspeech:{ljspeech}"
    first = prepare([name], out)
    kept = (out / "ljspeech/LJ001-0001.flac").stat().st_ino
    sound(ljspeech / "wavs/LJ001-0000.wav", rate=22050, seed=99)
    os.utime(ljspeech / "wavs/LJ001-0000.wav", ns=(1, 1))  # older than before, as after `cp -p`
    sound(ljspeech / "wavs/LJ001-0005.wav", rate=22050, seed=5)
    (out / "ljspeech/LJ001-0002.flac").write_bytes(b"fLaC")
    second = prepare([name], out)
    assert [c.content == d.content for c, d in zip(first.clips, second.clips, strict=False)] == [False, True, True]
    assert second.clips[-1].id == "ljspeech/LJ001-0005"
    assert (out / "ljspeech/LJ001-0001.flac").stat().st_ino == kept
    assert read(out / "ljspeech/LJ001-0002.flac").seconds == pytest.approx(0.6)
    (out / "ljspeech/LJ001-0001.flac").unlink()
    assert prepare([name], out) == second
    assert (out / "ljspeech/LJ001-0001.flac").exists()


def test_one_manifest_over_all_corpora_and_duplicates_on_one_side(ljspeech, tmp_path, no_decoding, monkeypatch):
    monkeypatch.undo()
    out, copies = tmp_path / "out", tmp_path / "copies"
    for number in range(40):
        sound(copies / f"{number}.wav", rate=22050, seed=number)
    alone = prepare([f"ljspeech:{ljspeech}"], out)
    both = prepare([f"folder:{copies}"], out)
    assert Manifest.load(out) == both
    assert len(both) == 43
    split = {clip.id: clip.split for clip in both.clips}
    for number in range(3):
        assert split[f"ljspeech/LJ001-000{number}"] == split[f"copies/{number}"]
    assert len(Audit.load(out).findings["duplicates"]) == 3
    assert {clip.id for clip in alone.clips} < set(split)
    again = prepare([f"folder:{copies}", f"ljspeech:{ljspeech}"], tmp_path / "other order")
    assert again.clips == both.clips


def test_split_by_is_kept_and_can_be_changed(tmp_path):
    root, out = tmp_path / "voices", tmp_path / "out"
    for speaker in range(12):
        for number in range(4):
            sound(root / f"s{speaker}/{number}.wav", seconds=0.45, seed=10 * speaker + number)
    sound(tmp_path / "more/a.wav", seed=999)
    by_speaker = prepare([f"folder:{root}"], out, split_by="speaker")
    sides = {s: {c.split for c in by_speaker.clips if c.speaker == s} for s in {c.speaker for c in by_speaker.clips}}
    assert len(sides) == 12
    assert all(len(found) == 1 for found in sides.values())
    assert prepare([f"folder:{tmp_path / 'more'}"], out).split_by == "speaker"
    by_clip = prepare([f"folder:{root}"], out, split_by="clip")
    assert {clip.id: clip.split for clip in by_clip.clips} != {clip.id: clip.split for clip in by_speaker.clips}
    assert Manifest.load(out).split_by == "clip"


def test_refusals(tmp_path, ljspeech):
    def refused(*names, out=tmp_path / "out", **options):
        with pytest.raises(UserError) as error:
            prepare(names, out, **options)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "out").exists()
        return str(error.value)

    assert "asterisk-en" in refused("asterisk-xx")
    assert "folder:PATH" in refused("folder")
    assert "folder:PATH" in refused("folder:")
    assert "no such folder" in refused(f"ljspeech:{tmp_path / 'nowhere'}")
    assert "no folder wavs/" in refused(f"ljspeech:{tmp_path}", out=tmp_path.parent / "elsewhere")
    assert "lies within" in refused(f"folder:{ljspeech}", out=ljspeech / "prepared")
    assert "--split-by" in refused(f"ljspeech:{ljspeech}", split_by="moon")
    (tmp_path / "none").mkdir()
    assert "holds no audio" in refused(f"folder:{tmp_path / 'none'}")
    assert "no folder wav48_silence_trimmed/" in refused(f"vctk:{tmp_path / 'none'}")
    (ljspeech / "metadata.csv").write_text("LJ001-0000 no bar\n")
    assert "names none of the 3 recordings there (line 1: " in refused(f"ljspeech:{ljspeech}")
    (ljspeech / "metadata.csv").write_text("LJ001-0000|text\nLJ001-0001\n")
    assert "metadata.csv, line 2: has no text; write `NAME|TEXT`" in refused(f"ljspeech:{ljspeech}")
    (ljspeech / "metadata.csv").unlink()
    assert "metadata.csv: no such file" in refused(f"ljspeech:{ljspeech}")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.wav").write_text("text")
    assert "none of its 1 recordings can be used" in refused(f"folder:{tmp_path / 'bad'}")


def test_two_folders_of_one_name(tmp_path):
    for side in "ab":
        sound(tmp_path / side / "takes/x.wav")
    prepare([f"folder:{tmp_path / 'a/takes'}"], tmp_path / "out")
    with pytest.raises(UserError, match="has the same name as"):
        prepare([f"folder:{tmp_path / 'b/takes'}"], tmp_path / "out")


def test_an_output_below_a_file(tmp_path, ljspeech):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        prepare([f"ljspeech:{ljspeech}"], tmp_path / "file/out")


DAMAGE = {
    "cut": b'{"version": 2, "made_fr',
    "no text": b"\xff\xfe\x00",
    "zeros": bytes(100),
    "a list": b"[]",
    "a number": b"3",
    "deep": b"[" * 100_000,
    "another version": b'{"version": 0}',
    "other types": b'{"version": 2, "made_from": [], "left_out": {"unreadable": [1]}, "attribution": 3}',
    "no pairs": b'{"version": 2, "left_out": {"unreadable": [["a"]]}}',
    "no places": b'{"made_from": {"path": ["a"]}}',
    "no entries": b'{"left_out": {"unreadable": null}}',
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A corpus of one clip and its manifest."""
    root = tmp_path_factory.mktemp("damaged")
    sound(root / "in/mine/a.wav")
    return root / "in/mine", prepare([f"folder:{root / 'in/mine'}"], root / "out")


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_records_only_cost_work(prepared, damage):
    root, first = prepared
    for name in ("mine/corpus.json", "audit.json"):
        (first.root / name).write_bytes(damage)
    assert preparation.attribution(first, "mine") == ""
    assert prepare([f"folder:{root}"], first.root) == first
    assert Audit.matches(first) and str(Audit.load(first.root))


@pytest.mark.parametrize("change", [{"findings": 3}, {"findings": {"dc": [1]}}, {"corpora": {"mine": {"hours": "x"}}}])
def test_an_audit_of_the_right_hash_may_be_damaged_too(prepared, change):
    root, first = prepared
    found = json.loads((first.root / "audit.json").read_text())
    for name, value in change.get("corpora", {}).items():
        value.update(found["corpora"][name] | value)
    (first.root / "audit.json").write_text(json.dumps(found | change))
    assert not Audit.matches(first)
    prepare([f"folder:{root}"], first.root)
    assert json.loads((first.root / "audit.json").read_text()) == found


def test_names_that_lead_out_of_the_folder_are_left_out(ljspeech, tmp_path):
    sound(ljspeech / "victim.wav")
    with (ljspeech / "metadata.csv").open("a") as table:
        table.write("../victim|text\n/etc/passwd|text\na\0b|text\n")
    manifest = prepare([f"ljspeech:{ljspeech}"], tmp_path / "out")
    assert len(manifest) == 3 and not (tmp_path / "out/victim.flac").exists()
    left_out = dict(Audit.load(tmp_path / "out").findings["left out"])
    assert left_out == dict.fromkeys(
        ("ljspeech/../victim", "ljspeech//etc/passwd", "ljspeech/a\0b"), "its name leads out of the folder"
    )


def test_unreadable_text_files(tmp_path, monkeypatch):
    root = tmp_path / "mine"
    for number, name in enumerate(("kick.wav", "x" * 252 + ".au", "locked.wav", "told.wav")):
        sound(root / name, seed=number)
    (root / "kick.txt").mkdir()
    (root / "locked.txt").write_text("secret")
    (root / "told.txt").write_text("told")
    real = Path.read_text

    def refused(path, *args, **kwargs):
        if path.name == "locked.txt":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refused)
    lines = []
    manifest = prepare([f"folder:{root}"], tmp_path / "out", report=lines.append)
    assert sorted(clip.text for clip in manifest.clips) == ["", "", "told"]
    assert [str(line) for line in lines] == ["mine/locked: its text locked.txt cannot be read (Permission denied)"]


@pytest.mark.parametrize("kind", ["folder", "music"])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd\nfile"), struct.error("short"), IndexError()])
def test_a_failing_decoder_does_not_stop_the_other_files(tmp_path, monkeypatch, kind, error):
    for number, name in enumerate("ab"):
        sound(tmp_path / f"in/{name}.wav", seed=number)

    def failing(real):
        def opened(*arguments):
            if Path(arguments[-1]).name == "a.wav":
                raise error
            return real(*arguments)

        return opened

    monkeypatch.setattr(AudioFile, "__init__", failing(AudioFile.__init__))
    monkeypatch.setattr(TinyTag, "get", failing(TinyTag.get))
    lines = []
    manifest = prepare([f"{kind}:{tmp_path / 'in'}"], tmp_path / "out", report=lines.append)
    assert len(manifest) == 1 and len(lines) == 1
    assert lines[0].problem == f"cannot be read ({str(error).partition(chr(10))[0] or type(error).__name__})"


def test_truncated_recordings_with_a_text_are_left_out(tmp_path):
    for number, name in enumerate(("told", "untold")):
        sound(tmp_path / f"in/{name}.ogg", seconds=20, seed=number)
        content = (tmp_path / f"in/{name}.ogg").read_bytes()
        (tmp_path / f"in/{name}.ogg").write_bytes(content[: content.rindex(b"OggS")])
    (tmp_path / "in/told.txt").write_text("what is said")
    lines = []
    with pytest.warns(UserWarning, match="may have been cut off"):
        manifest = prepare([f"folder:{tmp_path / 'in'}"], tmp_path / "out", report=lines.append)
    assert [clip.id for clip in manifest.clips] == ["in/untold"]
    assert [line.subject for line in lines] == ["in/told"]
    assert lines[0].problem.endswith("it may have been cut off, while its text is whole")


def test_names_in_a_table_that_no_file_can_have_are_left_out(ljspeech, tmp_path):
    names = ["x" * 300, f"{'x' * 300}/a"]
    with (ljspeech / "metadata.csv").open("a") as file:
        file.writelines(f"{name}|text\n" for name in names)
    lines = []
    assert len(prepare([f"ljspeech:{ljspeech}"], tmp_path / "out", report=lines.append)) == 3
    assert {line.subject for line in lines} == {"ljspeech/LJ001-0009", *(f"ljspeech/{name}" for name in names)}


def test_names_as_long_as_names_can_be(tmp_path):
    folder = tmp_path / "mine" / ("a" * 255) / ("い" * 80)
    for name in ("x" * 251, "x" * 250 + "y", "あ" * 83):
        sound(folder / f"{name}.wav", seed=len(name.encode()))
    manifest = prepare([f"folder:{tmp_path / 'mine'}"], tmp_path / "out")
    assert len({clip.path for clip in manifest.clips}) == 3 and all(manifest.path(c).exists() for c in manifest.clips)
    before = times(tmp_path / "out")
    assert prepare([f"folder:{tmp_path / 'mine'}"], tmp_path / "out") == manifest and times(tmp_path / "out") == before


def test_a_folder_whose_name_is_not_utf8(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    sound(tmp_path / "there/a.wav")
    shutil.copytree(tmp_path / "there", folder)
    manifest = prepare([f"folder:{folder}"], tmp_path / "out", split_by="speaker")
    assert [(clip.id, clip.speaker) for clip in manifest.clips] == [("caf?/a", "caf?")]
    monkeypatch.setattr(corpus_folder, "read", None)
    assert prepare([f"folder:{folder}"], tmp_path / "out") == manifest == Manifest.load(tmp_path / "out")


HELD = """
import sys
from audiodiff.data import preparation
inner = preparation._prepare_corpus
def held(*arguments):
    print("ready", flush=True)
    input()
    return inner(*arguments)
preparation._prepare_corpus = held
preparation.prepare([sys.argv[1]], sys.argv[2])
"""


def test_two_processes_prepare_into_one_folder_and_lose_nothing(tmp_path):
    for name in "ab":
        for number in range(3):
            sound(tmp_path / name / f"{number}.wav", seed=number + ord(name))
    code = "import sys\nfrom audiodiff.cli import main\nmain()"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)

    def process(*arguments):
        return subprocess.Popen([sys.executable, "-c", *arguments], text=True, **pipes)

    first = process(HELD, f"folder:{tmp_path / 'a'}", str(tmp_path / "out"))
    assert first.stdout.readline() == "ready\n"
    second = process(code, "prepare", f"folder:{tmp_path / 'b'}", "--out", str(tmp_path / "out"))
    assert f"waiting for process {first.pid} " in second.stderr.readline()
    first.communicate("\n")
    told, _ = second.communicate()
    assert (first.returncode, second.returncode) == (0, 0) and "6 clips" in told
    manifest = Manifest.load(tmp_path / "out")
    assert [clip.id for clip in manifest.clips] == [f"{name}/{number}" for name in "ab" for number in range(3)]
    assert Audit.matches(manifest) and not (tmp_path / "out" / LOCK).exists()


def test_prepared_data_in_a_read_only_folder(ljspeech, tmp_path, no_decoding, monkeypatch):
    monkeypatch.undo()
    first = prepare([f"ljspeech:{ljspeech}"], tmp_path / "out")
    before = times(tmp_path / "out")

    def refused(path, *_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert prepare([f"ljspeech:{ljspeech}"], tmp_path / "out") == first and times(tmp_path / "out") == before


def test_an_interrupted_preparation_resumes_in_its_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root, place = tmp_path / "songs", default_folder(tmp_path / "songs")
    for number in range(3):
        sound(root / f"{number}.wav", seed=number)

    def interrupted(path, audio):
        assert default_folder(root) == place  # as another process finds it
        real_write(path, audio)
        if len(list(place.rglob("*.flac"))) == 2:
            raise KeyboardInterrupt

    real_write = preparation.write
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(preparation, "write", interrupted)
        prepare([f"music:{root}"], place)
    assert default_folder(root) == place and default_folder(tmp_path / "elsewhere/songs") != place
    assert len(prepare([f"music:{root}"], place)) == 3


def test_two_folders_of_one_name_are_prepared_in_two_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = tmp_path / "x/songs", tmp_path / "y/songs"
    for root in (first, second):
        sound(root / "a.wav")
    assert default_folder(first) == default_folder(second) == Path("data/songs")
    prepare([f"music:{first}"], default_folder(first))
    assert default_folder(first) == Path("data/songs") != default_folder(second)
    assert default_folder(second).parent == Path("data") and default_folder(second) == default_folder(second)
    prepare([f"music:{second}"], default_folder(second))
    prepare([f"folder:{tmp_path / 'x'}"], Path("data/songs"))  # not of this folder alone any more
    assert default_folder(first) not in (Path("data/songs"), default_folder(second))
    sound(tmp_path / "speech/a.wav")
    prepare([f"folder:{tmp_path / 'speech'}"], Path("data/speech"))  # the same folder, as speech
    assert default_folder(tmp_path / "speech") != Path("data/speech")
    (tmp_path / "data/other").mkdir()
    (tmp_path / "data/other/mine").touch()
    assert default_folder(tmp_path / "z/other") != Path("data/other")


def test_unusable_files_are_reported_and_the_others_prepared(tmp_path):
    """A file that is no audio, a link to nothing, and a table that is somebody else's; names that are no UTF-8 are."""
    songs = tmp_path / "songs"
    sound(songs / "a.wav")
    for number, name in enumerate((b"na\xefve.wav", b"na\xeeve.wav", b"na\xedve.wav"), 1):
        sound(songs / "new.wav", seed=number)
        (songs / "new.wav").rename(songs / os.fsdecode(name))
    (songs / "b.m4a").write_bytes(b"something")
    (songs / "c.flac").symlink_to(songs / "gone.flac")
    (songs / "metadata.csv").write_text("no bar in here\n")
    for kind, label in (("music", "music"), ("folder", "songs")):
        if kind == "folder":
            (songs / "metadata.csv").unlink()
        lines = []
        manifest = prepare([f"{kind}:{songs}"], tmp_path / kind, report=lines.append)
        ids = [clip.id for clip in manifest.clips]
        assert (
            len(set(ids)) == 4
            and ids[0] == f"{label}/a"
            and all(id.startswith(f"{label}/na?ve_wav-") for id in ids[1:])
        )
        assert len({clip.content for clip in manifest.clips}) == 4
        found = Audit.load(tmp_path / kind).findings
        assert [name for name, _ in found["unreadable"]] == [f"{label}/b"]
        assert found["left out"] == [[f"{label}/c", "is a link to nothing"]]
        assert [error.subject for error in lines] == [f"{label}/b", f"{label}/c"]


def test_a_folder_without_readable_files_names_the_first(tmp_path):
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs/b.m4a").write_bytes(b"something")
    with pytest.raises(UserError, match=r"none of its 1 recordings can be used; the first: is not readable audio"):
        prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
