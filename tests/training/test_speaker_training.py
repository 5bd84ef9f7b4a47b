"""Training an adapter that adds a speaker, alone or with updates: the base is untouched, resuming is exact."""

import shutil

import pytest
import torch

from audiodiff import config, train
from audiodiff.errors import UserError
from audiodiff.models import adapter, checkpoint

NEW = "hibari/heart"  # whose sentences `debug=smoke` makes
QUICK = (
    *("+recipe=speech_own_voice", "debug=smoke", "audio=speech_16k", "network.frontend.channels=160"),
    *("callbacks.checkpoints.every_n_steps=2", "callbacks.samples.clips=1", "optimizer.lr=1e-2"),
    *("lr_schedule.final_ratio=1.0", "lr_schedule.warmup_steps=1", "trainer.max_time=null"),
    *(f"data.speakers=[{NEW}]", "data.corpora=hibari"),
)


@pytest.fixture(scope="module")
def base(make_voice, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "base"
    make_voice().save_pretrained(folder, {"licenses": ["CC0-1.0"]})
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("tones") / "data"


def run(folder, data, base, *words, steps=3):
    settings = (f"folder={folder}", f"data.path={data}", f"trainer.max_steps={steps}", f"init_from={base}")
    overrides = [*QUICK, *settings, *words]
    train.run(config.compose(overrides), folder, overrides)
    return folder


@pytest.mark.parametrize("kind", ["speaker", "lora"])
def test_a_speaker_is_trained_and_the_base_is_not(kind, base, data, tmp_path):
    words = [f"adapter={kind}", f"adapter.speaker={NEW}"] + (["adapter.rank=2"] if kind == "lora" else [])
    whole = run(tmp_path / "whole", data, base, *words)
    found = adapter.load(whole / "adapter")
    before = checkpoint.load(base).weights
    mean = before["conditioners.speaker.projection.weight"].mean(1)
    assert list(found.speakers) == [NEW] and found.speakers[NEW].shape == (16,)
    assert 1e-3 < (found.speakers[NEW] - mean).abs().max() < 0.1
    assert bool(found.updates) == (kind == "lora") == any(one["up"].any() for one in found.updates.values())
    state = torch.load(max((whole / "checkpoints").glob("*.ckpt")), weights_only=True)["state_dict"]
    names = ("projection.weight", "projection.parametrizations.weight.original")
    (projection,) = (value for name, value in state.items() if name.endswith(names) and value.shape == (16, 2))
    assert torch.equal(projection, before["conditioners.speaker.projection.weight"])
    card = (whole / "adapter" / "README.md").read_text()
    assert f'--speaker "{NEW}"' in card and f"he speaker `{NEW}`" in card

    shutil.copytree(whole / "checkpoints", tmp_path / "broken" / "checkpoints")
    (tmp_path / "broken" / "checkpoints" / "step=000000003.ckpt").unlink()
    broken = run(tmp_path / "broken", data, base, *words, "resume=last")
    one, other = ((folder / "adapter" / "adapter.safetensors").read_bytes() for folder in (whole, broken))
    assert one == other


def test_a_speaker_begins_as_another(base, data, tmp_path):
    words = ("adapter=speaker", f"adapter.speaker={NEW}", "adapter.initial=bob", "optimizer.lr=1e-9")
    found = adapter.load(run(tmp_path, data, base, *words, steps=1) / "adapter")
    bob = checkpoint.load(base).weights["conditioners.speaker.projection.weight"][:, 1]
    torch.testing.assert_close(found.speakers[NEW], bob)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("adapter.speaker=eve",), r"adapter.speaker eve: no training clip has it; set it to one of hibari/heart"),
        (("adapter.speaker='a:b'",), "adapter.speaker 'a:b': is not a name"),
        (("adapter.speaker=bob",), "adapter.speaker bob: is known already"),
        (("adapter.speaker=null",), "has nothing to train"),
        (("adapter.initial=eve",), "speaker 'eve': unknown; choose one of ann, bob"),
        (("adapter=lora", "adapter.rank=2"), "which the model does not have; .* or set adapter.speaker"),
    ],
)
def test_what_cannot_be_trained_is_one_line(words, match, base, data, tmp_path):
    default = () if any(word.startswith("adapter.speaker") for word in words) else (f"adapter.speaker={NEW}",)
    default = () if "adapter=lora" in words else ("adapter=speaker", *default)
    with pytest.raises(UserError, match=match) as error:
        run(tmp_path, data, base, *default, *words)
    assert "\n" not in str(error.value)
