"""Adapters on the pages: the clip of the Python API and of the command line, and only what the command line names."""

import gradio as gr
import pytest
import soundfile
import torch
from adapter_models import random_adapter
from typer.testing import CliRunner

from audiodiff.cli import build
from audiodiff.demo import serve
from audiodiff.demo.uploads import read_upload
from audiodiff.errors import UserError
from audiodiff.models import adapter
from audiodiff.pipelines.audio_editor import AudioEditor
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer

SHORT = {"steps": 2, "seconds": 0.1, "seed": 4, "labels": ["kick"]}


@pytest.fixture(scope="module")
def music(make_music, tmp_path_factory):
    """A generator, and two adapters of it: one by its own name, one where a run exports it."""
    root = tmp_path_factory.mktemp("adapted")
    model = make_music(1)
    model.save_pretrained(root / "model")
    for number, name in enumerate(("my-drum", "my_room/adapter")):
        random_adapter(model, seed=number).save(root / name)
    return root


@pytest.fixture(scope="module")
def page(music, tabs):
    return tabs(music / "model", adapters=[f"{music}/my-drum:0.5", f"{music}/my_room/adapter:0"])


@pytest.fixture(scope="module")
def tab(page):
    return page["generate"]


@pytest.fixture(scope="module")
def voice(make_voice, tmp_path_factory):
    """A voice, and an adapter that adds a speaker."""
    root = tmp_path_factory.mktemp("adapted-voice")
    model = make_voice()
    model.save_pretrained(root / "model")
    generator = torch.Generator().manual_seed(0)
    random_adapter(model, speakers={"anna": torch.randn(16, generator=generator)}).save(root / "anna")
    return root


@pytest.fixture(scope="module")
def request_clip(answer):
    def ask(tab, **options):
        (samples,), settings = answer(tab, **SHORT | options)
        return samples.flatten(), settings

    return ask


def test_each_adapter_has_a_slider_that_begins_at_its_scale(tab):
    sliders = {name: option for name, option in tab.options.items() if name.startswith("adapter_")}
    assert list(sliders) == ["adapter_my_drum", "adapter_my_room"] and "adapters" not in tab.options
    assert [option.label for option in sliders.values()] == ["my-drum", "my_room"]
    assert all((option.minimum, option.maximum) == (0, 1.5) for option in sliders.values())
    assert [tab.defaults[name] for name in sliders] == [0.5, 0]


@pytest.mark.parametrize("scales", [(1.25, 0.0), (0.5, 1.0)])
def test_the_clip_is_that_of_the_api_and_of_the_command_line(tab, request_clip, music, tmp_path, scales):
    found, settings = request_clip(tab, adapter_my_drum=scales[0], adapter_my_room=scales[1])
    given = [f"{music}/{name}:{scale}" for name, scale in zip(("my-drum", "my_room/adapter"), scales, strict=True)]
    expected = AudioGenerator.from_pretrained(music / "model").generate(**SHORT, adapters=given).samples
    torch.testing.assert_close(found, expected.flatten(), rtol=0, atol=1 / 32767)
    records = [{"hash": adapter.load(one.rpartition(":")[0]).digest, "interval": None} for one in given]
    pairs = zip(records, scales, strict=True)
    assert settings["adapters"] == [one | {"scale": scale} for one, scale in pairs if scale] and found.any()

    flags = ["--steps", "2", "--seconds", "0.1", "--seed", "4", "--label", "kick", "--device", "cpu"]
    flags += [word for one in given for word in ("--adapter", one)]
    answer = CliRunner().invoke(build(), ["generate", "--model", str(music / "model"), "--out", str(tmp_path), *flags])
    assert answer.exit_code == 0, answer.output
    written = torch.from_numpy(soundfile.read(tmp_path / "0000.wav", dtype="float32")[0])
    assert torch.equal(found, written)


def test_at_scale_zero_the_clip_is_that_of_the_model(tab, tabs, request_clip, music):
    found, settings = request_clip(tab, adapter_my_drum=0, adapter_my_room=0)
    plain = tabs(music / "model")["generate"]
    assert torch.equal(found, request_clip(plain)[0]) and settings["adapters"] is None
    assert (found - request_clip(tab)[0]).abs().max() > 1e-2


def test_scales_are_found_again_in_settings(tab, request_clip):
    """Also of an adapter that was off: it is not in the settings, and its slider begins at another scale."""
    _, settings = request_clip(tab, adapter_my_drum=0, adapter_my_room=0.7)
    restored = tab.task.restore(tab.offers[0], settings)
    assert (restored["adapter_my_drum"], restored["adapter_my_room"]) == (0, 0.7)


