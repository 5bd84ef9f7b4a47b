"""The tab of vocoders, called by its API; and the models that a page finds."""

import os
import time

import gradio as gr
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from audiodiff import Vocoder
from audiodiff.audio.io import read
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.mel.file import save_mel
from audiodiff.demo.catalog import Catalog, newest
from audiodiff.demo.tasks import KINDS
from audiodiff.errors import UserError
from audiodiff.models import model_folders
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel


@pytest.fixture(scope="module")
def page(url):
    return Client(url, verbose=False)


def samples_of(path):
    return soundfile.read(path, dtype="int16")[0]


def resynthesize(page, recording, **options):
    """(samples, settings) of a recording."""
    given = {"recording": handle_file(recording), "watermark": False} | options
    files, settings = page.predict(**given, api_name="/resynthesize")
    return samples_of(files[0]), settings


def test_the_newest_of_each_type_is_found_by_time_of_export(tmp_path):
    assert newest(tmp_path / "missing") == []
    for age, name in enumerate(["b", "a", "c"]):
        config = tmp_path / "recipe" / name / "model" / "config.json"
        config.parent.mkdir(parents=True)
        config.write_text('{"type": "vocoder"}')
        os.utime(config, (0, time.time() - age))
    first, second = (tmp_path / "recipe" / name / "model" for name in ("b", "a"))
    assert newest(tmp_path) == [first]
    (first / "config.json").write_text('{"type": "audio"}')
    assert newest(tmp_path) == [first, second]
    for text in ("{", "[]"):
        (first / "config.json").write_text(text)
        assert newest(tmp_path) == [second]


def test_a_page_without_models_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(model_folders, "SHIPPED", tmp_path)
    with pytest.raises(UserError, match="make speech"):
        Catalog.find(KINDS, runs=tmp_path)


def test_the_newest_run_comes_first_and_a_damaged_one_is_left_out(runs, tmp_path):
    offers = Catalog.find(KINDS, runs=runs).of("vocoder")
    assert offers[0].name == "2026-01-01_00-00-00" and "speech-24k" in [offer.name for offer in offers[1:]]
    config = tmp_path / "recipe" / "date" / "model" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"type": "vocoder"}')
    with pytest.warns(UserWarning, match="is missing"):
        assert Catalog.find(KINDS, runs=tmp_path).of("vocoder")[0].name != "date"


def test_a_recording_is_resynthesized_as_the_vocoder_does(page, recording, model_folder):
    made, settings = resynthesize(page, recording, steps="3", sampler="ddim", seed=7)
    heard = read(recording, sample_rate=16000)
    vocoder = Vocoder.from_pretrained(model_folder)
    wanted = vocoder.resynthesize(heard, steps=3, seed=7, sampler="ddim").samples.clamp(-1, 1).numpy()
    assert len(made) == len(wanted) and np.abs(made / 32767 - wanted).max() < 2 / 32767
    wanted = {"sampler": "ddim", "steps": 3, "seed": 7, "consistency": 4, "setting": "default"}
    assert wanted.items() <= settings.items()
    assert settings["model_hash"] == vocoder.model_hash and settings["input"] == "glide.wav"


def test_the_original_is_shown_but_is_no_file(tabs, runs, recording):
    tab = tabs(runs=runs)["resynthesize"]
    values = tab.defaults | {"recording": str(recording), "steps": 1, "count": 2}
    clips, files, _ = list(tab.run(*values.values(), lambda *_, **__: None))[-1]
    assert [clip["title"] for clip in clips["clips"]] == ["Original", "Resynthesized 1", "Resynthesized 2"]
    assert ["name" in clip for clip in clips["clips"]] == [False, True, True] and len(files) == 3


def test_a_setting_takes_the_place_of_empty_controls(model_folder, tmp_path, tabs, answer, recording):
    copy = tmp_path / "model"
    own = [Setting("fast", 1, "ddim", 2), Setting("good", 3, "recommended", 5)]
    VocoderModel.from_pretrained(model_folder).with_arguments(settings=own).save_pretrained(copy)
    tab = tabs(copy)["resynthesize"]
    assert tab.options["setting"].choices == ("fast", "good")
    assert tab.task.initial(tab.offers[0])["setting"] == "fast"
    for name, expected in (("fast", (1, "ddim", 2)), ("good", (3, "recommended", 5))):
        settings = answer(tab, recording=str(recording), setting=name)[1]
        assert (settings["steps"], settings["sampler"], settings["consistency"]) == expected
    assert answer(tab, recording=str(recording), setting="good", steps="2")[1]["steps"] == 2
    with pytest.raises(gr.Error, match="choose among fast, good"):
        answer(tab, recording=str(recording), setting="best")


def test_seed_and_consistency_are_heard(page, recording):
    results = [
        resynthesize(page, recording, steps="2", seed=seed, consistency=consistency)[0]
        for seed, consistency in [(0, None), (0, None), (1, None), (0, "0")]
    ]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert not np.array_equal(results[0], results[3])


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_a_saved_mel_sounds_like_its_recording(page, recording, model_folder, tmp_path, suffix):
    audio = read(recording, sample_rate=16000)
    path = tmp_path / f"glide{suffix}"
    vocoder = Vocoder.from_pretrained(model_folder)
    save_mel(path, vocoder.mel(audio), vocoder.spec)
    files = [handle_file(file) for file in sorted(tmp_path.iterdir())]
    (made, *_), settings = page.predict(mel=files, steps="2", seed=3, watermark=False, api_name="/resynthesize")
    made, (wanted, _) = samples_of(made), resynthesize(page, recording, steps="2", seed=3)
    assert np.abs(made[: len(wanted)].astype(int) - wanted).max() <= 2
    assert settings["input"] == path.name
    with pytest.raises(AppError, match="are both given"):
        page.predict(mel=files, recording=handle_file(recording), api_name="/resynthesize")


def test_a_bare_array_takes_the_spec_that_is_named(page, tmp_path):
    path = tmp_path / "bare.npy"
    np.save(path, np.full((80, 20), -4.0, dtype=np.float32))
    given = {"mel": [handle_file(path)], "steps": "1", "consistency": "0", "api_name": "/resynthesize"}
    with pytest.raises(AppError, match="bare"):
        page.predict(**given)
    with pytest.raises(AppError, match="sample_rate"):
        page.predict(**given, mel_spec="hifigan_22k")
    (made, *_), _ = page.predict(**given, mel_spec="speech_16k")
    assert len(samples_of(made)) == 20 * PRESETS["speech_16k"].hop_length


def test_bad_input_is_one_line_that_names_the_upload(page, tmp_path):
    text = tmp_path / "notes.wav"
    text.write_text("this is no sound")
    with pytest.raises(AppError) as caught:
        page.predict(recording=handle_file(text), api_name="/resynthesize")
    message = str(caught.value)
    assert message.startswith("notes.wav: ") and "\n" not in message
    with pytest.raises(AppError, match="upload a file or record one"):
        page.predict(api_name="/resynthesize")
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(61 * 8000), 8000)
    with pytest.raises(AppError, match="audiodiff render"):
        page.predict(recording=handle_file(long), api_name="/resynthesize")
