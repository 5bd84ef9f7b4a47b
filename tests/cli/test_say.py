"""`audiodiff say` from end to end."""

import io as streams
import json
import weakref

import pytest
import torch

from audiodiff.audio import io
from audiodiff.audio.metadata import read_metadata
from audiodiff.audio.watermark import embed
from audiodiff.cli import main
from audiodiff.pipelines.speech import Speech, Transcript
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer

TEXT = "The file is ready. Go on, then."


@pytest.fixture
def say(monkeypatch, capsys, voice_folder, model_folder, tmp_path):
    """`say(arguments...)` -> (status, out, lines on stderr)."""

    def run(*arguments, out=tmp_path / "out.wav", vocoder=model_folder):
        words = ["audiodiff", "say", "--voice", voice_folder, "--vocoder", vocoder, "--steps", "2", *arguments]
        monkeypatch.setattr("sys.argv", [*map(str, words), "--out", str(out)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code, out, err.strip().splitlines()

    return run


@pytest.fixture
def synthesizer(voice_folder, model_folder):
    return SpeechSynthesizer.from_pretrained(voice_folder, vocoder=model_folder)


def test_a_text_is_written_as_the_pipeline_says_it(say, synthesizer, tmp_path):
    status, out, _ = say(TEXT, "--speaker", "bob", "--rate", "1.5", "--pitch", "2", "--energy", "-3", "--seed", "5")
    assert status == 0 and out.startswith(f"{tmp_path / 'out.wav'}: ") and "7 words" in out
    expected = synthesizer.say(TEXT, speaker="bob", rate=1.5, pitch=2, energy=-3, seed=5, steps=2).audio.samples
    torch.testing.assert_close(io.read(tmp_path / "out.wav").samples, expected.clamp(-1, 1), rtol=0, atol=1.01 / 32768)


def test_text_comes_from_files_and_standard_input_too(say, tmp_path, monkeypatch):
    say(TEXT, out=tmp_path / "argument.wav")
    (tmp_path / "text.txt").write_text(TEXT)
    say(tmp_path / "text.txt", out=tmp_path / "file.wav")
    monkeypatch.setattr("sys.stdin", streams.StringIO(TEXT))
    say("-", out=tmp_path / "stdin.wav")
    assert len({(tmp_path / f"{name}.wav").read_bytes() for name in ("argument", "file", "stdin")}) == 1


def test_times_are_written_beside(say, synthesizer, tmp_path):
    files = {name: tmp_path / "times" / f"a.{name}" for name in ("srt", "textgrid", "json")}
    assert say(TEXT, *(word for name, path in files.items() for word in (f"--{name}", path)))[0] == 0
    speech = synthesizer.say(TEXT, steps=2)
    assert files["srt"].read_text() == speech.to_srt()
    assert files["textgrid"].read_text() == speech.to_textgrid()
    assert json.loads(files["json"].read_text())["words"][0]["text"] == "The"


def test_samples_are_written_as_they_come(say, monkeypatch, tmp_path):
    """When the next sentence is synthesized, the samples of those before are in the file and no longer in memory."""
    spoken, sizes, alive = SpeechSynthesizer._speak, [], []

    def speak(self, *arguments):
        (file,) = tmp_path.glob(".*.wav") if alive else (tmp_path / "none",)
        sizes.append(file.stat().st_size if alive else 0)
        assert not any(one() for one in alive[:-1])  # the last one is still the caller's
        speech = spoken(self, *arguments)
        alive.append(weakref.ref(speech))
        return speech

    monkeypatch.setattr(SpeechSynthesizer, "_speak", speak)
    monkeypatch.setattr(Speech, "join", None)
    monkeypatch.setattr(Transcript, "concatenate", None)
    assert say("One two. Three four. Five six. Seven.", "--srt", tmp_path / "a.srt")[0] == 0
    assert len(sizes) == 4 and sizes == sorted(set(sizes))
    last = (tmp_path / "out.wav").stat().st_size - sizes[-1]
    assert 0 < last < sizes[-1]


def test_a_watermark_on_request(say, tmp_path):
    assert say(TEXT, "--watermark", out=tmp_path / "a.wav")[0] == say(TEXT, out=tmp_path / "b.wav")[0] == 0
    marked, plain = (io.read(tmp_path / f"{name}.wav") for name in "ab")
    expected = embed(plain.samples, plain.sample_rate)
    torch.testing.assert_close(marked.samples, expected, rtol=0, atol=2 / 32768)
    assert read_metadata(tmp_path / "a.wav")["watermark"] is True
    assert "watermark" not in read_metadata(tmp_path / "b.wav")


def test_a_reference_clip_is_imitated(say, reference_voice_folder, model_folder, reference_clips, tmp_path):
    assert say("Yes.", "--voice", reference_voice_folder, "--reference", reference_clips[0])[0] == 0
    imitator = SpeechSynthesizer.from_pretrained(reference_voice_folder, vocoder=model_folder)
    expected = imitator.say("Yes.", reference=reference_clips[0], steps=2).audio.samples.clamp(-1, 1)
    torch.testing.assert_close(io.read(tmp_path / "out.wav").samples, expected, rtol=0, atol=1.01 / 32768)


def test_a_reference_that_does_not_fit_is_one_line(say, reference_clips, tmp_path):
    for more, words in (([], f"{reference_clips[0]}: this voice takes no"), (["--speaker", "ann"], "--speaker 'ann'")):
        status, _, (line,) = say("Yes.", "--reference", reference_clips[0], *more)
        assert status == 1 and words in line and not (tmp_path / "out.wav").exists()


def test_phonemes_and_lexicons(say, tmp_path):
    say("hello", out=tmp_path / "a.wav")
    (tmp_path / "words.csv").write_text("hello,tˈu\n")
    say("hello", "--lexicon", tmp_path / "words.csv", out=tmp_path / "b.wav")
    say("tˈu", "--phonemes", out=tmp_path / "c.wav")
    a, b, c = (io.read(tmp_path / f"{name}.wav").samples for name in "abc")
    assert a.shape != b.shape and torch.equal(b, c)
    for name, entry in (("a", {"text": "hello"}), ("c", {"text": "tˈu", "phonemes": True})):
        assert entry.items() <= read_metadata(tmp_path / f"{name}.wav").items()
    assert "lexicon_hash" in read_metadata(tmp_path / "b.wav")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "empty"),
        (["..."], "nothing"),
        (["\N{GRINNING FACE}"], "pronounce"),
        (["Hi.", "--speaker", "eve"], "ann, bob"),
        (["Hi.", "--rate", "9"], "--rate 9"),
        (["Hi.", "--steps", "0"], "--steps 0"),
        (["ж", "--phonemes"], "ж"),
        (["Hi [pause x]."], "pause"),
        (["Hi [[həlˈO"], "[[phonemes]]"),
        (["missing.txt"], "missing.txt"),
        (["Hi.", "--lexicon", "missing.csv"], "missing.csv"),
        (["Hi.", "--vocoder", "missing-model"], "missing-model"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(say, tmp_path, arguments, words):
    status, _, lines = say(*arguments)
    errors = [line for line in lines if line.startswith("error: ")]
    assert status == 1 and len(errors) == 1 and words in errors[0]
    assert not (tmp_path / "out.wav").exists() and not list(tmp_path.glob(".*tmp*"))


def test_a_bad_line_of_a_lexicon_is_named(say, tmp_path):
    (tmp_path / "words.csv").write_text("gif,ʤɪf\nbad line\n")
    status, _, lines = say("Hi.", "--lexicon", tmp_path / "words.csv")
    assert status == 1 and len(lines) == 1 and "words.csv, line 2" in lines[0]


@pytest.mark.parametrize("name", ["a.mp3", "file/a.wav", "folder.wav"])
def test_an_output_that_cannot_be_written_is_refused_before_synthesis(say, tmp_path, monkeypatch, name):
    monkeypatch.setattr(SpeechSynthesizer, "from_pretrained", None)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.wav").mkdir()
    status, _, lines = say("Hi.", out=tmp_path / name)
    assert status == 1 and len(lines) == 1 and name in lines[0]


def test_an_unwritable_transcript_is_refused_before_synthesis(say, tmp_path, monkeypatch):
    monkeypatch.setattr(SpeechSynthesizer, "from_pretrained", None)
    (tmp_path / "file").write_text("")
    status, _, lines = say("Hi.", "--srt", tmp_path / "file" / "a.srt")
    assert status == 1 and len(lines) == 1 and "a.srt" in lines[0]
