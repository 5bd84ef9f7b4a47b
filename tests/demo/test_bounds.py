"""Whatever an endpoint receives, from the page or from a program, is within bounds or leads to one line."""

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
from audiodiff.demo import uploads
from audiodiff.demo.controls import LIMITS, limited, parse
from audiodiff.demo.responses import show_errors
from audiodiff.errors import UserError
from audiodiff.options import Option

PATIENCE = 30
LABELS = {
    "guidance_scale": "Guidance scale",
    "guidance_rescale": "Guidance rescale",
    "seconds": "Seconds",
    "steps": "Steps",
    "seed": "Seed",
    "init_noise_level": "Noise level",
    "peak_level": "Peak level",
    "consistency": "Mel consistency",
}
# As JSON; NaN and Infinity are what Python's parsers take for numbers.
VALUES = ("NaN", "Infinity", "-1", "1e308", "1" + 400 * "0", '"abc"', "[]")
NOT_A_SEED = ("null", "NaN", "Infinity", "2.5", '"abc"', "[]")


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


@pytest.fixture(scope="module")
def request_json(tabs, runs):
    """A request of the first model of a tab as JSON, with changes in JSON."""
    pages = {"generate": tabs("drums"), "resynthesize": tabs(runs=runs)}

    def write(endpoint: str, **changes: str) -> str:
        defaults = pages[endpoint][endpoint].defaults
        valid = {name: json.dumps(value) for name, value in defaults.items()} | {"steps": "2"}
        valid |= {"seconds": "0.5"} if endpoint == "generate" else {"consistency": "0"}
        assert changes.keys() <= valid.keys()
        return f"[{', '.join((valid | changes).values())}]"

    return write


@pytest.mark.parametrize(
    "name", ["guidance_scale", "guidance_rescale", "seconds", "steps", "seed", "init_noise_level", "peak_level"]
)
def test_every_number_of_a_generator(music_url, request_json, name):
    for value in NOT_A_SEED if name == "seed" else VALUES:
        event, content = answer(music_url, "generate", request_json("generate", **{name: value}))
        assert event == "error", (name, value, content)
        assert content["error"].startswith(LABELS[name]) and "\n" not in content["error"], content


@pytest.mark.parametrize("name", ["steps", "seed", "consistency"])
def test_every_number_of_a_vocoder(url, request_json, name):
    for value in NOT_A_SEED if name == "seed" else VALUES:
        event, content = answer(url, "resynthesize", request_json("resynthesize", **{name: value}))
        assert event == "error" and content["error"].startswith(LABELS[name]), (value, content)


def test_the_endpoints_have_stable_names_and_typed_parameters_with_a_description(music, tabs):
    api = music.view_api(return_format="dict", print_info=False)["named_endpoints"]
    pages = tabs("drums")
    assert set(api) == {f"/{name}" for name in (*pages, "compare", "models", "card")}
    for name, tab in pages.items():
        parameters = api[f"/{name}"]["parameters"]
        assert [parameter["parameter_name"] for parameter in parameters] == list(tab.defaults)
        assert all(parameter["python_type"]["type"] not in ("", "Any") for parameter in parameters)
        assert [one["label"] for one in api[f"/{name}"]["returns"]] == ["Files", "Settings"]
        assert api[f"/{name}"]["description"].startswith(tab.texts.introduction)


def test_values_are_checked_within_the_limits_of_the_demo():
    options = limited(
        {"seconds": Option("number", "Length.", "Seconds", above=0), "seed": Option("integer", "", "Seed")}
    )
    assert parse(options, {"seed": 0}, [3, 2**62 + 1]) == {"seconds": 3.0, "seed": 2**62 + 1}
    assert parse(options, {"seed": 0}, [None, 1])["seconds"] is None
    for values, subject in (
        ([LIMITS["seconds"]["maximum"] + 1, 1], "Seconds 121"),
        ([1, None], "Seed"),
        ([1, 1.5], "Seed 1.5"),
    ):
        with pytest.raises(UserError) as error:
            parse(options, {"seed": 0}, values)
        assert error.value.subject == subject


