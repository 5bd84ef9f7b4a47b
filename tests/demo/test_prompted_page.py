"""The page of a generator that takes prompts: the clip of the Python API, and what is said about a prompt."""

import gradio as gr
import pytest
import torch

from audiodiff.demo import generator_page
from audiodiff.demo.controls import control
from audiodiff.demo.guide_menu import GuideMenu
from audiodiff.pipelines.audio_generator import AudioGenerator

NUMBERS = ("steps", "guidance_scale", "guidance_rescale", "init_noise_level", "peak_level")


@pytest.fixture(scope="module")
def app(make_prompted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompted") / "model"
    model = make_prompted()
    prompt = next(one for one in model.conditioners if one.name == "prompt")
    prompt.words = ("rain", "wind")
    model.save_pretrained(folder)
    return generator_page.App(folder, "cpu")


def request(app, **options):
    values = {**app.defaults, "steps": 2, "seconds": 0.1, "labels": [], "prompt": "", **options}
    return list(app.generate(*(values.get(name) for name in app.options), lambda *_, **__: None))[-1]


def test_same_prompt_and_seed_same_clip(app):
    options = {"prompt": "rain", "negative": "wind", "guidance_scale": 3.0, "seed": 4}
    _, (rate, samples), settings = request(app, **options)
    expected = AudioGenerator.from_pretrained(app.folder).generate(steps=2, seconds=0.1, sampler="ddim", **options)
    found = torch.from_numpy(samples.astype("float32")).flatten() / 32767
    torch.testing.assert_close(found, expected.samples.flatten(), rtol=0, atol=1 / 32767)
    assert rate == expected.sample_rate and (settings["prompt"], settings["negative"]) == ("rain", "wind")


def test_an_empty_prompt_is_unconditional_also_with_the_scale_that_the_page_shows(app):
    (_, (_, empty), settings), (_, (_, spaces), _) = request(app, guidance_scale=3.0), request(app, prompt="  ")
    expected = AudioGenerator.from_pretrained(app.folder).generate(steps=2, seconds=0.1, sampler="ddim").samples
    for found in (empty, spaces):
        samples = torch.from_numpy(found.astype("float32")).flatten() / 32767
        torch.testing.assert_close(samples, expected.flatten(), rtol=0, atol=1 / 32767)
    assert settings["guidance_scale"] == 1


def test_options_left_alone_are_those_of_the_api(make_prompted, tmp_path):
    """Also of a model that decides how long a sound is: an empty control is no length."""
    model = make_prompted(scalars=("seconds", "tempo"))
    for one in model.conditioners:
        if one.name == "scalars":
            torch.nn.init.normal_(one.embed.project.weight, std=3.0)
    model.save_pretrained(tmp_path)
    app = generator_page.App(tmp_path, "cpu")
    shown = {name: control(option, app.defaults.get(name)) for name, option in app.options.items()}
    empty = {name: component.preprocess(component.value) for name, component in shown.items() if name in NUMBERS}
    assert all(isinstance(shown[name], gr.Textbox) for name in ("seconds", "tempo"))  # gr.Number shows None as 0
    generator = AudioGenerator.from_pretrained(tmp_path)
    expected = generator.generate(prompt="rain", seed=4).samples.flatten()
    whole = generator.generate(prompt="rain", seed=4, seconds=model.samples / model.sample_rate).samples.flatten()
    assert (expected - whole).abs().max() > 0.01
    for left in (None, ""):
        values = app.defaults | empty | {"prompt": "rain", "seed": 4, "labels": [], "seconds": left, "tempo": left}
        answer = list(app.generate(*(values.get(name) for name in app.options), lambda *_, **__: None))[-1]
        found = torch.from_numpy(answer[1][1].astype("float32")).flatten() / 32767
        torch.testing.assert_close(found, expected, rtol=0, atol=1 / 32767)
    values["seconds"], values["tempo"] = "0.1", "120"
    assert list(app.generate(*(values.get(name) for name in app.options), lambda *_, **__: None))[-1][2]["tempo"] == 120


def test_words_that_the_model_does_not_know_are_said(app, monkeypatch):
    said = []
    monkeypatch.setattr(generator_page.gr, "Warning", said.append)
    request(app, prompt="rain and thunder")
    assert len(said) == 1 and "'thunder' (nearest: 'rain')" in said[0]


def test_mistakes_are_one_line(app):
    for options, message in (
        ({"prompt": "rain @1"}, "has no end"),
        ({"prompt": "rain", "negative": "wind"}, "no effect"),
        ({"prompt": "a" * 10_001}, "prompt of 10001 characters: too long"),
        ({"prompt": "rain", "guidance_scale": 1e9}, r"Guidance scale 1e\+09: out of range"),
        ({"guidance_scale": float("nan"), "prompt": "rain"}, "out of range"),
    ):
        with pytest.raises(gr.Error, match=message) as error:
            request(app, **options)
        assert "\n" not in str(error.value)


def test_a_page_without_prompts_has_no_negative_one(make_music, tmp_path):
    make_music(labels=()).save_pretrained(tmp_path)
    app = generator_page.App(tmp_path, "cpu")
    app.menu = GuideMenu()
    assert not {"negative", "prompt", "guidance_scale", "guidance_rescale", "guidance_interval"} & set(app.options)
