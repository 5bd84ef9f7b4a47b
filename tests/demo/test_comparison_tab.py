"""The same seed over samplers, steps and scales: each clip is that of its own request."""

import json

import gradio as gr
import pytest
import torch
from adapter_models import random_adapter
from gradio_client import Client

from audiodiff.audio.io import Audio
from audiodiff.demo.catalog import Catalog
from audiodiff.demo.comparison_tab import OPTIONS, ComparisonTab
from audiodiff.demo.history import History
from audiodiff.demo.model_store import ModelStore
from audiodiff.demo.seed_spread import SeedSpread
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
        ({"seeds": 17}, "Seeds 17: out of range"),
        ({"steps": "1, 2", "seeds": 9}, "18 clips: are more than 16; choose fewer samplers, steps, scales or seeds"),
        ({"model": "restore-speech"}, "is not compared here"),
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
    assert shown == [True, False, False, False, False]  # text, labels, recording, seconds, scales
    assert [update["visible"] for update in tab.choose("speech-24k")] == [False, False, True, False, False]
    assert [update["visible"] for update in tab.choose("drums")] == [True, True, False, True, False]


def test_the_endpoint_compares(music_url):
    files, settings = Client(music_url, verbose=False).predict(steps="2, 3", seconds="0.2", api_name="/compare")
    assert [file.rpartition("/")[2] for file in files] == ["compare-01.wav", "compare-02.wav", "settings.json"]
    assert [run["steps"] for run in settings["runs"]] == [2, 3]


def test_several_seeds_show_how_much_each_variant_varies(tab, folder, answer):
    given = {"seconds": "0.6", "labels": ["kick"], "seed": 4, "seeds": 3, "steps": "2, 3", "watermark": False}
    clips, files, settings = list(tab.run(*(tab.defaults | given).values(), lambda *_, **__: None))[-1]
    names = [file.rpartition("/")[2] for file in files]
    assert names == [
        "compare-01.wav",
        "compare-02.wav",
        "compare-01-spread.png",
        "compare-02-spread.png",
        "settings.json",
    ]
    assert all("spread" in clip and "dB over 3 seeds" in clip["title"] for clip in clips["clips"])
    generator = AudioGenerator.from_pretrained(folder / "model")
    options = {"seconds": 0.6, "labels": ["kick"], "steps": 2, "adapters": [f"{folder / 'my-drum'}"]}
    takes = [generator.generate(**options, seed=seed) for seed in (4, 5, 6)]
    assert SeedSpread(takes).summary.items() <= settings["runs"][0].items()
    assert settings["runs"][0]["spread_db"] > 0 and len(settings["runs"][0]["spread_by_segment_db"]) == 2


def test_the_spread_of_takes_of_known_levels_is_that_of_their_decibels():
    noise = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0)) * 0.05
    decibels = torch.tensor([-3.0, 0.0, 6.0])
    takes = [Audio(noise * 10 ** (level / 20), 16000) for level in decibels]
    found = SeedSpread([*takes[:2], Audio(takes[2].samples[:, :14000], 16000)]).summary
    assert found["spread_db"] == pytest.approx(float(decibels.std()), abs=0.05)
    assert found["spread_by_segment_db"] == [pytest.approx(found["spread_db"], abs=0.05)] * 2
    silence = SeedSpread([Audio(torch.zeros(8000), 8000)] * 2)
    assert silence.summary["spread_db"] == 0 and silence.picture().startswith(b"\x89PNG")


def test_settings_of_a_comparison_load_back(tab, answer):
    with gr.Blocks():
        tab.build(History())
    given = {"seconds": "0.1", "labels": ["snare"], "samplers": ["ddim"], "steps": "2,3", "scales": "0, 1", "seed": 4}
    _, settings = answer(tab, **given)
    model, *updates = tab.load_settings(json.loads(json.dumps(settings)))
    values = {name: one["value"] for name, one in zip(OPTIONS, updates, strict=True)}
    assert model["value"] == tab.offers[0].name
    assert {name: values[name] for name in given} == given | {"seed": 4}
    _, repeated = answer(tab, **{name: values[name] for name in given})
    assert repeated["compare"] == settings["compare"]
    with pytest.raises(gr.Error, match="settings: are of no comparison"):
        tab.load_settings({"command": "audiodiff generate"})
    with pytest.raises(gr.Error, match="which is not compared here"):
        tab.load_settings(settings | {"model_hash": "0"})
    with pytest.raises(gr.Error, match="Seeds 99"):
        tab.load_settings(settings | {"compare": settings["compare"] | {"seeds": 99}})
    assert tab.load_settings(None) == [gr.skip()] * (1 + len(OPTIONS))
