"""Lines of text to files: each as the pipeline speaks it, whatever was there before."""

import json

import pytest
import torch

from audiodiff.audio import io
from audiodiff.audio.metadata import read_metadata
from audiodiff.cli import main
from audiodiff.errors import UserError
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.speech import Speech
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.rendering.lines import read_lines
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.sidecar import SettingsMismatch, sidecar_path
from audiodiff.rendering.speech import render_speech

TABLE = "text,name,speaker,rate,seed\nThe file is ready.,intro,bob,2,7\nGo.,,,,\nOne two.,sub/three,,,\n"


@pytest.fixture(scope="module")
def synthesizer(voice_folder, model_folder):
    return SpeechSynthesizer.from_pretrained(voice_folder, vocoder=model_folder)


@pytest.fixture
def speak(synthesizer, tmp_path):
    """`speak(content, out="out", **options)` -> (outcome, reported lines)."""

    def run(content=TABLE, out="out", name="table.csv", **options):
        reported, files = [], {key: options.pop(key) for key in ("overwrite", "format") if key in options}
        (tmp_path / name).write_text(content)
        lines = read_lines([tmp_path / name])
        options = SpeechOptions(**{"steps": 2} | options)
        outcome = render_speech(
            synthesizer, lines, tmp_path / out, options, reported.append, FileOptions(**files), quiet=True
        )
        return outcome, [str(error) for error in reported]

    return run


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.wav")}


def test_files_are_what_the_pipeline_says(speak, synthesizer, tmp_path):
    outcome, reported = speak()
    assert (outcome.written, outcome.failed, reported) == (3, 0, [])
    assert contents(tmp_path / "out").keys() == {"intro.wav", "0002.wav", "sub/three.wav"}
    expected = synthesizer.say("The file is ready.", speaker="bob", rate=2, seed=7, steps=2)
    found = io.read(tmp_path / "out/intro.wav").samples
    torch.testing.assert_close(found, expected.audio.samples.clamp(-1, 1), rtol=0, atol=1.01 / 32768)
    told = json.loads(sidecar_path(tmp_path / "out/intro.wav").read_text())
    assert (told["text"], told["speaker"], told["rate"], told["seed"]) == ("The file is ready.", "bob", 2, 7)
    assert [word[0] for word in told["words"]] == [word.text for word in expected.words]
    metadata = read_metadata(tmp_path / "out/intro.wav")
    assert metadata.pop("software").startswith("audiodiff ") and metadata.pop("command") == "audiodiff render"
    assert metadata.items() <= told.items() and metadata["speaker"] == "bob" and "device" not in metadata
    assert told["words"][-1][2] <= told["samples"] / told["sample_rate"] + 1e-3


