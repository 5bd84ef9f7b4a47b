"""A generator that takes prompts: the clip of the Python API, and what is said about a prompt."""

import dataclasses

import gradio as gr
import pytest
import torch

from audiodiff.demo import request as requests
from audiodiff.demo.guide_menu import GuideMenu
from audiodiff.pipelines.audio_generator import AudioGenerator

SHORT = {"steps": 2, "seconds": 0.1}


@pytest.fixture(scope="module")
def folder(make_prompted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompted") / "model"
    model = make_prompted()
    prompt = next(one for one in model.conditioners if one.name == "prompt")
    prompt.words = ("rain", "wind")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tab(folder, tabs):
    return tabs(folder)["generate"]


@pytest.fixture(scope="module")
def request_clip(tab, answer):
    """Samples (T,) and settings of a clip of the page."""

    def ask(**options):
        (samples,), settings = answer(tab, **SHORT | options)
        return samples.flatten(), settings

    return ask


def test_same_prompt_and_seed_same_clip(request_clip, folder):
    options = {"prompt": "rain", "negative": "wind", "guidance_scale": 3.0, "seed": 4}
    found, settings = request_clip(**options)
    expected = AudioGenerator.from_pretrained(folder).generate(**SHORT, **options)
    torch.testing.assert_close(found, expected.samples.flatten(), rtol=0, atol=1 / 32767)
    assert (settings["prompt"], settings["negative"]) == ("rain", "wind")


def test_an_empty_prompt_is_unconditional_also_with_the_scale_that_the_page_shows(request_clip, folder):
    (empty, settings), (spaces, _) = request_clip(guidance_scale=3.0), request_clip(prompt="  ")
    expected = AudioGenerator.from_pretrained(folder).generate(**SHORT).samples
    for found in (empty, spaces):
        torch.testing.assert_close(found, expected.flatten(), rtol=0, atol=1 / 32767)
    assert settings["guidance_scale"] == 1


def test_controls_left_alone_are_options_left_alone(make_prompted, tabs, answer, tmp_path):
    """Also of a model that decides how long a sound is: an empty control is no length."""
    model = make_prompted(scalars=("seconds", "tempo"))
    for one in model.conditioners:
        if one.name == "scalars":
            torch.nn.init.normal_(one.embed.project.weight, std=3.0)
    model.save_pretrained(tmp_path)
    tab = tabs(tmp_path)["generate_music"]  # it takes a tempo
    with gr.Blocks():
        for name in tab.options:
            tab.control(name)
    shown = {name: one.preprocess(one.value) for name, one in tab.controls.items() if not isinstance(one, gr.Audio)}
    assert all(isinstance(tab.controls[name], gr.Textbox) for name in ("seconds", "tempo"))  # gr.Number shows 0
    generator = AudioGenerator.from_pretrained(tmp_path)
    expected = generator.generate(prompt="rain", seed=4).samples.flatten()
    whole = generator.generate(prompt="rain", seed=4, seconds=model.samples / model.sample_rate).samples.flatten()
    assert (expected - whole).abs().max() > 0.01
    for left in (None, ""):
        ((found,), _) = answer(tab, **shown | {"prompt": "rain", "seed": 4, "seconds": left, "tempo": left})
        torch.testing.assert_close(found.flatten(), expected, rtol=0, atol=1 / 32767)
    assert answer(tab, **shown | {"seconds": "0.1", "tempo": "120"})[1]["tempo"] == 120


def test_words_that_the_model_does_not_know_are_said(request_clip, monkeypatch):
    said = []
    monkeypatch.setattr(requests.gr, "Warning", said.append)
    _, settings = request_clip(prompt="rain and thunder")
    assert len(said) == 1 and "'thunder' (nearest: 'rain')" in said[0] and settings["warnings"] == said


def test_mistakes_are_one_line(request_clip):
    for options, message in (
        ({"prompt": "rain @1"}, "has no end"),
        ({"prompt": "rain", "negative": "wind"}, "no effect"),
        ({"prompt": "a" * 10_001}, "prompt of 10001 characters: too long"),
        ({"prompt": "rain", "guidance_scale": 1e9}, r"Guidance scale 1e\+09: out of range"),
        ({"guidance_scale": float("nan"), "prompt": "rain"}, "out of range"),
    ):
        with pytest.raises(gr.Error, match=message) as error:
            request_clip(**options)
        assert "\n" not in str(error.value)


def test_a_model_without_prompts_has_no_negative_one(make_music, tabs, tmp_path):
    make_music(labels=()).save_pretrained(tmp_path)
    tab = tabs(tmp_path)["generate"]
    offer = dataclasses.replace(tab.offers[0], guides=GuideMenu())
    unused = {"negative", "prompt", "guidance_scale", "guidance_rescale", "guidance_interval"}
    assert not unused & set(tab.task.options(offer))
