import os
import time

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from audiodiff import Vocoder
from audiodiff.audio.io import read
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.mel.file import save_mel
from audiodiff.demo import build
from audiodiff.demo.models import LazyVocoder, newest
from audiodiff.demo.responses import player
from audiodiff.demo.vocoder_page import App
from audiodiff.errors import UserError
from audiodiff.models import model_folders
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel


@pytest.fixture(scope="module")
def page(url):
    return Client(url, verbose=False)


def samples_of(path):
    return soundfile.read(path, dtype="int16")


def test_opens_on_the_newest_export(page, model_folder):
    assert str(model_folder) in page.predict(api_name="/model")


def test_newest_is_by_time_of_export(tmp_path):
    assert newest(tmp_path / "missing") is None
    for age, name in enumerate(["b", "a", "c"]):
        config = tmp_path / "recipe" / name / "model" / "config.json"
        config.parent.mkdir(parents=True)
        config.write_text('{"type": "vocoder"}')
        os.utime(config, (0, time.time() - age))
    assert newest(tmp_path) == tmp_path / "recipe" / "b" / "model"
    for text in ('{"type": "music"}', "{", "[]"):
        (tmp_path / "recipe" / "b" / "model" / "config.json").write_text(text)
        assert newest(tmp_path) == tmp_path / "recipe" / "a" / "model"


def test_without_runs_a_shipped_model_plays(tmp_path, model_folder, monkeypatch):
    monkeypatch.setattr(model_folders, "SHIPPED", model_folder.parent)
    assert LazyVocoder(None, tmp_path, "cpu").folder == model_folder


def test_build_loads_nothing_and_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(model_folders, "SHIPPED", tmp_path)
    build(runs=tmp_path)
    with pytest.raises(UserError, match="make speech"):
        LazyVocoder(None, tmp_path, "cpu")()


def test_lazy_vocoder_loads_once(model_folder):
    vocoder = LazyVocoder(model_folder, model_folder, "cpu")
    assert vocoder() is vocoder()


def test_recording_is_resynthesized_as_the_vocoder_does(page, recording, model_folder):
    picture, original, result, settings = page.predict(
        handle_file(recording), 3, "ddim", 7, None, api_name="/resynthesize"
    )
    assert picture["type"] == "matplotlib"
    assert picture["plot"].startswith("data:image/")
    heard = read(recording, sample_rate=16000)
    vocoder = Vocoder.from_pretrained(model_folder)
    wanted = player(vocoder.resynthesize(heard, steps=3, seed=7, sampler="ddim"))[1]
    made, rate = samples_of(result)
    assert rate == 16000 and len(made) == len(wanted) == len(heard.samples)
    assert np.abs(made.astype(int) - wanted).max() <= 2
    assert np.array_equal(samples_of(original)[0], player(heard)[1])
    wanted = {"sampler": "ddim", "steps": 3, "seed": 7, "consistency": 4, "setting": "default"}
    assert wanted.items() <= settings.items()
    assert settings["model_hash"] == vocoder.model_hash and settings["input"] == "glide.wav"


def test_a_setting_fills_the_controls_that_it_stands_for(model_folder, tmp_path):
    copy = tmp_path / "model"
    own = [Setting("fast", 1, "ddim", 2), Setting("good", 3, "recommended", 5)]
    VocoderModel.from_pretrained(model_folder).with_arguments(settings=own).save_pretrained(copy)
    app = App(LazyVocoder(copy, tmp_path, "cpu"))
    update, *values = app.model_options()
    assert (update["choices"], update["value"], values) == (["fast", "good"], "fast", [1, "ddim", 2])
    assert app.setting_values("good") == [3, "recommended", 5]
    with pytest.raises(gr.Error, match="choose fast or good"):
        app.setting_values("best")


def test_seed_and_consistency_are_heard(page, recording):
    results = [
        samples_of(page.predict(handle_file(recording), 2, "recommended", *choice, api_name="/resynthesize")[2])[0]
        for choice in [(0, None), (0, None), (1, None), (0, 0)]
    ]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert not np.array_equal(results[0], results[3])


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_saved_mel_sounds_like_its_recording(page, recording, model_folder, tmp_path, suffix):
    audio = read(recording, sample_rate=16000)
    path = tmp_path / f"glide{suffix}"
    vocoder = Vocoder.from_pretrained(model_folder)
    save_mel(path, vocoder.mel(audio), vocoder.spec)
    files = [handle_file(file) for file in sorted(tmp_path.iterdir())]
    beside = "from its .melspec.json"
    picture, original = page.predict(files, beside, api_name="/mel_of_file")
    assert picture and original is None
    _, _, made, settings = page.predict(files, beside, 2, "ddim", 3, None, api_name="/resynthesize_mel")
    _, _, wanted, _ = page.predict(handle_file(recording), 2, "ddim", 3, None, api_name="/resynthesize")
    made, wanted = samples_of(made)[0], samples_of(wanted)[0]
    assert np.abs(made[: len(wanted)].astype(int) - wanted).max() <= 2
    assert settings["input"] == path.name


def test_bare_array_takes_the_spec_that_is_named(page, tmp_path):
    path = tmp_path / "bare.npy"
    np.save(path, np.full((80, 20), -4.0, dtype=np.float32))
    args = 1, "recommended", 0, 0
    with pytest.raises(AppError, match="bare"):
        page.predict([handle_file(path)], "from its .melspec.json", *args, api_name="/resynthesize_mel")
    with pytest.raises(AppError, match="sample_rate"):
        page.predict([handle_file(path)], "hifigan_22k", *args, api_name="/resynthesize_mel")
    made = page.predict([handle_file(path)], "speech_16k", *args, api_name="/resynthesize_mel")[2]
    assert len(samples_of(made)[0]) == 20 * PRESETS["speech_16k"].hop_length


def test_bad_input_is_one_line_that_names_the_upload(page, tmp_path):
    text = tmp_path / "notes.wav"
    text.write_text("this is no sound")
    with pytest.raises(AppError) as caught:
        page.predict(handle_file(text), api_name="/resynthesize")
    message = str(caught.value)
    assert message.startswith("notes.wav: ") and "\n" not in message
    with pytest.raises(AppError, match="upload a file or record one"):
        page.predict(None, api_name="/resynthesize")
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(61 * 8000), 8000)
    with pytest.raises(AppError, match="audiodiff render"):
        page.predict(handle_file(long), api_name="/mel_of_recording")


def test_level_is_kept():
    from audiodiff.audio.io import Audio

    rate, samples = player(Audio(torch.tensor([0.0, 0.5, -2.0]), 16000))
    assert rate == 16000 and samples.tolist() == [0, 16384, -32767]
