"""`audiodiff explain`: a picture, JSON and the clip."""

import json

import torch

from audiodiff.audio.io import read
from audiodiff.audio.metadata import read_metadata
from audiodiff.models.checkpoint import load
from audiodiff.pipelines.audio_generator import AudioGenerator

FEW = ("--steps", "2", "--device", "cpu")


def test_a_clip_and_its_explanation_are_written(command, make_prompted, tmp_path):
    make_prompted().save_pretrained(tmp_path / "model")
    words = ("--model", tmp_path / "model", "--prompt", "loud rain", "--seconds", "0.1", "--out", tmp_path / "out")
    status, lines, errors = command("explain", "generate", *words, *FEW)
    assert status == 0 and lines == [str(tmp_path / "out")], errors
    assert (tmp_path / "out" / "explanation.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert found["tokens"][:2] == ["loud", "rain"] and len(found["steps"]) == 2
    for row in found["steps"][1]["cross_attention"]["unet.cross_attention.bottom"]:
        assert abs(sum(row) - 1) < 1e-3
    options = {"prompt": "loud rain", "seconds": 0.1, "steps": 2}
    expected = AudioGenerator.from_pretrained(tmp_path / "model").generate(**options).samples
    clip = tmp_path / "out" / "clip.wav"
    torch.testing.assert_close(read(clip).samples.flatten(), expected.flatten(), rtol=0, atol=1e-4)
    assert found["settings"]["steps"] == 2 and found["settings"]["prompt"] == "loud rain"
    metadata = read_metadata(clip)
    assert metadata["command"] == "audiodiff explain generate" and metadata["prompt"] == "loud rain"
    assert metadata["model_hash"] == load(tmp_path / "model").digest


def test_a_sentence_and_its_explanation_are_written(command, voice_folder, model_folder, tmp_path):
    words = ("[[həlˈO]]", "--voice", voice_folder, "--vocoder", model_folder, "--out", tmp_path / "out")
    status, lines, errors = command("explain", "say", *words, *FEW)
    assert status == 0 and lines == [str(tmp_path / "out")], errors
    assert (tmp_path / "out" / "explanation.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert set(found["steps"][0]["sensitivity"]) == {"text", "speaker"} and found["phonemes"]
    assert read_metadata(tmp_path / "out" / "clip.wav")["text"] == found["settings"]["text"] == "[[həlˈO]]"


def test_what_to_explain_is_asked_for(command):
    status, _, lines = command("explain")
    assert status == 1 and len(lines) == 1 and "explain say TEXT" in lines[0]
