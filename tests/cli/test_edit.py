"""`audiodiff edit`: the edit of the Python API in the encoding of the file, with a sidecar; mistakes in one line."""

import json

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.io import Audio
from audiodiff.audio.metadata import read_metadata
from audiodiff.audio.watermark import embed
from audiodiff.pipelines import memory
from audiodiff.pipelines.audio_editor import AudioEditor

RATE = 16000


@pytest.fixture(scope="module")
def model(make_music, tmp_path_factory):
    folder = tmp_path_factory.mktemp("music") / "model"
    make_music(channels=1).save_pretrained(folder)
    return folder


@pytest.fixture
def take(tmp_path, monkeypatch):
    """A stereo file of half a second with 24 bits, in the current folder."""
    monkeypatch.chdir(tmp_path)
    time = np.arange(RATE // 2)[:, None] / RATE
    soundfile.write("take.wav", 0.1 * np.sin(2 * np.pi * time * [300, 500]), RATE, "PCM_24")
    return tmp_path / "take.wav"


def integers(path) -> np.ndarray:
    return soundfile.read(path, dtype="int32")[0]


def test_the_edit_is_that_of_python_and_the_rest_is_copied(command, model, take):
    words = ["edit", "take.wav", "--model", model, "--region", "0.1:0.2", "--label", "snare", "--steps", 2, "--seed", 3]
    assert command(*words) == (0, ["1 edited, 0 skipped (exist): take-edited.wav"], [])
    before, after = integers("take.wav"), integers("take-edited.wav")
    assert soundfile.info("take-edited.wav").subtype == "PCM_24"
    assert np.array_equal(before[:1600], after[:1600]) and np.array_equal(before[3200:], after[3200:])
    original = Audio(torch.from_numpy(soundfile.read("take.wav", dtype="float32")[0].T.copy()), RATE)
    editor = AudioEditor.from_pretrained(model)
    expected = editor.edit(original, regions=["0.1:0.2"], labels=["snare"], steps=2, seed=3).samples
    np.testing.assert_allclose(after.T / 2**31, expected, rtol=0, atol=1e-5)
    entries = json.loads((take.parent / "take-edited.wav.json").read_text())
    assert entries["sidecar"] == "audiodiff edit" and entries["edited"] == [[0.1, 0.2]]
    assert entries["labels"] == ["snare"] and entries["regions"] == ["0.1:0.2"] and entries["sample_rate"] == RATE
    found = read_metadata("take-edited.wav")
    assert found["command"] == "audiodiff edit" and found["seed"] == 3 and found["model_hash"] == entries["model_hash"]
    assert "0 edited, 1 skipped" in command(*words)[1][0]
    status, _, lines = command(*words, "--guidance", 2)
    assert status == 1 and "was made with another guidance scale" in lines[-1]


def test_what_is_edited_is_watermarked_on_request(command, model, take):
    words = ["edit", take, "--model", model, "--region", "0.1:0.4", "--label", "snare", "--steps", 1, "--watermark"]
    assert command(*words, "--out", "a.wav")[0] == command(*words[:-1], "--out", "b.wav")[0] == 0
    marked, plain, before = (soundfile.read(name, dtype="float32")[0] for name in ("a.wav", "b.wav", take))
    assert np.array_equal(marked[:1600], before[:1600]) and np.array_equal(marked[6400:], before[6400:])
    expected = embed(torch.from_numpy(plain[1600:6400].T.copy()), RATE, 1600).T
    np.testing.assert_allclose(marked[1600:6400], expected, rtol=0, atol=1e-5)
    assert read_metadata("a.wav")["watermark"] is True and "watermark" not in read_metadata("b.wav")
    status, _, lines = command(*words[:-1], "--out", "a.wav")
    assert status == 1 and "was made with another watermark" in lines[-1]


def test_variations_are_numbered(command, model, take):
    words = ["edit", take, "--model", model, "--extend-right", 0.1, "--steps", 1, "--variations", 3, "--out", "v.flac"]
    assert command(*words)[0] == 0
    clips = [integers(f"v-000{number}.flac") for number in range(3)]
    assert all(len(clip) == len(integers(take)) + RATE // 10 for clip in clips)
    seeds = {read_metadata(f"v-000{number}.flac")["clip_seed"] for number in range(3)}
    assert len(seeds) == 3
    assert not np.array_equal(clips[0], clips[1])
    (take.parent / "v-0001.flac").unlink()
    assert "1 edited, 2 skipped" in command(*words)[1][0]
    assert np.array_equal(integers("v-0001.flac"), clips[1])


def test_every_edit_runs(command, model, take):
    soundfile.write("other.wav", 0.1 * np.random.default_rng(0).standard_normal(4000), 8000)
    edits = {
        "left": ["--extend-left", 0.1],
        "style": ["--style-from", "other.wav", "--noise-level", 0.4],
        "attribute": ["--from-label", "kick", "--label", "snare", "--guidance", 2],
        "band": ["--region", "0.1:0.4", "--band", "1000:2000"],
        "morph": ["--morph-with", "other.wav", "--morph", 0.5],
        "seed": ["--region", "0.1:0.2", "--region", "0.3:", "--morph-seed", 4, "--morph", 0.5],
        "alone": ["--region", ":0.2", "--context", 0],
    }
    for name, words in edits.items():
        status, _, lines = command("edit", take, "--model", model, "--steps", 2, "--out", f"{name}.wav", *words)
        assert status == 0 and not lines, lines
        assert np.isfinite(soundfile.read(f"{name}.wav")[0]).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--region", "5:6"], "region 5:6: starts after the end, at 0.5 s"),
        (["--region", "-1:0.2"], "region -1:0.2: begins below 0 s"),
        (["--region", "0.4:0.2"], "region 0.4:0.2: ends before it starts; write 0.2:0.4"),
        (["--region", "0.1:0.2", "--prompt", "snare"], "--prompt 'snare': this model has no prompt condition"),
        (["--region", "0.1:0.2", "--guidance", "1e9"], "--guidance 1e+09: out of range"),
        (["--fill-gaps"], "--fill-gaps: the recording has no gap of 5 ms"),
        (["--extend-left", "0.1", "--noise-level", "0.5"], "--extend-left: has no sound to start from"),
        ([], "the edit: changes nothing; add --region"),
        (["--noise-level", "0.5", "--out", "take.wav"], "take.wav: would be overwritten by its own edit"),
        (["--noise-level", "0.5", "--out", "a.mp3"], "a.mp3: 'mp3' is not a format that keeps every sample"),
        (["--noise-level", "0.5", "--style-from", "none.wav"], "none.wav: no such file"),
        (["--from-label", "kick", "--sampler", "ddpm"], "--sampler ddpm: cannot be inverted"),
        (["--region", "0.1:0.2", "--variations", "0"], "variations 0: must be at least 1"),
    ],
)
def test_mistakes_are_said_in_one_line(command, model, take, words, message):
    status, out, lines = command("edit", "take.wav", "--model", model, "--steps", 2, *words)
    assert status == 1 and not out and len(lines) == 1 and message in lines[0], lines
    assert [path.name for path in take.parent.iterdir()] == ["take.wav"]


