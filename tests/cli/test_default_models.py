"""Verbs that take a shipped model where none is named: it exists, and is of the verb's type."""

import inspect
import shutil

import pytest
import soundfile
import torch

from audiodiff.cli import adapt, edit, explain, generate, restore, say, search, upsample
from audiodiff.models.checkpoint import locate, type_of
from audiodiff.pipelines.upsampler import Upsampler


@pytest.mark.parametrize(
    "verb, kind",
    [
        (edit.edit, "audio"),
        (generate.generate, "audio"),
        (explain.generate, "audio"),
        (adapt.adapt, "hypernetwork"),
        (restore.restore, "restorer"),
        (search.search, "audio_text"),
        (say.say, "acoustic"),
    ],
)
def test_a_verb_has_a_model_of_its_type(verb, kind):
    parameters = inspect.signature(verb).parameters
    default = parameters["voice" if "voice" in parameters else "model"].default
    assert type_of(locate(default)) == kind


@pytest.mark.parametrize("rate, name", upsample.MODELS.items())
def test_the_rate_chooses_the_upsampler(rate, name):
    assert Upsampler.from_pretrained(name).sample_rate == rate


def test_upsampling_without_a_model(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("take.wav", 0.1 * torch.randn(4000).numpy(), 8000)
    assert command("upsample", "take.wav", "--to", 16000) == (0, ["1 upsampled, 0 skipped (exist): upsampled"], [])
    assert soundfile.info("upsampled/take.wav").samplerate == 16000
    for words, start in ([], "--model: is needed without --to; use"), (["--to", 48000], "--to 48000"):
        status, _, lines = command("upsample", "take.wav", *words)
        assert status == 1 and len(lines) == 1 and lines[0].startswith(f"error: {start}")


def test_a_region_is_edited_with_the_model_of_prompts(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("take.wav", 0.1 * torch.randn(22050).numpy(), 22050)
    words = ["edit", "take.wav", "--region", "0.2:0.4", "--prompt", "snare", "--steps", 2]
    assert command(*words) == (0, ["1 edited, 0 skipped (exist): take-edited.wav"], [])
    shutil.copy("take-edited.wav", "named.wav")
    assert command(*words, "--model", "sounds", "--overwrite")[0] == 0
    assert (soundfile.read("take-edited.wav")[0] == soundfile.read("named.wav")[0]).all()
