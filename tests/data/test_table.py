"""metadata.csv and labels.csv as people, spreadsheets and other programs write them."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audiodiff.data import annotation
from audiodiff.data.annotation import Annotation
from audiodiff.data.table import Table
from audiodiff.data.transcripts import Transcript, Transcripts
from audiodiff.errors import UserError

NAMES = [f"LJ001-000{number}" for number in range(1, 4)]
TEXTS = ['In fourteen "fifty-five"', "Dr. One, or two", "No; three"]


@pytest.fixture
def files(tmp_path):
    return {name: tmp_path / "wavs" / f"{name}.wav" for name in NAMES}


def written(folder: Path, *lines: str, name: str = "metadata.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_text("\n".join(lines), encoding=encoding)
    return folder / name


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


WAYS = {
    "plain": [f"{n}|{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "as LJSpeech": [f"{n}|{t[3:]}|{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "one not normalized": [
        f"{NAMES[0]}|{TEXTS[0]}|",
        *(f"{n}|{t[3:]}|{t}" for n, t in zip(NAMES[1:], TEXTS[1:], strict=True)),
    ],
    "with suffixes": [f"{n}.wav|{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with another suffix": [f"{n}.flac|{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with folders": [f"wavs/{n}.wav|{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with folders, without suffixes": [f"./wavs/{n}|{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with somebody's folders": [f"C:\\data\\wavs\\{n}.wav|{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with absolute folders": [f"/home/me/wavs/{n}.wav|{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with tabs": [f"{n}\t{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with semicolons": [f"{n};{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with semicolons, quoted": [f"{n};{quoted(t)}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with commas, quoted": [f"{n},{quoted(t)}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with commas": [f"{n},{t}" for n, t in zip(NAMES, TEXTS, strict=True)],
    "with a heading": ["file_name,transcription", *(f"{n}.wav,{quoted(t)}" for n, t in zip(NAMES, TEXTS, strict=True))],
    "for speech recognition": [
        "wav_filename,wav_filesize,transcript",
        *(f"wavs/{n}.wav,100,{quoted(t)}" for n, t in zip(NAMES, TEXTS, strict=True)),
    ],
    "names second": ["id\tpath\tsentence", *(f"7\t{n}.wav\t{t}" for n, t in zip(NAMES, TEXTS, strict=True))],
    "with empty lines": ["", *(f"{n}|{t}\n\n" for n, t in zip(NAMES, TEXTS, strict=True)), "||"],
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("lines", WAYS.values(), ids=WAYS)
def test_every_way_of_writing_texts(tmp_path, files, lines, encoding, caplog):
    caplog.set_level("INFO")
    found = Transcripts.read(written(tmp_path, *lines, encoding=encoding), files)
    assert {key: one.text for key, one in found.by_key.items()} == dict(zip(NAMES, TEXTS, strict=True))
    assert not found.unmatched
    assert caplog.messages == ["metadata.csv: 3 of 3 lines match 3 of 3 recordings"]


SPEAKERS = {
    "second": [f"{n}|{s}|{t}" for n, s, t in zip(NAMES, "aab", TEXTS, strict=True)],
    "last": [f"{n}|{t}|{s}" for n, s, t in zip(NAMES, "aab", TEXTS, strict=True)],
    "last, after both texts": [f"{n}|{t[3:]}|{t}|{s}" for n, s, t in zip(NAMES, "aab", TEXTS, strict=True)],
    "second, before both texts": [f"{n}|{s}|{t[3:]}|{t}" for n, s, t in zip(NAMES, "aab", TEXTS, strict=True)],
    "before a language": [f"{n}|{s}|en|{t}" for n, s, t in zip(NAMES, "aab", TEXTS, strict=True)],
    "after lengths": [f"{n}|{t}|1.25|{s}" for n, s, t in zip(NAMES, "aab", TEXTS, strict=True)],
    "with semicolons": [f"wavs/{n}.wav;{s};{quoted(t)}" for n, s, t in zip(NAMES, "aab", TEXTS, strict=True)],
    "named": [
        "speaker_name\tfile\tnormalized_text\ttext",
        *(f"{s}\t{n}\t{t}\tx" for n, s, t in zip(NAMES, "aab", TEXTS, strict=True)),
    ],
}


@pytest.mark.parametrize("lines", SPEAKERS.values(), ids=SPEAKERS)
def test_a_column_of_speakers_is_not_a_text(tmp_path, files, lines):
    found = Transcripts.read(written(tmp_path, *lines), files).by_key
    assert [found[name] for name in NAMES] == [Transcript(t, s) for s, t in zip("aab", TEXTS, strict=True)]


def test_single_words_are_texts_where_there_is_nothing_else(tmp_path, files):
    found = Transcripts.read(written(tmp_path, *(f"{name}|1|one" for name in NAMES)), files).by_key
    assert set(found.values()) == {Transcript("one")}


@pytest.mark.parametrize("mark", [",", "|"])
def test_labels_that_equal_names_of_recordings(tmp_path, mark):
    files = {name: tmp_path / f"{name}.wav" for name in ("kick", "snare")}
    lines = [f"kick.wav{mark}kick", f"snare.wav{mark}snare", f"old.wav{mark}kick"]
    with pytest.warns(UserWarning, match=r"line 3 names 'old\.wav', which is no audio there"):
        found = annotation.read_labels(written(tmp_path, *lines, name="labels.csv"), files)
    assert found == {"kick": Annotation(("kick",)), "snare": Annotation(("snare",))}


def test_names_match_with_and_without_folders_and_suffixes(tmp_path):
    composed, split = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    places = ("a.mp3", "a.wav", "x/b.wav", "y/b.wav", "y/c.wav", f"{split}.wav", "v1.mix.wav", "Dr. No.wav")
    files = {name.rpartition(".")[0]: tmp_path / name for name in places} | {"a_wav": tmp_path / "a.wav"}
    files["a"] = tmp_path / "a.mp3"
    names = ["a.wav", "a.mp3", "x/b", "b", "c.flac", f"{composed}.wav", "v1.mix", "Dr. No", "z/y/c.wav", "z/b", "d"]
    with pytest.warns(UserWarning, match=r"line 10 names 'z/b', which is no audio there \(2 such lines are left out\)"):
        table = Table.read(written(tmp_path, *(f"{name}|text" for name in names)), files, "")
        table.report()
    assert [line.keys for line in table.lines] == [
        *(["a_wav"], ["a"], ["x/b"], ["x/b", "y/b"], ["y/c"], [split], ["v1.mix"], ["Dr. No"], ["y/c"], [], [])
    ]


LABELS = {
    "commas": ["LJ001-0001,kick,120 bpm", "LJ001-0002.wav,a b,A minor"],
    "semicolons": ["LJ001-0001;kick;120 bpm", "wavs/LJ001-0002;a b;A minor;;"],
    "tabs": ["LJ001-0001\tkick\t120 bpm", "LJ001-0002.wav\ta b\tA minor"],
    "bars": ["LJ001-0001|kick|120 bpm", "LJ001-0002.wav|a b|A minor"],
    "a heading": ["file;label;tempo", "LJ001-0001;kick;120 bpm", "LJ001-0002;a b;A minor"],
    "empty rows": [",,,", "LJ001-0001,kick,120 bpm", "", "LJ001-0002,,a b,A minor"],
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("lines", LABELS.values(), ids=LABELS)
def test_every_way_of_writing_labels(tmp_path, files, lines, encoding, caplog):
    caplog.set_level("INFO")
    found = annotation.read_labels(written(tmp_path, *lines, name="labels.csv", encoding=encoding), files)
    assert found == {NAMES[0]: Annotation(("kick",), 120.0), NAMES[1]: Annotation(("a b", "A minor"))}
    assert caplog.messages == ["labels.csv: 2 of 2 lines match 2 of 3 recordings"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([",kick"], "line 1: column 1 names no file; write `FILE,LABEL,...`"),
        (["LJ001-0001,x", ",kick"], "line 2: column 1 names no file"),
        ([";kick"], "line 1: column 1 names no file"),
        (["LJ001-0001,x", "", "LJ001-0002"], "line 3: has no label"),
        (
            ["song,x", "other,y"],
            "names none of the 3 recordings there (line 1: 'song'); it should hold lines `FILE,LABEL",
        ),
        (["LJ001-0001,999 bpm"], "line 1: has a tempo outside 20 to 400"),
    ],
)
def test_a_slip_is_one_line(tmp_path, files, lines, message):
    path = written(tmp_path, *lines, name="labels.csv")
    with pytest.raises(UserError, match=re.escape(f"labels.csv{', ' if 'line' in message[:4] else ': '}{message}")):
        annotation.read_labels(path, files)


def test_texts_of_other_encodings_are_one_line(tmp_path, files):
    with pytest.raises(UserError, match=r"metadata\.csv: cannot be read as UTF-8 .*; save it as UTF-8"):
        Transcripts.read(written(tmp_path, "LJ001-0001|text", encoding="utf-16"), files)
    with pytest.raises(UserError, match=r"folder: cannot be read as UTF-8"):
        (tmp_path / "folder").mkdir()
        Transcripts.read(tmp_path / "folder", files)


CELL = st.text() | st.sampled_from([*NAMES, "wavs/LJ001-0001.wav", "", '"', "120 bpm", "x" * 200_000, "..", "/", "\0"])
ROWS = st.lists(st.lists(CELL, max_size=5), max_size=5)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@example(rows=[["", "kick"]], delimiter=",", raw=b"")
@given(rows=ROWS, delimiter=st.sampled_from("|\t;,"), raw=st.binary(max_size=3))
@pytest.mark.filterwarnings("ignore:.*which is no audio there")
@pytest.mark.parametrize("read", [Transcripts.read, annotation.read_labels], ids=["metadata", "labels"])
def test_any_table_is_read_or_refused_in_one_line(tmp_path_factory, read, rows, delimiter, raw):
    folder = tmp_path_factory.getbasetemp()
    files = {name: folder / "wavs" / f"{name}.wav" for name in NAMES}
    path = folder / "table.csv"
    path.write_bytes(raw + "\n".join(map(delimiter.join, rows)).encode())
    try:
        found = read(path, files)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert set(found if isinstance(found, dict) else found.by_key) <= set(NAMES)
