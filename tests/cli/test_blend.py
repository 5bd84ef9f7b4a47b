"""`audiodiff blend`: weights between those of two models."""

from dataclasses import replace

import pytest
import torch

from audiodiff.conditioners.speaker import Speaker
from audiodiff.diffusion.objective import X0
from audiodiff.diffusion.schedules.schedule import LinearBeta
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.blending import blend
from audiodiff.models.checkpoint import load
from audiodiff.models.training_record import data_licenses


@pytest.fixture(scope="module")
def folders(make_prompted, tmp_path_factory):
    root, model = tmp_path_factory.mktemp("blend"), make_prompted()
    model.save_pretrained(root / "base", {"licenses": ["CC0-1.0"]})
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter += 0.5
    next(one for one in model.conditioners if one.name == "prompt").sentence_dropout = 0.5  # of training alone
    model.save_pretrained(root / "tuned", {"licenses": ["MIT"]})
    return root


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_lie_between_those_of_both(share, folders, command, tmp_path):
    assert command("blend", folders / "base", folders / "tuned", share, "--out", tmp_path / "out")[0] == 0
    one, other, found = (load(folder) for folder in (folders / "base", folders / "tuned", tmp_path / "out"))
    for name, weight in found.weights.items():
        assert torch.allclose(weight, (1 - share) * one.weights[name] + share * other.weights[name], atol=1e-6)
        assert share not in (0.0, 1.0) or torch.equal(weight, (one, other)[int(share)].weights[name])
    assert found.training["licenses"] == ["CC0-1.0", "MIT"]


def test_what_cannot_be_blended_is_one_line(folders, command, model_folder, make_music, tmp_path):
    make_music(1).save_pretrained(tmp_path / "plain")
    base = AudioModel.from_pretrained(folders / "base")
    base.with_arguments(objective=X0()).save_pretrained(tmp_path / "x0")
    base.with_arguments(schedule=LinearBeta(), objective=X0()).save_pretrained(tmp_path / "schedule")
    for other, share, word in (
        (folders / "tuned", "1.5", "share 1.5"),
        (folders / "tuned", "nan", "share nan"),
        (model_folder, "0.5", "type 'vocoder'"),
        (tmp_path / "plain", "0.5", "has another network, conditioners;"),
        (tmp_path / "x0", "0.5", "has another objective; blend a model with what was fine-tuned from it"),
        (tmp_path / "schedule", "0.5", "has another schedule, objective;"),
    ):
        status, _, lines = command("blend", folders / "base", other, share, "--out", tmp_path / "out")
        assert status == 1 and len(lines) == 1 and word in lines[0]


def test_speakers_in_another_order_are_not_blended(make_voice, tmp_path):
    """Their vectors have the same shapes, and the average is of two different voices."""
    model = make_voice()
    model.save_pretrained(tmp_path / "voice")
    found = load(tmp_path / "voice")
    speaker = found.arguments["speaker"]
    other = replace(found, arguments=found.arguments | {"speaker": Speaker(speaker.speakers[::-1], speaker.embedding)})
    with pytest.raises(UserError, match="other: has another speaker; blend"):
        blend(found, other, 0.5, "other")
    other = replace(found, arguments=found.arguments | {"sampler": "euler"})
    assert blend(found, other, 0.5, "other").type == "acoustic"


def test_hypernetworks_of_two_bases_are_not_blended(hypernetwork, tmp_path):
    hypernetwork.save_pretrained(tmp_path)
    found = load(tmp_path)
    other = replace(found, arguments=found.arguments | {"base_hash": "0" * 64})
    with pytest.raises(UserError, match="has another base_hash"):
        blend(found, other, 0.5, "other")
    other = replace(found, weights={"other": torch.zeros(1)})
    with pytest.raises(UserError, match="has other weights, such as"):
        blend(found, other, 0.5, "other")


def test_licenses_are_those_of_all_stages_of_both(folders):
    one, other = load(folders / "base"), load(folders / "tuned")
    stages = {"licenses": ["MIT"], "started_from": {"licenses": ["CC-BY-4.0"]}, "share": 9, "hash": "its own"}
    record = blend(one, replace(other, training=stages), 0.25, "other").training
    assert data_licenses(record) == ("CC-BY-4.0", "CC0-1.0", "MIT")
    assert record["blended"]["hash"] == other.digest and record["blended"]["share"] == 0.25
