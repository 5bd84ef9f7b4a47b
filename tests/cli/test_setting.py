"""`audiodiff setting`: named settings are stored in a checkpoint, and found there by other verbs."""

import pytest
import torch
from tiny_models import make_model

from audiodiff.models import checkpoint
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel


@pytest.fixture
def model(tmp_path):
    make_model(sampler="ddim", validated=[2, 8]).save_pretrained(tmp_path / "model", {"steps": 3}, "# A card\n")
    return tmp_path / "model"


def test_settings_are_stored_changed_and_removed(command, model, tmp_path):
    before = checkpoint.load(model)
    assert command("setting", "fast", "--model", model, "--steps", 2, "--default")[0] == 0
    done = command("setting", "good", "--model", model, "--steps", 4, "--sampler", "v_3m", "--consistency", 64)
    lines = ["fast: 2 steps of ddim, mel consistency 4", "good: 4 steps of v_3m, mel consistency 64"]
    assert done == (0, lines, [])
    own = (Setting("fast", 2, "ddim", 4), Setting("good", 4, "v_3m", 64))
    assert VocoderModel.from_pretrained(model).settings == own
    after = checkpoint.load(model)
    assert after.training == before.training and (model / "README.md").read_text().startswith("# A card\n")
    assert all(torch.equal(after.weights[name], weight) for name, weight in before.weights.items())
    shown = command("info", model)[1]
    assert [line.split(maxsplit=1)[1] for line in shown if line.startswith("setting ")] == [
        f"{lines[0]} (default)",
        lines[1],
    ]
    assert command("setting", "fast", "--model", model, "--remove", "--out", tmp_path / "other")[1] == lines[1:]
    assert VocoderModel.from_pretrained(tmp_path / "other").settings == own[1:]
    table = [line for line in (model / "README.md").read_text().splitlines() if line.startswith("| ")]
    assert table[2:] == ["| fast | 2 | ddim | 4 iterations |", "| good | 4 | v_3m | 64 iterations |"]
    other = (tmp_path / "other/README.md").read_text()
    assert other.startswith("# A card\n") and "| fast |" not in other and table[3] in other
    assert VocoderModel.from_pretrained(model).settings == own


def test_a_model_in_the_output_folder_is_not_overwritten(command, model, tmp_path):
    make_model().save_pretrained(tmp_path / "other", {}, "# Another\n")
    before = (tmp_path / "other/config.json").read_bytes()
    for words in (("setting", "good", "--steps", 4), ("fit-grid", 4, "--data", "nowhere")):
        status, _, (line,) = command(*words, "--model", model, "--out", tmp_path / "other")
        assert status == 1 and "holds a model already; choose another --out" in line
    assert (tmp_path / "other/config.json").read_bytes() == before
    assert command("setting", "good", "--steps", 4, "--model", model, "--out", model)[0] == 0


def test_half_precision_and_its_weights_stay(command, model, tmp_path):
    found = checkpoint.load(model)
    half = checkpoint.Checkpoint(found.type, found.arguments, found.weights, {}, stored=checkpoint.HALF)
    checkpoint.save(tmp_path / "half", half, "")
    weights = (tmp_path / "half" / "model.safetensors").read_bytes()
    assert command("setting", "good", "--model", tmp_path / "half", "--steps", 8)[0] == 0
    assert (tmp_path / "half" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["good", "--sampler", "magic"], "sampler 'magic': is unknown"),
        (["good", "--sampler", "v_3m", "--steps", "2"], "v_3m needs at least 3"),
        (["good", "--consistency", "2000"], "consistency 2000: must be 0 to 1000"),
        (["a b"], "setting 'a b': must be letters"),
        (["best", "--remove"], "setting 'best': this model has no such setting"),
        (["default", "--remove"], "settings: are empty"),
        (["default", "--remove", "--steps", "2"], "--remove: cannot be combined"),
    ],
)
def test_bad_settings_change_nothing(command, model, words, said):
    before = (model / "config.json").read_bytes()
    status, out, (line,) = command("setting", *words, "--model", model)
    assert status == 1 and not out and said in line and line.startswith("error: ")
    assert (model / "config.json").read_bytes() == before


def test_a_shipped_model_is_not_modified(command):
    status, _, (line,) = command("setting", "good", "--model", "speech-16k", "--steps", 4)
    assert status == 1 and "is a shipped model, which is not modified; add --out FOLDER" in line


def test_fewer_steps_than_were_validated_are_warned_of(command, model):
    status, _, err = command("setting", "fast", "--model", model, "--steps", 1)
    assert status == 0
    assert err == ["warning: steps 1: fewer than the model was validated with (2), quality may be worse"]
