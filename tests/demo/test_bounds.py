"""Whatever reaches an endpoint, by the page or by a program, is within bounds or answered by one plain sentence."""

import json
from types import SimpleNamespace
from urllib.request import Request, urlopen

import numpy as np
import pytest
import soundfile
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.mel.file import save_mel
from audiodiff.demo import sources
from audiodiff.demo.fields import number
from audiodiff.demo.generator_page import AFTER, LIKE, NOTHING
from audiodiff.demo.visit import show_errors
from audiodiff.errors import UserError

PATIENCE = 30
FIELDS = {1: "Beats a minute", 2: "How strictly", 3: "Seconds", 4: "Steps", 5: "Seed"}
# As JSON; NaN and Infinity are what Python's parsers take for numbers.
VALUES = ("null", "NaN", "Infinity", "-1", "1e308", "1" + 400 * "0", '"abc"', "[]", "true")


def answer(url: str, endpoint: str, data: str) -> tuple[str, dict]:
    """The last event of a request whose `data` is JSON as it stands, and what comes with it."""
    call = f"{url}gradio_api/call/{endpoint}"
    body = f'{{"data": {data}}}'.encode()
    with urlopen(Request(call, body, {"Content-Type": "application/json"}), timeout=PATIENCE) as begun:
        event = json.load(begun)["event_id"]
    with urlopen(f"{call}/{event}", timeout=PATIENCE) as stream:
        lines = stream.read().decode().splitlines()
    name, content = [line for line in lines if line][-2:]
    return name.removeprefix("event: "), json.loads(content.removeprefix("data: "))


@pytest.mark.parametrize("field", FIELDS)
def test_every_number_of_the_music_page(music_url, field):
    for value in VALUES:
        data = ["[]", "0", "1", "0.5", "2", "0", "false", "null", json.dumps(NOTHING), "0.5"]
        data[field] = value
        name, content = answer(music_url, "generate", f"[{', '.join(data)}]")
        assert name == "error", (field, value, content)
        assert content["error"].startswith(f"{FIELDS[field]}: ") and "enter a" in content["error"], content


@pytest.mark.parametrize(("place", "field"), [(2, "Steps"), (3, "Seed")])
def test_every_number_of_the_vocoders_page(url, place, field):
    for value in VALUES:
        data = ["null", '"ddim"', "2", "0", "true"]
        data[place] = value
        name, content = answer(url, "resynthesize", f"[{', '.join(data)}]")
        assert name == "error" and content["error"].startswith(f"{field}: "), (value, content)


def test_numbers():
    assert number("Seed", 2**62 + 1, 0, 2**63 - 1, whole=True) == 2**62 + 1
    assert number("Seconds", 3, 0.5, 120) == 3.0
    for value, words in (
        (None, "Seed: is empty; enter a whole number from 0 to 9"),
        (1.5, "Seed: 1.5 is not whole; enter a whole number from 0 to 9"),
        (1e308, "Seed: 1e+308 is out of range; enter a whole number from 0 to 9"),
    ):
        with pytest.raises(UserError) as error:
            number("Seed", value, 0, 9, whole=True)
        assert str(error.value) == words


@pytest.fixture(scope="module")
def music(music_url):
    return Client(music_url, verbose=False)


def silence(path, seconds, rate=8000):
    soundfile.write(path, np.zeros(int(seconds * rate)), rate, "PCM_U8")
    return path


@pytest.mark.parametrize("use", [AFTER, LIKE])
def test_a_long_upload_to_the_music_page_is_refused(music, tmp_path, use):
    file = handle_file(silence(tmp_path / "long.wav", 121))
    with pytest.raises(AppError, match=r"^long\.wav: is longer than 120 s; cut it"):
        music.predict([], 0, 1, 1, 2, 0, False, file, use, 0.5, api_name="/generate")


def test_a_large_upload_is_refused_as_it_arrives(url, upload, tmp_path):
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate((sources.MAX_MEGABYTES + 1) * 2**20)
    with pytest.raises(OSError) as error:  # an HTTPError is one; so is a connection that is closed on who still sends
        upload(url, large)
    assert getattr(error.value, "code", 413) == 413


def test_a_large_file_is_refused_however_it_came(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_MEGABYTES", 0.001)
    path = silence(tmp_path / "a.wav", 2)
    with pytest.raises(UserError, match=r"more than 0\.001 MB"):
        sources.read_upload(str(path), 60)
    with pytest.raises(UserError, match=r"more than 0\.001 MB"):
        sources.load_saved_mel([str(path)], sources.BESIDE, None)


def test_a_long_mel_is_refused(tmp_path):
    spec = PRESETS["speech_16k"]
    for seconds in (60, 61):
        save_mel(tmp_path / f"{seconds}.npy", torch.zeros(80, seconds * 16000 // 256), spec)
    with pytest.raises(UserError, match=r"61\.npy: is longer than 60 s"):
        sources.load_saved_mel([str(tmp_path / "61.npy"), str(tmp_path / "61.melspec.json")], sources.BESIDE, None)
    mel = sources.load_saved_mel([str(tmp_path / "60.npy")], "speech_16k", SimpleNamespace(spec=spec)).mel
    assert mel.shape == (80, 3750)


def test_no_more_than_is_allowed_is_decoded(tmp_path, monkeypatch):
    asked = []
    read = sources.read
    monkeypatch.setattr(sources, "read", lambda *a, **k: asked.append(k["samples"]) or read(*a, **k))
    with pytest.raises(UserError, match="longer than 1 s"):
        sources.read_upload(str(silence(tmp_path / "a.wav", 5)), 1)
    assert asked == [8001]
    assert sources.read_upload(str(silence(tmp_path / "a.wav", 1)), 1).seconds == 1


@pytest.mark.parametrize("error", [MemoryError(), ValueError("shape '[1, 2]' is invalid"), KeyError("x")])
def test_other_faults_are_a_sentence_without_our_words(error):
    with pytest.raises(Exception) as shown, show_errors():
        raise error
    assert type(shown.value).__name__ == "Error" and shown.value.message.endswith(".")
    assert str(error) not in shown.value.message or not str(error)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("5", "is no list"),
        (f'["{300 * "x"}"]', "is not one of the model's"),
        ('["x"]', "'x'"),
        ("[7]", "7"),
        ("[[]]", "label"),
    ],
)
def test_odd_labels_are_one_sentence(music_url, labels, words):
    data = f"[{labels}, 0, 1, 0.5, 2, 0, false, null, {json.dumps(NOTHING)}, 0.5]"
    name, content = answer(music_url, "generate", data)
    assert name == "error" and words in content["error"]


def test_no_labels_are_none(music_url):
    data = f"[null, 0, 1, 0.5, 2, 0, false, null, {json.dumps(NOTHING)}, 0.5]"
    name, (_, _, settings) = answer(music_url, "generate", data)
    assert name == "complete" and settings["labels"] == []