def test_an_adapter_of_another_model_has_no_effect(tab, request_clip):
    """Its slider is hidden, at the scale that it begins with; another scale is refused."""
    other = next(offer.name for offer in tab.offers[1:])
    assert request_clip(tab, model=other, labels=[])[1]["adapters"] is None
    with pytest.raises(gr.Error, match=f"my-drum 1.0: {other} has no such option"):
        request_clip(tab, model=other, labels=[], adapter_my_drum=1.0)


@pytest.mark.parametrize("value", [1.6, -0.1, float("nan"), "my-drum", None])
def test_what_is_no_scale_is_refused_in_one_line(tab, request_clip, value):
    with pytest.raises(gr.Error, match=r"my-drum (1.6|-0.1|nan|.my-drum.|is empty)|my-drum: is empty") as error:
        request_clip(tab, adapter_my_drum=value)
    assert "\n" not in str(error.value)


def test_an_edit_is_that_of_the_api(page, answer, music, recording):
    given = {"steps": 2, "seed": 4, "labels": ["kick"]}
    scales = {"adapter_my_drum": 1.5, "adapter_my_room": 0}
    (found,), settings = answer(page["edit"], recording=str(recording), regions="0.2:0.5", **given, **scales)
    editor = AudioEditor.from_pretrained(music / "model")
    audio = read_upload(str(recording), 10, channels=2, mono=True)
    expected = editor.edit(audio, regions=["0.2:0.5"], adapters=[f"{music}/my-drum:1.5"], **given).samples
    torch.testing.assert_close(found.flatten(), expected.flatten(), rtol=0, atol=1 / 32767)
    assert settings["adapters"][0]["scale"] == 1.5
    plain = editor.edit(audio, regions=["0.2:0.5"], **given).samples
    assert (expected - plain).abs().max() > 1e-3


def test_a_speaker_of_an_adapter_speaks_as_by_the_api(voice, vocoder, tabs, answer):
    tab = tabs(voice / "model", adapters=[f"{voice}/anna"])["say"]
    synthesizer = SpeechSynthesizer.from_pretrained(voice / "model", vocoder=vocoder)
    tab.store._loaded[tab.offers[0].name] = synthesizer
    assert tab.options["speaker"].choices[:3] == ("ann", "bob", "anna")
    (found,), settings = answer(tab, text="Hello.", steps=2, speaker="anna")
    expected = synthesizer.say("Hello.", speaker="anna", steps=2, adapters=[voice / "anna"]).audio.samples
    torch.testing.assert_close(found.flatten(), expected.clamp(-1, 1).flatten(), rtol=0, atol=1 / 32767)
    assert settings["speaker"] == "anna" and settings["adapters"][0]["scale"] == 1
    with pytest.raises(gr.Error, match="anna: is a speaker of the adapter anna, whose scale is 0"):
        answer(tab, text="Hello.", steps=2, speaker="anna", adapter_anna=0)


@pytest.mark.parametrize(
    ("model", "adapters", "match"),
    [
        ("music", "voice/anna", "was trained on .* which is not on this page"),
        ("voice", "music/my-drum", "was trained on .* which is not on this page"),
        ("music", "music/my-drum:2", "has the scale 2; use 0 to 1.5"),
        ("music", "music/model", "is a model, not an adapter"),
        ("vocoder", "music/my-drum", "give its base by --model"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_start(model, adapters, match, music, voice, model_folder):
    models = {"music": music / "model", "voice": voice / "model", "vocoder": model_folder}
    root, _, name = adapters.partition("/")
    with pytest.raises(UserError, match=match) as error:
        serve.build(models[model], adapters=[f"{ {'music': music, 'voice': voice}[root] }/{name}"])
    assert "\n" not in str(error.value)


def test_an_adapter_of_another_base_is_refused_at_the_start(music, make_music, tmp_path):
    random_adapter(make_music(1, labels=("bell",))).save(tmp_path / "other")
    with pytest.raises(UserError, match=r"other: was trained on .*, which is not on this page"):
        serve.build(music / "model", adapters=[str(tmp_path / "other")])


def test_adapters_of_one_name_are_told_apart(music, tabs, tmp_path):
    (tmp_path / "my-drum").symlink_to(music / "my_room" / "adapter")
    both = tabs(music / "model", adapters=[f"{music}/my-drum", f"{tmp_path}/my-drum"])["generate"].offers[0]
    assert list(both.adapters.titles.values()) == ["my-drum", "my-drum_2"]
    assert list(both.adapters.options) == ["adapter_my_drum", "adapter_my_drum_2"]


def test_two_adapters_of_one_speaker_are_refused_at_the_start(voice, tmp_path):
    (tmp_path / "again").symlink_to(voice / "anna")
    with pytest.raises(UserError, match="speaker anna: is known already; leave one of the two out"):
        serve.build(voice / "model", adapters=[str(voice / "anna"), str(tmp_path / "again")])
