"""Training of adapters: the base is untouched, what is exported is what was trained, and resuming is exact."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from audiodiff import config, train
from audiodiff.audio.io import Audio, write
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.models import adapter, checkpoint
from audiodiff.models.adapted import AppliedAdapter, weights_hash
from audiodiff.models.audio_model import AudioModel
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.training.datamodule import AudioData
from audiodiff.training.forgetting import Forgetting

RATE, SAMPLES = 8000, 1600
QUICK = (
    *("+recipe=sounds", "model=prompted_audio", "network=music", "data=audio", "data.balance=null"),
    *(f"data.sample_rate={RATE}", f"data.crop_samples={SAMPLES}", "data.workers=0", "data.batch_size=4"),
    *("data.scalars=[]", "task.spectrum_crops=4", "trainer.accelerator=cpu", "trainer.max_time=null", "logger=null"),
    *("callbacks.samples.clips=1", "callbacks.samples.steps=1", "callbacks.ema.decay=0.5", "optimizer.lr=1e-2"),
    "lr_schedule.warmup_steps=1",
)


@pytest.fixture(scope="module")
def base(make_prompted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "base"
    make_prompted().save_pretrained(folder, {"licenses": ["CC0-1.0"]})
    return folder


@pytest.fixture(scope="module")
def taps(tmp_path_factory):
    """Eight clicks with the caption "a tap"."""
    root, clips = tmp_path_factory.mktemp("taps"), []
    for number in range(8):
        noise = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(number))
        write(root / f"{number}.wav", Audio(0.1 * noise * torch.linspace(1, 0, SAMPLES).pow(4 + number), RATE))
        split = "validation" if number == 7 else "train"
        options = {"split": split, "license": "CC-BY-4.0", "caption": "a tap", "content": f"tap-{number}"}
        clips.append(Clip(f"taps/{number}", f"{number}.wav", SAMPLES / RATE, RATE, **options))
    Manifest(tuple(clips), root).save()
    return root


def run(folder: Path, data: Path, steps: int, *words: str) -> Path:
    settings = (f"folder={folder}", f"data.path={data}", f"trainer.max_steps={steps}")
    times = (f"trainer.val_check_interval={steps}", "callbacks.checkpoints.every_n_steps=2")
    overrides = [*QUICK, *settings, *times, *words]
    train.run(config.compose(overrides), folder, overrides)
    return folder


@pytest.fixture(scope="module")
def trained(base, taps, tmp_path_factory):
    return run(tmp_path_factory.mktemp("run"), taps, 4, "adapter=lora", "adapter.rank=2", f"init_from={base}")


def test_an_adapter_of_the_base_is_exported(trained, base):
    found, model = adapter.load(trained / "adapter"), AudioModel.from_pretrained(base).requires_grad_(False)
    assert found.base == weights_hash(model) and found.kind == "lora" and found.rank == 2
    assert found.training["steps"] == 4 and found.training["started_from"]["hash"] == checkpoint.load(base).digest
    assert found.updates["unet.conv_in"]["up"].any() and found.updates["unet.conv_out"]["up"].any()
    assert not (trained / "model").exists()
    card = (trained / "adapter" / "README.md").read_text()
    assert "generate --model" in card and "CC-BY-4.0" in card and "CC0-1.0" in card
    choices = [], [trained / "adapter"]
    plain, changed = (AudioGenerator(model).generate(prompt="tap", steps=2, adapters=one) for one in choices)
    assert not torch.equal(plain.samples, changed.samples)


def test_the_base_stays_as_it_is_in_the_run(trained, base):
    state = torch.load(trained / "checkpoints" / "step=000000004.ckpt", weights_only=True)["state_dict"]
    weights = checkpoint.load(base).weights
    for name in (name for name in weights if name.startswith("unet.")):
        layer, _, last = f"model.denoiser.network.{name}".rpartition(".")
        frozen = f"{layer}.parametrizations.{last}.original"
        assert torch.equal(state[frozen if frozen in state else f"{layer}.{last}"], weights[name]), name


@pytest.mark.parametrize("kind", ["dora", "loha", "word"])
def test_an_interrupted_run_ends_as_an_unbroken_one(kind, base, taps, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)
    words = (f"adapter={kind}", 'adapter.word="<my-tap>"', "adapter.tokens=2", f"init_from={moved}")
    words += ('data.caption="a <my-tap>"',)
    words += () if kind == "word" else ("adapter.rank=1",)
    whole = run(tmp_path / "whole", taps, 4, *words)
    shutil.copytree(whole / "checkpoints", tmp_path / "broken" / "checkpoints")
    (tmp_path / "broken" / "checkpoints" / "step=000000004.ckpt").unlink()
    shutil.rmtree(moved)  # all that the run needs is in its checkpoint
    broken = run(tmp_path / "broken", taps, 4, *words, "resume=last")
    one, other = ((folder / "adapter" / "adapter.safetensors").read_bytes() for folder in (whole, broken))
    assert one == other
    records = [json.loads((folder / "adapter" / "adapter.json").read_text()) for folder in (whole, broken)]
    assert records[0]["base"] == records[1]["base"] and records[1]["training"]["started_from"]
    assert list(adapter.load(whole / "adapter").words) == ["<my-tap>"]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("adapter.rank=1",), r"adapter\.rank 2 -> 1.*adapter\.init_from=\S+/adapter"),
        (("init_from=sounds",), r"^init_from sounds: the run to resume has \S+/base"),
        (("adapter.init_from=another",), r"^adapter\.init_from another: the run to resume has none"),
        (('adapter.word="<my-tap>"',), r"^adapter\.word <my-tap>: the run to resume has none"),
    ],
)
def test_a_resume_with_another_adapter_is_refused(words, match, trained, base, taps, tmp_path):
    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(UserError, match=match) as error:
        run(tmp_path, taps, 5, "adapter=lora", "adapter.rank=2", f"init_from={base}", "resume=last", *words)
    assert "\n" not in str(error.value)


def test_a_group_may_not_be_added_when_a_run_is_resumed(base, taps, tmp_path):
    words = ("adapter=lora", "adapter.rank=2", f"init_from={base}")
    run(tmp_path, taps, 2, *words, "tuning.rates={network:0.5}")
    with pytest.raises(UserError, match=r"tuning\.rates\.conditioners null -> 0\.1") as error:
        run(tmp_path, taps, 4, *words, "tuning.rates={network:0.5,conditioners:0.1}", "resume=last")
    assert "\n" not in str(error.value)


def test_a_resume_without_the_name_of_the_base_keeps_it(trained, base, taps, tmp_path):
    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    folder = run(tmp_path, taps, 5, "adapter=lora", "adapter.rank=2", "resume=last")
    assert adapter.load(folder / "adapter").base_name == str(base)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("adapter.rank=0",), "adapter.rank"),
        (("adapter.rank=400",), "rank 400 is above that of every layer"),
        (("adapter.rank=400", "adapter.layers=[input]"), "layer unet.conv_in: rank 400 is not in 1 to 16"),
        (("adapter.layers=[brain]",), "'brain' names no layer"),
        (("adapter.layers=[]",), r"adapter\.layers=\[\]: chooses no layer"),
        (('adapter.word="my tap"',), "is not a new word"),
        (("adapter.tokens=9", 'adapter.word="<a>"'), "adapter.tokens"),
        (("adapter.kind=null",), "nothing to train"),
        (("adapter.kind=null", 'adapter.word="<my-tap>"'), 'no training caption has it; set data.caption="<my-tap>"'),
        (("adapter.alpha=nan",), "adapter.alpha"),
        (("init_from=null",), "has no base"),
        (("init_from=speech-16k",), "is a model of type 'vocoder', the recipe is for 'audio'"),
    ],
)
def test_what_cannot_be_trained_is_one_line(words, match, base, taps, tmp_path):
    with pytest.raises(UserError, match=match) as error:
        run(tmp_path, taps, 2, "adapter=lora", f"init_from={base}", *words)
    assert "\n" not in str(error.value)


def test_a_word_alone_leaves_every_other_prompt_as_it_is(base, taps, tmp_path):
    words = ("adapter=word", 'adapter.word="<my-tap>"', 'data.caption="<my-tap>"', f"init_from={base}")
    folder = run(tmp_path, taps, 2, *words) / "adapter"
    generator = AudioGenerator.from_pretrained(base)
    plain, learned = (generator.generate(prompt="tap", steps=2, adapters=one).samples for one in ([], [folder]))
    assert torch.equal(plain, learned)
    found = adapter.load(folder)
    assert found.words["<my-tap>"].shape == (4, 256) and not found.updates
    word = AppliedAdapter(found)
    assert generator.generate(prompt="<my-tap> | rain:0.5", steps=2, adapters=[word]).samples.isfinite().all()


def test_clips_of_the_base_are_mixed_in_and_show_what_is_forgotten(base, taps, tmp_path):
    """DreamBooth: a rare word, and clips that the base generates of its class; what is exported forgets little."""
    words = ('data.caption="zvk tap"', "data.replay=base:0.5", "data.replay_prompts=[tap]", "data.replay_clips=4")
    words += (f"init_from={base}", "adapter=lora", "adapter.rank=1")
    folder = run(tmp_path / "tolerant", taps, 4, *words)
    report = json.loads((folder / "forgetting.json").read_text())
    assert adapter.load(folder / "adapter").training["forgetting"].items() <= report.items()
    (kept,) = (taps / ".replay").iterdir()
    made = Manifest.load(kept)
    assert [clip.split for clip in made.clips] == ["train"] * 3 + ["validation"] and made.clips[0].caption == "tap"
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    run(tmp_path / "again", taps, 1, *words)
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before


FORGETFUL = ("adapter=lora", "adapter.rank=1", "data.replay=base:0", "data.replay_prompts=[tap]", "data.replay_clips=4")


def test_the_last_export_within_the_tolerance_stays(base, taps, tmp_path, monkeypatch):
    """The loss on clips of the base rises in the third validation: the export of the second stays, the run ends."""
    losses = iter((1.0, 1.0, 1.04, 1.06, 1.06))
    monkeypatch.setattr(Forgetting, "_loss", lambda *_: next(losses))
    words = (*FORGETFUL, f"init_from={base}", "trainer.val_check_interval=1", "callbacks.forgetting.tolerance=0.05")
    folder = run(tmp_path, taps, 9, *words)
    report = json.loads((folder / "forgetting.json").read_text())
    assert report == {"steps": 3, "before": 1.0, "after": 1.06, "exceeded": True}
    training = adapter.load(folder / "adapter").training
    assert training["steps"] == 2 and training["forgetting"] == {"before": 1.0, "after": 1.04, "exceeded": False}


def test_nothing_beyond_the_tolerance_is_exported(base, taps, tmp_path):
    words = (*FORGETFUL, f"init_from={base}", "optimizer.lr=1", "callbacks.forgetting.tolerance=0")
    with pytest.raises(UserError, match="tolerance: was exceeded before anything was exported") as error:
        run(tmp_path, taps, 3, *words)
    assert not (tmp_path / "adapter").exists() and "\n" not in str(error.value)
    assert json.loads((tmp_path / "forgetting.json").read_text())["exceeded"]


def test_half_of_the_crops_are_of_the_replay(base, taps):
    replay = {"replay": "base:0.5", "replay_prompts": ["tap"], "replay_clips": 4, "base": str(base)}
    data = AudioData(str(taps), RATE, SAMPLES, 4, **replay)
    data.setup("fit")
    drawn = [data.crops.clip(draw).id.startswith("replay/") for draw in range(200)]
    assert sum(drawn) == pytest.approx(100, abs=12)
    assert not any(clip.id.startswith("replay/") for clip in data.held_out.manifest.clips)
    assert len(data.base_batch()["waveform"]) == 1


def test_training_goes_on_from_an_adapter(trained, base, taps, tmp_path):
    """Kind, rank and layers are those of the adapter; with a learning rate of zero so are its numbers."""
    words = ("adapter=dora", f"adapter.init_from={trained / 'adapter'}", f"init_from={base}")
    still = run(tmp_path / "still", taps, 2, *words, "optimizer.lr=1e-30")
    before, after = (adapter.load(folder / "adapter") for folder in (trained, still))
    assert (after.kind, after.rank, after.updates.keys()) == ("lora", 2, before.updates.keys())
    for name, update in before.updates.items():
        assert all(torch.equal(update[key], after.updates[name][key]) for key in update)
    started = after.training["started_from"]
    assert started["hash"] == before.digest and started["started_from"]["hash"] == checkpoint.load(base).digest


def test_a_run_that_started_from_an_adapter_is_resumed_without_it(trained, base, taps, tmp_path):
    first = tmp_path / "first"
    shutil.copytree(trained / "adapter", first)
    words = ("adapter=lora", f"adapter.init_from={first}", f"init_from={base}")
    whole = run(tmp_path / "whole", taps, 4, *words)
    shutil.copytree(whole / "checkpoints", tmp_path / "broken" / "checkpoints")
    (tmp_path / "broken" / "checkpoints" / "step=000000004.ckpt").unlink()
    shutil.rmtree(first)
    broken = run(tmp_path / "broken", taps, 4, *words, "resume=last")
    one, other = ((folder / "adapter" / "adapter.safetensors").read_bytes() for folder in (whole, broken))
    assert one == other


def test_a_word_is_trained_further(base, taps, tmp_path):
    words = ("adapter=word", 'adapter.word="<my-tap>"', "adapter.tokens=2", 'data.caption="<my-tap>"')
    first = run(tmp_path / "first", taps, 2, *words, f"init_from={base}") / "adapter"
    words = ("adapter=lora", "adapter.rank=1", 'data.caption="<my-tap>"', f"adapter.init_from={first}")
    second = run(tmp_path / "second", taps, 2, *words, f"init_from={base}", "optimizer.lr=1e-30") / "adapter"
    one, other = adapter.load(first), adapter.load(second)
    assert torch.equal(one.words["<my-tap>"], other.words["<my-tap>"])
    assert other.updates and not one.updates


def test_an_adapter_of_another_base_is_not_trained_further(trained, make_prompted, taps, tmp_path):
    other = make_prompted()
    torch.nn.init.normal_(other.network.unet.conv_out.weight)
    other.save_pretrained(tmp_path / "other")
    words = ("adapter=lora", f"adapter.init_from={trained / 'adapter'}", f"init_from={tmp_path / 'other'}")
    with pytest.raises(UserError, match="was trained on another model") as error:
        run(tmp_path / "run", taps, 2, *words)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="no such folder"):
        run(tmp_path / "run", taps, 2, "adapter=lora", f"adapter.init_from={tmp_path / 'none'}", words[-1])
