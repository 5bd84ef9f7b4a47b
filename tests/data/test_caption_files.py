from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise_files import sound

from audiodiff.data.caption_files import check_caption, read_captions
from audiodiff.data.corpora.registry import resolve
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError

FILES = {"rain": Path("rain.wav"), "drums/kick": Path("drums/kick.wav")}


def table(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    (folder / "captions.csv").write_text("\n".join(lines), encoding=encoding)
    return folder / "captions.csv"


@pytest.fixture
def files(tmp_path):
    return {key: tmp_path / path for key, path in FILES.items()}


@pytest.mark.parametrize(
    "lines",
    [
        ("file,caption", "rain.wav,soft rain, distant thunder", "drums/kick.wav,a kick drum"),
        ("rain,soft rain, distant thunder", 'kick,"a kick drum"'),
        ("name|description", "rain.wav|soft  rain, distant thunder ", "kick|a kick drum"),
        ("caption;file", "soft rain, distant thunder;rain.wav", "a kick drum;drums/kick.wav"),
    ],
)
def test_captions_as_people_write_them(tmp_path, files, lines):
    found = read_captions(table(tmp_path, *lines), files)
    assert found == {"rain": "soft rain, distant thunder", "drums/kick": "a kick drum"}


@pytest.mark.parametrize(
    ("lines", "encoding", "message"),
    [
        (("file,caption", "rain.wav,rain", "snow.wav,snow"), "utf-8", "line 3: names 'snow.wav', which is no audio"),
        (("file,caption", "rain.wav,", "kick,kick"), "utf-8", "line 2: has no caption"),
        (("rain.wav", "kick"), "utf-8", "line 1: has no caption"),
        (("file,loudness", "rain.wav,rain", "kick,kick"), "utf-8", "column 'loudness' is unknown"),
        (("file,caption,loudness", "rain.wav,rain,3", "kick,kick,4"), "utf-8", "column 'loudness' is unknown"),
        (("file,caption", "rain.wav,Fön"), "latin-1", "cannot be read as UTF-8"),
        (("file,caption", "rain.wav,a\x00b"), "utf-8", "line 2: has a caption with unprintable characters"),
        (("file,caption", "rain.wav," + "x" * 3000), "utf-8", "line 2: has a caption of 3000 letters"),
    ],
)
def test_mistakes_are_errors_of_one_line_that_say_what_to_write(tmp_path, files, lines, encoding, message):
    with pytest.raises(UserError) as error:
        read_captions(table(tmp_path, *lines, encoding=encoding), files)
    assert message in str(error.value) and "\n" not in str(error.value) and error.value.fix


@pytest.mark.parametrize("kind", ["ljspeech", "vctk"])
def test_captions_that_would_be_ignored_are_refused(tmp_path, kind):
    with pytest.raises(UserError, match=f"^--captions: does not apply to {kind}; leave it out or use folder:PATH$"):
        resolve(f"{kind}:{tmp_path}", captions=True)
    assert resolve(f"{kind}:{tmp_path}").label == kind
    table(tmp_path, "file,caption", "rain.wav,rain")
    with pytest.raises(UserError, match=rf"captions.csv: {kind} has no captions, .*folder:PATH") as error:
        resolve(f"{kind}:{tmp_path}")
    assert "\n" not in str(error.value)
    resolve(f"folder:{tmp_path}", captions=True)


@given(st.text())
def test_any_caption_is_one_printable_line_or_has_a_problem(text):
    caption, problem = check_caption(text)
    assert bool(caption) != bool(problem)
    assert caption.isprintable() and check_caption(caption) == (caption, problem) if caption else True


@pytest.fixture
def recordings(tmp_path):
    root = tmp_path / "mine"
    for number, name in enumerate(("rain", "drums/hh_closed_1", "xyzzy", "latin", "blank")):
        sound(root / f"{name}.wav", seconds=0.5, seed=number)
    (root / "rain.txt").write_text("Rain on\na tin roof\n", encoding="utf-8")
    (root / "latin.txt").write_bytes("Fön".encode("latin-1"))
    (root / "blank.txt").write_text("  \n")
    return root


@pytest.mark.parametrize("kind", ["folder", "music"])
def test_texts_and_names_are_captions_where_they_are_asked_for(recordings, tmp_path, kind):
    reported = []
    manifest = prepare([f"{kind}:{recordings}"], tmp_path / "out", report=reported.append, captions=True)
    found = {clip.id.partition("/")[2]: (clip.caption, clip.text) for clip in manifest.clips}
    assert found == {
        "rain": ("Rain on a tin roof", ""),
        "drums/hh_closed_1": ("closed drum hi-hat", ""),
        "xyzzy": ("", ""),
    }
    assert sorted(error.problem.partition(" (")[0] for error in reported) == [
        "its text blank.txt has no caption",
        "its text latin.txt cannot be read as UTF-8",
    ]
    parts = {clip.caption: clip.caption_parts for clip in manifest.clips}
    assert parts["Rain on a tin roof"] == () and parts["closed drum hi-hat"][0] == "adjective: closed"


def test_a_text_file_is_a_transcript_and_the_table_holds_captions_otherwise(recordings, tmp_path):
    table(recordings, "file,caption", "xyzzy.wav,a strange noise")
    manifest = prepare([f"folder:{recordings}"], tmp_path / "out")
    found = {clip.id.partition("/")[2]: clip for clip in manifest.clips}
    assert (found["rain"].text, found["rain"].caption) == ("Rain on\na tin roof", "")
    assert (found["xyzzy"].text, found["xyzzy"].caption) == ("", "a strange noise")
    table(recordings, "file,caption", "xyzzy.wav,another noise")
    changed = prepare([f"folder:{recordings}"], tmp_path / "out")
    assert {clip.caption for clip in changed.clips} == {"", "another noise"}