@pytest.fixture(scope="module")
def music(music_url):
    return Client(music_url, verbose=False)


def silence(path, seconds, rate=8000):
    soundfile.write(path, np.zeros(int(seconds * rate)), rate, "PCM_U8")
    return path


@pytest.mark.parametrize("use", ["continue_from", "init_audio"])
def test_a_long_upload_to_a_generator_is_refused(music, tmp_path, use):
    file = handle_file(silence(tmp_path / "long.wav", 121))
    with pytest.raises(AppError, match=r"^long\.wav: is longer than 120 s; cut"):
        music.predict(**{use: file}, api_name="/generate")


def test_a_large_upload_is_refused_as_it_arrives(url, upload, tmp_path):
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate((uploads.MAX_MEGABYTES + 1) * 2**20)
    with pytest.raises(OSError) as error:  # an HTTPError is one; so is a connection that is closed on who still sends
        upload(url, large)
    assert getattr(error.value, "code", 413) == 413


def test_a_large_file_is_refused_however_it_came(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_MEGABYTES", 0.001)
    path = silence(tmp_path / "a.wav", 2)
    with pytest.raises(UserError, match=r"more than 0\.001 MB"):
        uploads.read_upload(str(path), 60)
    with pytest.raises(UserError, match=r"more than 0\.001 MB"):
        uploads.load_saved_mel([str(path)], uploads.BESIDE, None)


def test_a_long_mel_is_refused(tmp_path):
    spec = PRESETS["speech_16k"]
    for seconds in (60, 61):
        save_mel(tmp_path / f"{seconds}.npy", torch.zeros(80, seconds * 16000 // 256), spec)
    with pytest.raises(UserError, match=r"61\.npy: is longer than 60 s"):
        uploads.load_saved_mel([str(tmp_path / "61.npy"), str(tmp_path / "61.melspec.json")], uploads.BESIDE, None)
    mel = uploads.load_saved_mel([str(tmp_path / "60.npy")], "speech_16k", SimpleNamespace(spec=spec)).mel
    assert mel.shape == (80, 3750)


@pytest.mark.parametrize("path", ["gone.wav", ["a.wav"], 7, "a\0b"])
def test_an_upload_that_is_not_there_any_more_is_one_line(path):
    """As an hour after it was uploaded."""
    reads = (lambda: uploads.read_upload(path, 9.0), lambda: uploads.load_saved_mel(path, uploads.BESIDE, None))
    for read in reads:
        with pytest.raises(UserError, match="upload it again"):
            read()


def test_no_more_than_is_allowed_is_decoded(tmp_path, monkeypatch):
    asked = []
    read = uploads.read
    monkeypatch.setattr(uploads, "read", lambda *a, **k: asked.append(k["samples"]) or read(*a, **k))
    with pytest.raises(UserError, match="longer than 1 s"):
        uploads.read_upload(str(silence(tmp_path / "a.wav", 5)), 1)
    assert asked == [8001]
    assert uploads.read_upload(str(silence(tmp_path / "a.wav", 1)), 1).seconds == 1


@pytest.mark.parametrize("error", [MemoryError(), ValueError("shape '[1, 2]' is invalid"), KeyError("x")])
def test_other_faults_are_a_sentence_without_our_words(error):
    with pytest.raises(Exception) as shown, show_errors():
        raise error
    assert type(shown.value).__name__ == "Error" and shown.value.message.endswith(".")
    assert str(error) not in shown.value.message or not str(error)


@pytest.mark.parametrize("labels", ["5", f'["{300 * "x"}"]', '["x"]', "[7]", "[[]]"])
def test_odd_labels_are_one_line(music_url, request_json, labels):
    name, content = answer(music_url, "generate", request_json("generate", labels=labels))
    assert name == "error" and content["error"].startswith("Labels ") and "\n" not in content["error"]


def test_no_labels_are_none(music_url, request_json):
    name, (*_, settings) = answer(music_url, "generate", request_json("generate", labels="null"))
    assert name == "complete" and settings["labels"] == []
