"""Adapters from reference clips: what they depend on, what is refused, and that every generator takes them."""

import json

import pytest
import torch
from typer.testing import CliRunner

from audiodiff.audio.io import Audio, write
from audiodiff.cli import build
from audiodiff.errors import UserError
from audiodiff.models import adapter
from audiodiff.pipelines.adapter_predictor import AdapterPredictor, card
from audiodiff.pipelines.audio_generator import AudioGenerator

RATE = 8000


def clip(seed=0, seconds=0.3) -> Audio:
    return Audio(0.1 * torch.randn(round(seconds * RATE), generator=torch.Generator().manual_seed(seed)), RATE)


@pytest.fixture(scope="module")
def predictor(hypernetwork):
    return AdapterPredictor(hypernetwork, model_hash="0" * 64, training={"licenses": ["CC0-1.0"]})


@pytest.fixture(scope="module")
def folder(hypernetwork, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hypernetwork") / "model"
    hypernetwork.save_pretrained(folder, {"licenses": ["CC0-1.0"]})
    return folder


def same(one, other) -> bool:
    pairs = ((one.updates[name][key], other.updates[name][key]) for name in one.updates for key in one.updates[name])
    return all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_an_adapter_depends_on_all_clips_and_not_on_order_or_level(predictor):
    both = predictor.predict([clip(0), clip(1)])
    assert same(both, predictor.predict([clip(1), clip(0)]))
    assert same(both, predictor.predict([Audio(0.5 * clip(0).samples, RATE), clip(1)]))
    assert not same(both, predictor.predict(clip(0)))


def test_only_the_first_ten_seconds_count(predictor):
    long = clip(0, 11)
    cut = Audio(long.samples[: 10 * RATE], RATE)
    assert same(predictor.predict(long), predictor.predict(cut))


def test_card_and_record_say_what_it_is_of(predictor):
    found = predictor.predict([clip(0), clip(1)])
    batch = Audio(torch.stack([clip(number).samples.reshape(1, -1) for number in range(2)]), RATE)
    assert same(found, predictor.predict(batch)) and predictor.predict(batch).training["references"] == 2
    assert found.training["references"] == 2 and found.training["licenses"] == ["CC0-1.0"]
    assert "2 reference clips" in card(found) and "CC0-1.0" in card(found)


@pytest.mark.parametrize(
    ("clips", "match"),
    [
        ([], "none are given"),
        (Audio(torch.zeros(RATE), RATE), "clip 1: is silent"),
        ([clip(), Audio(1e-6 * clip().samples, RATE)], "clip 2: is silent"),
        (clip(0, 0.04), "at least 0.05 s"),
        ([clip(), 3], "clip 2: is int"),
        (None, "clip 1: is NoneType"),
        (Audio(clip().samples * torch.tensor([[1.0], [-1.0]]), RATE), "clip 1: is silent"),  # once it is mixed
        (Audio(clip().samples.reshape(1, 1, -1) * torch.tensor([1.0, 0.0])[:, None, None], RATE), "clip 1: is silent"),
        (Audio(1e30 * clip().samples, RATE), "clip 1: has samples of .*scale it down"),
    ],
)
def test_clips_that_say_nothing_are_refused_in_one_line(predictor, clips, match):
    with pytest.raises(UserError, match=match) as caught:
        predictor.predict(clips)
    assert "\n" not in str(caught.value)


def test_the_command_writes_an_adapter_that_generators_take(folder, hypernetwork_base, tmp_path):
    write(tmp_path / "a.wav", clip(0))
    write(tmp_path / "b.wav", clip(1))
    words = ["adapt", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--model", str(folder), "--device", "cpu"]
    done = CliRunner().invoke(build(), [*words, "--out", str(tmp_path / "adapter")])
    assert done.exit_code == 0 and done.output.strip() == str(tmp_path / "adapter")
    record = json.loads((tmp_path / "adapter" / "adapter.json").read_text())
    assert record["training"]["references"] == 2 and record["base"]["name"] == str(hypernetwork_base)
    here = AdapterPredictor.from_pretrained(folder).predict([clip(0), clip(1)])
    stored = adapter.load(tmp_path / "adapter")
    assert stored.updates.keys() == here.updates.keys()
    generator = AudioGenerator.from_pretrained(hypernetwork_base)
    plain, adapted, zero = (
        generator.generate(prompt="tap", steps=2, adapters=one).samples
        for one in ([], [tmp_path / "adapter"], [f"{tmp_path / 'adapter'}:0"])
    )
    assert torch.equal(plain, zero) and not torch.equal(plain, adapted)
    again = CliRunner().invoke(build(), [*words, "--out", str(tmp_path / "adapter")])
    assert "holds a model or an adapter already" in str(again.exception)


def test_files_that_are_none_and_other_models_are_refused(folder, tmp_path):
    (tmp_path / "noise.wav").write_text("no sound")
    with pytest.raises(UserError, match=r"noise\.wav"):
        AdapterPredictor.from_pretrained(folder).predict(tmp_path / "noise.wav")
    done = CliRunner().invoke(build(), ["adapt", "x.wav", "--model", "drums", "--out", str(tmp_path / "out")])
    assert "is a model of type 'audio', not 'hypernetwork'" in str(done.exception)
