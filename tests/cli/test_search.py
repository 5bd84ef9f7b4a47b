"""`audiodiff search`: by text and by example, as lines and as JSON, and what it refuses."""

import json

import pytest
import torch

from audiodiff.audio.io import Audio, write


@pytest.fixture
def sounds(tmp_path):
    for number in range(3):
        noise = torch.randn(2000, generator=torch.Generator().manual_seed(number))
        write(tmp_path / "sounds" / f"{number}.wav", Audio(0.1 * noise, 8000))
    (tmp_path / "sounds" / "broken.wav").write_bytes(b"RIFF")
    return tmp_path / "sounds"


def test_search_by_text_and_by_example(command, audio_text_folder, sounds, tmp_path):
    options = ("--model", audio_text_folder, "--cache", tmp_path / "cache", "--device", "cpu")
    status, lines, errors = command("search", sounds, "dry snare", *options, "--limit", 2)
    assert status == 0 and len(lines) == 2 and all(str(sounds) in line for line in lines)
    assert sum("broken.wav" in line for line in errors) == 1
    status, lines, _ = command("search", sounds, "--like", sounds / "1.wav", *options, "--json")
    found = json.loads("\n".join(lines))
    assert status == 0 and [set(one) for one in found] == [{"path", "similarity", "seconds"}] * 3
    assert found[0]["path"] == str(sounds / "1.wav") and found[0]["similarity"] > 0.99


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "neither"),
        (("dry", "--like", "x.wav"), "text and --like"),
        (("",), "is empty"),
        (("--like", "x.wav"), "x.wav"),
        (("dry", "--limit", "0"), "--limit"),
    ],
)
def test_bad_searches_are_one_line(command, audio_text_folder, sounds, words, problem):
    status, lines, errors = command("search", sounds, *words, "--model", audio_text_folder, "--device", "cpu")
    assert status == 1 and not lines and len(errors) == 1 and problem in errors[0]
