"""Adapters on the pages: the clip of the Python API and of the command line, and only what the command line names."""

import gradio as gr
import pytest
import soundfile
import torch
from adapter_models import random_adapter
from typer.testing import CliRunner

from audiodiff.cli import build
from audiodiff.demo import generator_page, serve, speech_page
from audiodiff.demo.editor_tab import EditorTab
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
def app(music):
    return generator_page.App(music / "model", "cpu", None, [f"{music}/my-drum:0.5", f"{music}/my_room/adapter:0"])


@pytest.fixture(scope="module")
def voice(make_voice, tmp_path_factory):
    """A voice, and an adapter that adds a speaker."""
    root = tmp_path_factory.mktemp("adapted-voice")
    model = make_voice()
    model.save_pretrained(root / "model")
    generator = torch.Generator().manual_seed(0)
    random_adapter(model, speakers={"anna": torch.randn(16, generator=generator)}).save(root / "anna")
    return root


def request(app, **options):
    """Samples and settings of a clip of the page."""
    values = {**app.defaults, **SHORT, **options}
    answer = list(app.generate(*(values.get(name) for name in app.options), lambda *_, **__: None))[-1]
    return torch.from_numpy(answer[1][1].astype("float32")).flatten() / 32767, answer[2]


def test_each_adapter_has_a_slider_that_begins_at_its_scale(app):
    sliders = {name: option for name, option in app.options.items() if name.startswith("adapter_")}
    assert list(sliders) == ["adapter_my_drum", "adapter_my_room"] and "adapters" not in app.options
    assert [option.label for option in sliders.values()] == ["my-drum", "my_room"]
    assert all((option.minimum, option.maximum) == (0, 1.5) for option in sliders.values())
    assert [app.defaults[name] for name in sliders] == [0.5, 0]


@pytest.mark.parametrize("scales", [(1.25, 0.0), (0.5, 1.0)])
def test_the_clip_is_that_of_the_api_and_of_the_command_line(app, music, tmp_path, scales):
    found, settings = request(app, adapter_my_drum=scales[0], adapter_my_room=scales[1])
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
    torch.testing.assert_close(found, written, rtol=0, atol=2 / 32767)


def test_at_scale_zero_the_clip_is_that_of_the_model(app, music):
    found, settings = request(app, adapter_my_drum=0, adapter_my_room=0)
    plain = generator_page.App(music / "model", "cpu")
    assert torch.equal(found, request(plain)[0]) and settings["adapters"] is None
    assert (found - request(app)[0]).abs().max() > 1e-2


@pytest.mark.parametrize("value", [1.6, -0.1, float("nan"), "my-drum", None])
def test_what_is_no_scale_is_refused_in_one_line(app, value):
    with pytest.raises(gr.Error, match=r"my-drum (1.6|-0.1|nan|.my-drum.|is empty)|my-drum: is empty") as error:
        request(app, adapter_my_drum=value)
    assert "\n" not in str(error.value)


def test_an_edit_is_that_of_the_api(app, music, recording):
    tab = EditorTab(lambda: app.generator, app.conditions, app.lock, app.menu, app.adapters)
    given = {"steps": 2, "seed": 4, "labels": ["kick"]}
    values = tab.defaults | given | {"regions": "0.2:0.5", "adapter_my_drum": 1.5, "adapter_my_room": 0}
    answer = list(tab.edit(str(recording), *(values.get(name) for name in tab.options), lambda *_, **__: None))[-1]
    editor, audio = AudioEditor.from_pretrained(music / "model"), read_upload(str(recording), 10, channels=2)
    expected = editor.edit(audio, regions=["0.2:0.5"], adapters=[f"{music}/my-drum:1.5"], **given).samples
    found = torch.from_numpy(answer[1][1].astype("float32")).T / 32767
    torch.testing.assert_close(found.flatten(), expected.flatten(), rtol=0, atol=1 / 32767)
    assert answer[2]["adapters"][0]["scale"] == 1.5
    plain = editor.edit(audio, regions=["0.2:0.5"], **given).samples
    assert (expected - plain).abs().max() > 1e-3


def speak(app, **options):
    """Samples and settings of a text that the page speaks."""
    values = {**app.defaults, "text": "Hello.", "steps": 2, **options}
    answer = list(app.speak(*(values.get(name) for name in app.options), lambda *_, **__: None))[-1]
    return torch.from_numpy(answer[1][1].astype("float32")).flatten() / 32767, answer[3]


def test_a_speaker_of_an_adapter_speaks_as_by_the_api(voice, vocoder):
    app = speech_page.App(voice / "model", "cpu", [f"{voice}/anna"])
    app.__dict__["synthesizer"] = synthesizer = SpeechSynthesizer.from_pretrained(voice / "model", vocoder=vocoder)
    assert app.options["speaker"].choices == ("ann", "bob", "anna")
    found, settings = speak(app, speaker="anna")
    expected = synthesizer.say("Hello.", speaker="anna", steps=2, adapters=[voice / "anna"]).audio.samples
    torch.testing.assert_close(found, expected.clamp(-1, 1).flatten(), rtol=0, atol=1 / 32767)
    assert settings["speaker"] == "anna" and settings["adapters"][0]["scale"] == 1
    with pytest.raises(gr.Error, match="anna: is a speaker of the adapter anna, whose scale is 0"):
        speak(app, speaker="anna", adapter_anna=0)


@pytest.mark.parametrize(
    ("model", "adapters", "match"),
    [
        ("music", "voice/anna", "is for a model of type 'acoustic', not 'audio'"),
        ("voice", "music/my-drum", "is for a model of type 'audio', not 'acoustic'"),
        ("music", "music/my-drum:2", "has the scale 2; use 0 to 1.5"),
        ("music", "music/model", "is a model, not an adapter"),
        ("vocoder", "music/my-drum", "cannot be chosen on the page of a vocoder"),
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
    with pytest.raises(UserError, match="other: was trained on another model"):
        serve.build(music / "model", adapters=[str(tmp_path / "other")])


def test_adapters_of_one_name_are_told_apart(music, tmp_path):
    (tmp_path / "my-drum").symlink_to(music / "my_room" / "adapter")
    both = generator_page.App(music / "model", "cpu", None, [f"{music}/my-drum", f"{tmp_path}/my-drum"])
    assert list(both.adapters.titles.values()) == ["my-drum", "my-drum_2"]
    assert list(both.adapters.options) == ["adapter_my_drum", "adapter_my_drum_2"]
