"""Training of hypernetworks: references are other clips of a subject, the base stays, and resuming is exact."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import make_hypernetwork

from audiodiff import config, train
from audiodiff.audio.io import Audio, write
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.models.hypernetwork import Hypernetwork
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.hypernetwork_scores import scores
from audiodiff.training.subjects import SubjectAudio, is_held_out, subject_of
from audiodiff.training.tasks.hypernetwork import HypernetworkTask

RATE, SAMPLES = 8000, 1600
QUICK = (
    *("+recipe=sounds_hypernetwork", "data=subjects", f"data.sample_rate={RATE}", f"data.crop_samples={SAMPLES}"),
    *("data.workers=0", "data.batch_size=4", "data.scalars=[]", "data.validation_clips=4", "trainer.accelerator=cpu"),
    *("trainer.max_time=null", "logger=null", "network.rank=2", "network.hidden=8", "callbacks.ema.decay=0.5"),
    *("lr_schedule.warmup_steps=1", "callbacks.scores.clips=4", "data.held_out=0.4", "optimizer.lr=1e-2"),
)
NAMES = ("click", "hiss", "hum", "tick", "rustle", "drone")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Four clips of noise with a decay of its own of each of six subjects, one clip of another, and one without."""
    root, clips = tmp_path_factory.mktemp("sounds"), []
    for number, name in enumerate([*NAMES * 4, "lonely", ""]):
        noise = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(number))
        decay = torch.linspace(1, 0, SAMPLES).pow(2 * (number % len(NAMES)))
        write(root / f"{number}.wav", Audio(0.1 * noise * decay, RATE))
        parts = {"caption": f"loud {name}", "caption_parts": ("adjective: loud", f"noun: {name}")} if name else {}
        options = {"license": "CC-BY-4.0", "content": f"sound-{number}", "speaker": "pack"} | parts
        clips.append(Clip(f"sounds/{number}", f"{number}.wav", SAMPLES / RATE, RATE, **options))
    Manifest(tuple(clips), root).save()
    return root


def run(folder: Path, data: Path, base: Path, embedder: Path, steps: int, *words: str) -> Path:
    settings = (f"folder={folder}", f"data.path={data}", f"trainer.max_steps={steps}")
    others = (f"trainer.val_check_interval={steps}", f"generator={base}", f"data.embedder={embedder}")
    overrides = [*QUICK, *settings, *others, "callbacks.checkpoints.every_n_steps=2", *words]
    train.run(config.compose(overrides), folder, overrides)
    return folder


@pytest.fixture(scope="module")
def trained(sounds, hypernetwork_base, audio_text_folder, tmp_path_factory):
    return run(tmp_path_factory.mktemp("run"), sounds, hypernetwork_base, audio_text_folder, 4)


@pytest.fixture
def data(sounds, hypernetwork_base, audio_text_folder):
    options = {"generator": str(hypernetwork_base), "embedder": str(audio_text_folder), "caption": "a sound"}
    made = SubjectAudio(str(sounds), RATE, SAMPLES, 4, held_out=0.4, **options)
    made.setup("fit")
    return made


def test_what_is_exported_predicts_adapters_and_states_its_held_out_subjects(trained, hypernetwork_base):
    model = Hypernetwork.from_pretrained(trained / "model")
    assert model.base == str(hypernetwork_base) and model.network.head.weight.any()
    record = json.loads((trained / "model" / "config.json").read_text())["training"]
    assert record["held_out_subjects"] == [
        f"pack: {name}" for name in sorted(NAMES) if is_held_out(f"pack: {name}", 0.4)
    ]
    assert record["subjects"] == len(NAMES) - len(record["held_out_subjects"])
    assert set(record["held_out"]) == {"loss", "other", "base"} and record["licenses"] == ["CC-BY-4.0"]
    assert "audiodiff adapt" in (trained / "model" / "README.md").read_text()
    assert not any(name.startswith(("base", "generator", "embedder.")) for name in model.weights())


def test_an_interrupted_run_ends_as_an_unbroken_one(trained, sounds, hypernetwork_base, audio_text_folder, tmp_path):
    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "step=000000004.ckpt").unlink()
    run(tmp_path, sounds, hypernetwork_base, audio_text_folder, 4, "resume=last")
    one, other = ((folder / "model" / "model.safetensors").read_bytes() for folder in (trained, tmp_path))
    assert one == other


def test_references_are_other_clips_of_the_subject(data):
    for draw in range(40):
        clip, reference = data.crops.clip(draw), data.crops[draw]["reference"]
        others = [one for one in data.embeddings if data.subjects[one] == data.subjects[clip.id] and one != clip.id]
        # A mean of unit vectors is closer to those that it is the mean of than to the one that it leaves out.
        span = torch.stack([data.embeddings[one] for one in others])
        fitted = torch.linalg.lstsq(span.T.double(), reference[:, None].double()).solution
        assert fitted.min() > -1e-4
        torch.testing.assert_close((span.T.double() @ fitted)[:, 0], reference.double(), rtol=0, atol=1e-4)
        assert torch.equal(data.crops[draw]["reference"], reference)


