"""Guides on the page of a generator: the clip of the Python API and of the command line, and only what is offered."""

import gradio as gr
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from audiodiff.cli import build
from audiodiff.demo import serve
from audiodiff.demo.guide_menu import NONE, GuideMenu
from audiodiff.demo.uploads import read_upload
from audiodiff.errors import UserError
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.checkpoint import shipped
from audiodiff.pipelines.audio_editor import AudioEditor
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.guidance_options import GuideModels, GuideOptions
from audiodiff.pipelines.guides import Guide

WEIGHTS = {"classifier": 60.0, "autoguidance": 4.0, "embedding_guidance": 60.0}
SHORT = {"steps": 2, "seconds": 0.1, "seed": 4}


@pytest.fixture(scope="module")
def folders(make_music, guide_folders, tmp_path_factory):
    """The model, and its guides by the names of their options."""
    folder = tmp_path_factory.mktemp("guided") / "model"
    make_music(1).save_pretrained(folder)
    return guide_folders | {"model": folder}


@pytest.fixture(scope="module")
def page(folders, tabs):
    guides = {name: folder for name, folder in folders.items() if name != "model"}
    return tabs(folders["model"], guides=GuideModels(**guides))


@pytest.fixture(scope="module")
def request_clip(page, answer):
    """Samples (T,) and settings of a clip of the page."""

    def ask(**options):
        (samples,), settings = answer(page["generate"], **SHORT | options)
        return samples.flatten(), settings

    return ask


def conditions(name):
    return {"labels": ["kick"]} | ({"prompt": "rain"} if name == "embedding_guidance" else {})


def weight(name):
    return {f"{name.removesuffix('_guidance')}_weight": WEIGHTS[name]}


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_clip_is_that_of_the_api_and_of_the_command_line(request_clip, folders, tmp_path, name):
    found, settings = request_clip(**conditions(name), **{name: folders[name].name}, **weight(name))
    generator = AudioGenerator.from_pretrained(folders["model"])
    expected = generator.generate(**SHORT, **conditions(name), **{name: folders[name]}, **weight(name)).samples
    torch.testing.assert_close(found, expected.flatten(), rtol=0, atol=1 / 32767)
    assert (found - request_clip(labels=["kick"])[0]).abs().max() > 1e-2
    assert settings[name] == Guide.load(name, folders[name]).digest

    flags = ["--steps", "2", "--seconds", "0.1", "--seed", "4", "--label", "kick", "--device", "cpu"]
    flags += ["--prompt", "rain"] if name == "embedding_guidance" else []
    guide = f"--{name.replace('_', '-')}"
    flags += [guide, str(folders[name]), f"{guide.removesuffix('-guidance')}-weight", str(WEIGHTS[name])]
    answer = CliRunner().invoke(build(), ["generate", "--model", str(folders["model"]), "--out", str(tmp_path), *flags])
    assert answer.exit_code == 0, answer.output
    written = torch.from_numpy(soundfile.read(tmp_path / "0000.wav", dtype="float32")[0])
    torch.testing.assert_close(found, written, rtol=0, atol=2 / 32767)


def test_a_guide_left_at_none_changes_nothing(request_clip, page):
    plain, settings = request_clip(labels=["kick"])
    assert (
        settings["classifier"] is None
        and page["generate"].task.initial(page["generate"].offers[0])["classifier"] == NONE
    )
    unchosen, _ = request_clip(labels=["kick"], classifier=NONE, classifier_weight=5.0)
    assert torch.equal(unchosen, plain)


def test_labels_of_the_classifier_alone_are_offered(request_clip, page):
    assert page["generate"].options["labels"].choices == ("kick", "snare", "bell")
    guided, settings = request_clip(labels=["bell"], classifier="classifier", classifier_weight=60.0)
    assert settings["guidance_scale"] == 1 and (guided - request_clip()[0]).abs().max() > 1e-2
    with pytest.raises(gr.Error, match="labels 'bell': unknown"):
        request_clip(labels=["bell"])


def test_only_offered_names_are_loaded(request_clip, tmp_path):
    with pytest.raises(gr.Error, match=r"Classifier .*: unknown; choose among none") as error:
        request_clip(labels=["kick"], classifier=str(tmp_path))
    assert "\n" not in str(error.value)


def test_an_edit_is_that_of_the_api(page, answer, folders, recording):
    given = {"steps": 2, "seed": 4, "labels": ["kick"], "classifier_weight": 60.0}
    (found,), _ = answer(page["edit"], recording=str(recording), regions="0.2:0.5", classifier="classifier", **given)
    editor = AudioEditor.from_pretrained(folders["model"])
    audio = read_upload(str(recording), 10, channels=2, mono=True)
    expected = editor.edit(audio, regions=["0.2:0.5"], classifier=folders["classifier"], **given).samples
    torch.testing.assert_close(found.flatten(), expected.flatten(), rtol=0, atol=1 / 32767)
    plain = editor.edit(audio, regions=["0.2:0.5"], **given | {"classifier_weight": None}).samples
    assert (expected - plain).abs().max() > 1e-3


def test_shipped_pairs_guide_every_generator(make_music):
    menu = GuideMenu.for_model(make_music(1, labels=()))
    assert list(menu.folders["embedding_guidance"]) == shipped(AudioTextModel.TYPE)
    assert "autoguidance" not in menu.folders and list(menu.conditions({})) == ["prompt"]
    offered = menu.options(dict.fromkeys(("guidance_scale", "negative")) | _declared(), {})
    assert not {"guidance_scale", "negative", "autoguidance", "autoguidance_weight"} & set(offered)


def test_guides_that_do_not_fit_are_refused_at_the_start(folders, make_classifier, model_folder, tmp_path):
    make_classifier(channels=2).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"^classifier .*is for channels 2, not 1"):
        serve.build(folders["model"], guides=GuideModels(classifier=tmp_path))
    with pytest.raises(UserError, match=r"^classifier .*has no effect on a vocoder"):
        serve.build(model_folder, guides=GuideModels(classifier=tmp_path))
    answer = CliRunner().invoke(build(), ["demo", "--model", str(model_folder), "--classifier", str(tmp_path)])
    assert answer.exit_code and str(answer.exception).startswith("--classifier ")


def _declared():
    from audiodiff.options import options_of

    return options_of(GuideOptions)
