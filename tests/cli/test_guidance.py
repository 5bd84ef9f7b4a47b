"""`audiodiff guidance`: the default guidance is stored in a checkpoint, and found there by other verbs."""

import json

import pytest
import torch

from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.export.model_card import describe_guidance
from audiodiff.models import checkpoint
from audiodiff.models.audio_model import AudioModel
from audiodiff.pipelines.audio_generator import AudioGenerator


@pytest.fixture
def model(make_music, tmp_path):
    make_music(1).save_pretrained(tmp_path / "model", {"steps": 3}, "# A card\n")
    return tmp_path / "model"


def test_guidance_is_stored_changed_and_removed(command, model, tmp_path):
    before = checkpoint.load(model)
    words = ("--guidance", 3, "--guidance-rescale", 0.5, "--guidance-interval", "-4:5")
    assert command("guidance", "--model", model, *words)[:2] == (
        0,
        ["guidance: scale 3, rescale 0.5, log-SNR -4 to 5"],
    )
    assert AudioModel.from_pretrained(model).guidance == GuidanceSetting(3.0, 0.5, -4.0, 5.0)
    after = checkpoint.load(model)
    assert after.training == before.training
    assert all(torch.equal(after.weights[name], weight) for name, weight in before.weights.items())
    assert any(line.startswith("guidance ") and "scale=3.0" in line for line in command("info", model)[1])
    assert command("guidance", "--model", model, "--guidance", 2)[1] == [
        "guidance: scale 2, rescale 0.5, log-SNR -4 to 5"
    ]
    text = (model / "README.md").read_text()
    assert text.startswith("# A card\n") and "scale 2, rescale 0.5, log-SNR -4 to 5" in text and "scale 3" not in text
    everywhere = ("--guidance-interval", "all", "--guidance-rescale", 0, "--out", tmp_path / "other")
    assert command("guidance", "--model", model, *everywhere)[1] == ["guidance: scale 2"]
    lines = command("guidance", "--model", model, "--guidance", 1, "--out", tmp_path / "none")[1]
    assert lines[0].startswith("guidance: scale 1, ") and "A guidance scale of 1 is none" in lines[1]
    assert command("guidance", "--model", model, "--remove")[1] == ["guidance: none"]
    assert AudioModel.from_pretrained(model).guidance is None and "scale" not in (model / "README.md").read_text()
    assert AudioModel.from_pretrained(tmp_path / "other").guidance == GuidanceSetting(2.0)


def test_it_counts_where_a_request_names_none(command, model, tmp_path):
    command("guidance", "--model", model, "--guidance", 3, "--guidance-interval", "-4:")
    words = ("generate", "--model", model, "--label", "kick", "--steps", 2, "--seconds", 0.1, "--device", "cpu")
    assert command(*words, "--out", tmp_path / "own")[0] == 0
    entries = json.loads((tmp_path / "own" / "0000.wav.json").read_text())
    assert entries["guidance_scale"] == 3 and entries["guidance_interval"] == "-4:"
    asked = (*words, "--guidance", 3, "--guidance-interval", "-4:", "--out", tmp_path / "asked")
    assert command(*asked)[0] == 0 and command(*words, "--guidance", 1, "--out", tmp_path / "plain")[0] == 0
    own, asked, plain = ((tmp_path / name / "0000.wav").read_bytes() for name in ("own", "asked", "plain"))
    assert own == asked != plain


def test_the_demo_begins_with_it(command, model):
    pytest.importorskip("gradio")
    from audiodiff.demo.catalog import Catalog
    from audiodiff.demo.generation import GenerationTask
    from audiodiff.demo.tasks import KINDS

    command("guidance", "--model", model, "--guidance", 3, "--guidance-rescale", 0.25, "--guidance-interval", ":6")
    defaults = GenerationTask().initial(Catalog.find(KINDS, model).offers[0])
    assert [defaults[name] for name in ("guidance_scale", "guidance_rescale", "guidance_interval")] == [3, 0.25, ":6"]


def test_a_card_says_it(make_music):
    assert describe_guidance(make_music()) == ""
    assert "scale 3, log-SNR -4 to any" in describe_guidance(make_music(guidance=GuidanceSetting(3.0, 0.0, -4.0)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "guidance: nothing to store; give --guidance 3"),
        (("--guidance", 3, "--remove"), "--remove: cannot be combined"),
        (("--guidance", 1e9), "--guidance 1e+09: out of range"),
        (("--guidance-interval", "5:-5"), "--guidance-interval '5:-5': is no interval"),
        (("--guidance-rescale", 2), "--guidance-rescale 2: out of range"),
    ],
)
def test_mistakes_change_nothing(command, model, words, message):
    before = (model / "config.json").read_bytes()
    status, _, (line,) = command("guidance", "--model", model, *words)
    assert status == 1 and message in line and (model / "config.json").read_bytes() == before


def test_models_that_take_none(command, make_music, model_folder, tmp_path):
    make_music(1, labels=()).save_pretrained(tmp_path / "plain")
    for folder, message in (
        (tmp_path / "plain", "has no conditions to guide to"),
        (model_folder, "is a model of type 'vocoder', not 'audio'"),
        ("drums", "is a shipped model, which is not modified"),
    ):
        status, _, (line,) = command("guidance", "--model", folder, "--guidance", 2)
        assert status == 1 and message in line
    assert AudioGenerator.from_pretrained("drums").model.guidance is None
