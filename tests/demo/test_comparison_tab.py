"""The same seed over samplers, steps and scales: each clip is that of its own request."""

import gradio as gr
import pytest
import torch
from adapter_models import random_adapter
from gradio_client import Client

from audiodiff.demo.catalog import Catalog
from audiodiff.demo.comparison_tab import ComparisonTab
from audiodiff.demo.history import History
from audiodiff.demo.model_store import ModelStore
from audiodiff.demo.tasks import KINDS
from audiodiff.pipelines.audio_generator import AudioGenerator


@pytest.fixture(scope="module")
def folder(make_music, tmp_path_factory):
    """A generator with an adapter."""
    root = tmp_path_factory.mktemp("compared")
    model = make_music(1)
    model.save_pretrained(root / "model")
    random_adapter(model).save(root / "my-drum")
    return root


@pytest.fixture(scope="module")
def tab(folder):
    catalog = Catalog.find(KINDS, folder / "model", adapters=[str(folder / "my-drum")])
    return ComparisonTab(catalog, ModelStore(catalog))


def test_each_clip_is_that_of_its_own_request(tab, folder, answer):
    given = {"seconds": "0.1", "labels": ["kick"], "seed": 4}
    found, settings = answer(tab, **given, samplers=["ddim", "dpmpp_2m"], steps="2, 3", scales="0, 1")
    generator = AudioGenerator.from_pretrained(folder / "model")
    expected = [(sampler, steps, scale) for sampler in ("ddim", "dpmpp_2m") for steps in (2, 3) for scale in (0.0, 1.0)]
    assert [(run["sampler"], run["steps"], run["scale"]) for run in settings["runs"]] == expected
    assert all(run["seconds_taken"] > 0 and run["real_time_factor"] > 0 for run in settings["runs"])
    for clip, (sampler, steps, scale) in zip(found, expected, strict=True):
        adapters = [f"{folder / 'my-drum'}:{scale}"]
        options = {"seconds": 0.1, "labels": ["kick"], "seed": 4, "sampler": sampler, "steps": steps}
        own = generator.generate(**options, adapters=adapters).samples
        torch.testing.assert_close(clip, own, rtol=0, atol=1 / 32767)


def test_a_voice_and_a_vocoder_are_compared_too(tab, recording):
    given = {"model": "speech-16k-fine", "recording": str(recording), "steps": "1,2"}
    clips, files, _ = list(tab.run(*(tab.defaults | given).values(), lambda *_, **__: None))[-1]
    titles = [clip["title"].partition(":")[0] for clip in clips["clips"]]
    assert titles == ["Original", "own sampler, 1 step", "own sampler, 2 steps"] and len(files) == 3
    given = {"model": "voice-en", "text": "Hi.", "steps": "1"}
    _, files, settings = list(tab.run(*(tab.defaults | given).values(), lambda *_, **__: None))[-1]
    assert settings["text"] == "Hi." and len(files) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": ""}, "Steps: is empty"),
        ({"steps": "2, x"}, "Steps 'x': is no number"),
        ({"steps": "2, 2.5"}, "Steps 2.5: expected an integer"),
        ({"steps": "nan"}, "Steps nan"),
        ({"steps": "101"}, "Steps 101: out of range"),
        ({"scales": "9"}, "Adapter scale 9: out of range"),
        ({"model": "drums", "scales": "1"}, "Adapter scales: drums has no adapters here"),
        ({"steps": "1,2,3,4,5,6", "samplers": ["ddim", "plms", "heun"]}, "18 clips: are more than 16"),
        ({"samplers": ["best"]}, "Samplers 'best': unknown"),
        ({"model": "voice-en", "labels": ["kick"]}, "Labels .*voice-en has no such option"),
        ({"model": "speech-16k", "seconds": None}, "recording: is missing"),
        ({"seed": None}, "Seed: is empty"),
    ],
)
def test_mistakes_are_one_line(tab, answer, options, message):
    with pytest.raises(gr.Error, match=message) as error:
        answer(tab, **{"steps": "1", "seconds": "0.1"} | options)
    assert "\n" not in str(error.value)


def test_the_controls_are_those_that_the_model_takes(tab):
    with gr.Blocks():
        tab.build(History())
    shown = [update["visible"] for update in tab.choose("voice-en")]
    assert shown == [True, False, False, False]  # text, labels, recording, seconds
    assert [update["visible"] for update in tab.choose("speech-24k")] == [False, False, True, False]
    assert [update["visible"] for update in tab.choose("drums")] == [True, True, False, True]


def test_the_endpoint_compares(music_url):
    files, settings = Client(music_url, verbose=False).predict(steps="2, 3", seconds="0.2", api_name="/compare")
    assert [file.rpartition("/")[2] for file in files] == ["compare-01.wav", "compare-02.wav", "settings.json"]
    assert [run["steps"] for run in settings["runs"]] == [2, 3]