def test_a_command_goes_on_where_it_was_stopped(speak, tmp_path, monkeypatch):
    speak(out="whole")
    stream, spoken = SpeechSynthesizer.stream, []

    def stopped(self, *arguments, **named):
        if len(spoken) == 2:
            raise KeyboardInterrupt
        spoken.append(arguments)
        return stream(self, *arguments, **named)

    monkeypatch.setattr(SpeechSynthesizer, "stream", stopped)
    with pytest.raises(KeyboardInterrupt):
        speak()
    monkeypatch.undo()
    outcome, _ = speak()
    assert (outcome.written, outcome.skipped) == (1, 2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_lines_do_not_depend_on_each_other(speak, tmp_path):
    speak()
    speak("name,text\nsub/three,One two.\n", out="alone")
    assert contents(tmp_path / "alone")["sub/three.wav"] == contents(tmp_path / "out")["sub/three.wav"]


def test_a_line_whose_text_changed_is_spoken_again(speak, tmp_path):
    speak("One.\nTwo.\n", name="a.txt")
    before = contents(tmp_path / "out")
    outcome, _ = speak("One.\nThree.\n", name="a.txt")
    after = contents(tmp_path / "out")
    assert (outcome.written, outcome.skipped) == (1, 1)
    assert before["0001.wav"] == after["0001.wav"] and before["0002.wav"] != after["0002.wav"]


def test_other_options_than_before_are_an_error(speak):
    speak("One.\n", name="a.txt")
    with pytest.raises(SettingsMismatch, match="rate"):
        speak("One.\n", name="a.txt", rate=2)
    assert speak("One.\n", name="a.txt", rate=2, overwrite=True)[0].written == 1


def test_a_line_without_sound_is_reported_and_the_others_are_spoken(speak, tmp_path):
    outcome, (line,) = speak("One.\n...\n🙂\nTwo.\n".replace("🙂\n", ""), name="a.txt")
    assert (outcome.written, outcome.failed) == (2, 1)
    assert "a.txt, line 2" in line and "\n" not in line
    assert contents(tmp_path / "out").keys() == {"0001.wav", "0003.wav"}
    assert not sidecar_path(tmp_path / "out/0002.wav").exists()


def test_an_unknown_speaker_in_the_last_line_stops_before_the_first(speak, tmp_path):
    with pytest.raises(UserError, match=r"line 3, speaker 'eve'.*ann, bob"):
        speak("text,speaker\nOne.,ann\nTwo.,eve\n")
    assert not (tmp_path / "out").exists()


def test_rows_have_their_references(synthesizer, reference_voice_folder, model_folder, reference_clips, tmp_path):
    imitator = SpeechSynthesizer.from_pretrained(reference_voice_folder, vocoder=model_folder)
    low, high = reference_clips
    (tmp_path / "a.csv").write_text(f"text,reference,seed\nOne.,{low},1\nTwo.,{high},1\nThree.,,1\n")
    lines, options, out = read_lines([tmp_path / "a.csv"]), SpeechOptions(steps=2), tmp_path / "out"
    outcome = render_speech(imitator, lines, out, options, pytest.fail, quiet=True)
    assert outcome.written == 3
    expected = imitator.say("Two.", options, reference=high, seed=1).audio.samples.clamp(-1, 1)
    torch.testing.assert_close(io.read(out / "0002.wav").samples, expected, rtol=0, atol=1.01 / 32768)
    one, two, three = (json.loads(sidecar_path(out / f"000{number}.wav").read_text()) for number in (1, 2, 3))
    assert len({one["reference"], two["reference"]}) == 2 and len(one["reference"]) == 64 and one["speaker"] is None
    assert three["reference"] is None and three["speaker"] == "ann"
    assert render_speech(imitator, lines, out, options, pytest.fail, quiet=True).skipped == 3
    with pytest.raises(UserError, match=r"a\.csv, line 2, reference: .*takes no reference"):
        render_speech(synthesizer, lines, tmp_path / "none", options, pytest.fail, quiet=True)


def test_long_lines_are_never_held_whole(speak, monkeypatch):
    monkeypatch.setattr(Speech, "join", None)
    assert speak("One. Two. Three.\n", name="a.txt")[0].written == 1


@pytest.fixture
def run(monkeypatch, capsys):
    def go(*words):
        monkeypatch.setattr("sys.argv", ["audiodiff", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code, out, err.strip().splitlines()

    return go


def test_the_verb_renders_texts_with_a_voice(run, voice_folder, model_folder, tmp_path):
    (tmp_path / "lines.txt").write_text("One.\nTwo.\n")
    (tmp_path / "words.csv").write_text("one,tˈu\n")
    words = ["render", tmp_path / "lines.txt", "--model", voice_folder, "--vocoder", model_folder, "--steps", 2]
    words += ["--out", tmp_path / "out", "--speaker", "bob"]
    assert run(*words)[:2] == (0, f"2 rendered, 0 skipped (exist): {tmp_path / 'out'}\n")
    assert run(*words)[1].startswith("0 rendered, 2 skipped")
    # A lexicon renews what was spoken without it.
    assert run(*words, "--lexicon", tmp_path / "words.csv")[1].startswith("2 rendered")


@pytest.mark.parametrize(
    ("model", "option", "words"),
    [
        ("voice", ["--consistency", 3], "a voice has no such option"),
        ("voice", ["--mel-spec", "hifigan_22k"], "a voice has no such option"),
        ("vocoder", ["--rate", 2], "a vocoder has no such option"),
        ("vocoder", ["--lexicon", "words.csv"], "a vocoder has no such option"),
    ],
)
def test_an_option_of_another_type_of_model_is_refused(run, voice_folder, model_folder, tmp_path, model, option, words):
    (tmp_path / "lines.txt").write_text("One.\n")
    folder = {"voice": voice_folder, "vocoder": model_folder}[model]
    status, _, (line,) = run("render", tmp_path / "lines.txt", "--model", folder, "--out", tmp_path / "out", *option)
    assert status == 1 and words in line and not (tmp_path / "out").exists()
