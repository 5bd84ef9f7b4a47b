"""What the page generates is generated again on the command line, from a clip or the settings of a result."""

import sys

import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file

from audiodiff.cli import main


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`run(*words)`: a command that ends well, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["audiodiff", *map(str, words), "--device", "cpu"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0

    return command


def same(path, other) -> bool:
    return (soundfile.read(path)[0] == soundfile.read(other)[0]).all()


def test_sounds(run, music_url):
    given = {
        "model": "drums",
        "labels": ["snare"],
        "seed": 5,
        "steps": 3,
        "seconds": "0.5",
        "count": 3,
        "format": "flac",
    }
    files, _ = Client(music_url, verbose=False).predict(**given, api_name="/generate")
    run("generate", "--settings", files[1], "--out", "clip")
    assert same("clip/0000.flac", files[1])
    run("generate", "--settings", files[-1], "--format", "flac", "--out", "all")
    for number in range(3):
        assert same(f"all/{number:04d}.flac", files[number])


def test_speech_with_a_lexicon(run, voice_url, tmp_path_factory):
    (folder,) = tmp_path_factory.getbasetemp().glob("voices[0-9]*/tiny")
    given = {"text": "The gif is ready.", "speaker": "bob", "seed": 3, "steps": 2, "lexicon": "gif,dʒɪf", "rate": 1.2}
    files, _ = Client(voice_url, verbose=False).predict(**given, api_name="/say")
    for file in files:
        run("say", "--settings", file, "--voice", folder, "--out", "again.wav")
        assert same("again.wav", files[0])


@pytest.mark.parametrize("channels", [1, 2])
def test_edits(run, editor_url, recording, tmp_path_factory, channels):
    (folder,) = tmp_path_factory.getbasetemp().glob("generators[0-9]*/tiny")
    mono, rate = soundfile.read(recording, dtype="int16")
    soundfile.write("in.wav", np.stack([mono, mono // 2], -1)[:, :channels], rate)
    given = {"recording": handle_file("in.wav"), "regions": "0.2:0.4, 0.6:0.7", "labels": ["kick"], "steps": 2}
    files, _ = Client(editor_url, verbose=False).predict(**given, count=2, watermark=False, api_name="/edit")
    run("edit", "in.wav", "--settings", files[1], "--model", folder, "--out", "again.wav")
    assert same("again.wav", files[1]) and soundfile.info(files[1]).channels == channels


def test_resynthesis(run, url, recording, model_folder):
    given = {"recording": handle_file(recording), "steps": 2, "seed": 4, "watermark": True}
    files, _ = Client(url, verbose=False).predict(**given, count=2, api_name="/resynthesize")
    run("render", recording, "--settings", files[1], "--model", model_folder, "--out", "again")
    assert same(f"again/{recording.stem}.wav", files[1])


def test_restoration_and_upsampling(run, music_url):
    time = np.arange(4000) / 8000
    soundfile.write("in.flac", (0.9 * np.sin(2 * np.pi * 200 * time)).clip(-0.6, 0.6), 8000, subtype="PCM_24")
    page, given = Client(music_url, verbose=False), {"recording": handle_file("in.flac"), "seed": 3, "count": 2}
    files, _ = page.predict(**given, declip=True, fill="0.2:0.21", watermark=False, api_name="/restore")
    run("restore", "in.flac", "--settings", files[1], "--out", "restored")
    assert same("restored/in.flac", files[1]) and soundfile.info(files[1]).subtype == "PCM_24"
    files, _ = page.predict(**given, model="upsample-speech", watermark=False, api_name="/upsample")
    run("upsample", "in.flac", "--settings", files[1], "--model", "upsample-speech", "--out", "upsampled")
    assert same("upsampled/in.wav", files[1])