def test_embeddings_are_those_of_their_clips_in_a_manifest_of_another_order(
    sounds, hypernetwork_base, audio_text_folder, tmp_path
):
    shutil.copytree(sounds, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / ".embeddings", ignore_errors=True)
    options = {"generator": str(hypernetwork_base), "embedder": str(audio_text_folder), "held_out": 0.4}
    found = []
    for order in (1, -1):
        manifest = Manifest.load(tmp_path)
        replace(manifest, clips=manifest.clips[::order]).save()
        made = SubjectAudio(str(tmp_path), RATE, SAMPLES, 4, **options)
        made.setup("fit")
        found.append(made.embeddings)
    assert len(list((tmp_path / ".embeddings").glob("*.npy"))) == 1
    assert all(torch.equal(vector, found[1][name]) for name, vector in found[0].items())


def test_subjects_are_split_whole_and_drawn_equally(data):
    train, held_out = data.crops.manifest.clips, data.held_out.manifest.clips
    one, other = ({data.subjects[clip.id] for clip in clips} for clips in (train, held_out))
    assert one and other and not one & other
    assert {clip.caption for clip in (*train, *held_out)} == {"a sound"}
    assert not any("lonely" in name for name in one | other), "a subject of one clip has no reference"
    drawn = [data.subjects[data.crops.clip(draw).id] for draw in range(24 * len(one))]
    assert {drawn.count(name) for name in one} == {24}


@pytest.mark.parametrize(
    ("clip", "subject"),
    [
        ({"label": "snare", "caption": "a hit"}, "kit: snare"),
        (
            {"caption": "loud car horn", "caption_parts": ("adjective: loud", "noun: car", "noun: horn")},
            "kit: car horn",
        ),
        ({"caption": "a hit"}, "kit: a hit"),
        ({}, ""),
    ],
)
def test_the_subject_of_a_clip(clip, subject):
    assert subject_of(Clip("a", "a.wav", 1.0, RATE, speaker="kit", **clip)) == subject


def test_at_initialization_the_loss_is_that_of_the_base(hypernetwork, data):
    task = HypernetworkTask()
    task.prepare(hypernetwork, data)
    batch = data.crops.collate([data.crops[draw] for draw in range(4)])
    trained = scores(hypernetwork.eval(), task, batch)
    assert trained["loss"] != trained["base"] and trained["loss"] != trained["other"]
    head = hypernetwork.network.head.weight
    before = head.detach().clone()
    try:
        torch.nn.init.zeros_(head)
        found = scores(hypernetwork, task, batch)
    finally:
        head.data.copy_(before)
    assert found["loss"] == found["other"] == found["base"] == trained["base"]


def test_steps_lower_the_loss_below_that_of_the_base(hypernetwork_base, audio_text_folder, data):
    """On clips that are trained on: whether it generalizes is a matter of how many subjects there are."""
    model = make_hypernetwork(hypernetwork_base, audio_text_folder).train()
    torch.nn.init.zeros_(model.network.head.weight)
    task = HypernetworkTask(reference_noise=0.0)
    task.prepare(model, data)
    batch = data.crops.collate([data.crops[draw] for draw in range(8)])
    optimizer = torch.optim.Adam(model.network.parameters(), lr=1e-2)
    for step in range(60):
        optimizer.zero_grad()
        task.loss(model, batch, BatchRandom(step))["loss"].backward()
        optimizer.step()
    assert not any(parameter.grad is not None for parameter in task.base.parameters())
    found = scores(model.eval(), task, batch)
    assert found["loss"] < 0.97 * found["base"]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("generator=speech-16k",), "set generator to an audio generator"),
        (("data.embedder=drums",), "is a model of type 'audio', not 'audio_text'"),
        (("network.layers.groups=[roof]",), "names no layer"),
        (("network.rank=1000",), "0 layers"),
        (("data.held_out=0",), "no subject held out"),
        (("data.held_out=1",), "no subject to train on"),
        (("data.min_clips=5",), "no subject"),
        (("data.max_seconds=0.1",), "no subject"),
        (("data.clip=''",), "^data.clip: is not for data with references"),
        (("data.replay=base:0.5",), "^data.replay: is not for data with references"),
        (("data.labels=[kick]",), "^data.labels: is not for data with references"),
        (("trainable=[network]",), "'network' names no layer; choose a name such as trunk"),
        (("data.sample_rate=16000",), "data.sample_rate 16000: the base has 8000"),
    ],
)
def test_what_cannot_be_trained_is_one_line(words, match, sounds, hypernetwork_base, audio_text_folder, tmp_path):
    with pytest.raises(UserError, match=match) as caught:
        run(tmp_path, sounds, hypernetwork_base, audio_text_folder, 2, *words)
    assert "\n" not in str(caught.value)