def test_silence_and_other_models_are_refused(command, model, model_folder, take):
    soundfile.write("silent.wav", np.zeros(8000), RATE)
    for words, message in (
        (["silent.wav", "--model", model, "--extend-left", 1], "silent.wav: is silent"),
        (["none.wav", "--model", model, "--extend-left", 1], "none.wav: no such file"),
        (["take.wav", "--model", model_folder, "--extend-left", 1], "'vocoder'"),
    ):
        status, _, lines = command("edit", *words)
        assert status == 1 and len(lines) == 1 and message in lines[0], lines


def test_variations_that_do_not_fit_together_are_edited_one_by_one(command, model, take, monkeypatch):
    words = ["edit", take, "--model", model, "--region", "0.1:0.15", "--context", 0.02, "--steps", 1, "--variations", 2]
    assert command(*words, "--out", "a.wav")[0] == 0
    network = AudioEditor.from_pretrained(model).model.network
    room = int(1.5 * memory.needed(network, round(0.09 * 8000)))
    monkeypatch.setattr(memory, "free", lambda device: room)
    assert command(*words, "--out", "b.wav")[0] == 0
    assert abs(integers("a-0001.wav") - integers("b-0001.wav")).max() <= 1 << 12
    monkeypatch.setattr(memory, "free", lambda device: 1000)
    status, _, lines = command(*words, "--out", "c.wav")
    assert status == 1 and "edit shorter regions" in lines[-1] and "batch-size" not in lines[-1]
