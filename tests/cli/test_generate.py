"""`audiodiff generate` with prompts: the clip of the Python API, its sidecar, and what is said about the prompt."""

import json

import pytest
import torch
from typer.testing import CliRunner

from audiodiff.audio.io import read
from audiodiff.cli import build
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_generator import AudioGenerator

PROMPT = "rain:0.7 | thunder:0.3 @0.05-"


@pytest.fixture(scope="module")
def folder(make_prompted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompted") / "model"
    make_prompted().save_pretrained(folder)
    return folder


def run(folder, out, *words):
    command = [
        "generate",
        "--model",
        str(folder),
        "--out",
        str(out),
        "--seconds",
        "0.1",
        "--steps",
        "2",
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(build(), [*command, *words])
    if isinstance(result.exception, UserError):
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_clip_of_the_command_line_is_that_of_python(folder, tmp_path):
    words = ["--prompt", PROMPT, "--negative", "noise", "--guidance", "3", "--guidance-rescale", "0.5"]
    run(folder, tmp_path, *words, "--guidance-interval", "-6:9", "--seed", "5", "--batch-size", "1")
    options = {"negative": "noise", "guidance_scale": 3, "guidance_rescale": 0.5, "guidance_interval": (-6, 9)}
    generator = AudioGenerator.from_pretrained(folder)
    expected = generator.generate(prompt=PROMPT, seconds=0.1, steps=2, seed=5, **options).samples
    torch.testing.assert_close(
        read(tmp_path / "0000.wav").samples.flatten(), expected.flatten(), rtol=0, atol=1 / 32767
    )
    found = json.loads((tmp_path / "0000.wav.json").read_text())
    assert found["prompt"] == PROMPT and found["negative"] == "noise" and found["guidance_interval"] == "-6:9"
    assert "skipped" in run(folder, tmp_path, *words, "--guidance-interval", "-6:9", "--seed", "5", "--batch-size", "1")
    assert "another guidance scale (3.0, not 1.0)" in run(folder, tmp_path, "--prompt", "rain", "--seed", "5")


def test_an_empty_prompt_is_unconditional(folder, tmp_path):
    for name, words in (("empty", ["--prompt", ""]), ("none", [])):
        run(folder, tmp_path / name, *words)
    assert (tmp_path / "empty" / "0000.wav").read_bytes() == (tmp_path / "none" / "0000.wav").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompt", "rain @1"], "--prompt 'rain @1': has no end; write @1-"),
        (["--prompt", "rain", "--negative", "wind"], "--negative 'wind': has no effect"),
        (["--guidance", "2"], "--guidance 2: needs a condition; add --label or --prompt"),
    ],
)
def test_mistakes_name_the_option(folder, tmp_path, words, message):
    assert message in run(folder, tmp_path, *words)
