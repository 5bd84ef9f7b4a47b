"""Training of an audio-text pair: clips find their captions, runs resume exactly, weights are taken over."""

import shutil

import numpy as np
import pytest
import torch
from tiny_models import make_audio_text

from audiodiff import config, train
from audiodiff.audio.io import Audio, write
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.contrastive import ContrastiveTask, same_caption

RATE, SAMPLES = 8000, 4096
CAPTIONS = {"low": "low tone", "high": "high tone", "noise": "white noise"}
TINY = (
    *("+recipe=audio_text", "network.stem=[8,8]", "network.channels=[16,16]", "network.blocks=[1,1]"),
    *("network.embedding=16", "data.sample_rate=8000", "model.mel_spec.f_max=4000", "model.mel_spec.hop_length=128"),
    *(
        "model.mel_spec.n_fft=512",
        "model.mel_spec.win_length=512",
        "model.mel_spec.n_mels=24",
        f"data.crop_samples={SAMPLES}",
    ),
    *("data.batch_size=16", "data.balance=null", "lr_schedule.warmup_steps=2", "callbacks.ema.decay=0.9"),
    *("model.conditioners.prompt.token_channels=16", "model.conditioners.prompt.embedding=16"),
    *("trainer.accelerator=cpu", "logger=null", "callbacks.checkpoints.every_n_steps=2"),
)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Low tones, high tones and noise, 48 clips of random pitch, with captions."""
    root, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    time, clips = np.arange(SAMPLES) / RATE, []
    for number in range(48):
        kind = list(CAPTIONS)[number % 3]
        hertz = (200 if kind == "low" else 1600) * random.uniform(1, 1.6)
        wave = random.standard_normal(SAMPLES) if kind == "noise" else np.sin(2 * np.pi * hertz * time)
        write(root / f"{number}.flac", Audio(torch.from_numpy(0.2 * wave).float(), RATE))
        split = "train" if number < 36 else "validation"
        clips.append(Clip(f"s/{number}", f"{number}.flac", SAMPLES / RATE, RATE, split=split, caption=CAPTIONS[kind]))
    Manifest(tuple(clips), root).save()
    return root


def run(sounds, folder, steps, *overrides):
    limits = (f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}")
    cfg = config.compose([*TINY, *limits, f"data.path={sounds}", f"folder={folder}", *overrides])
    train.run(cfg, folder)
    return folder / "model"


@pytest.fixture(scope="module")
def trained(sounds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(sounds, folder, 40)
    return folder


def test_held_out_clips_find_their_captions(trained, sounds):
    embedder = AudioTextEmbedder.from_pretrained(trained / "model")
    clips = Manifest.load(sounds).with_splits("validation").clips
    audio = [Audio(torch.from_numpy(read_samples(sounds / clip.path)), RATE) for clip in clips]
    similarity = embedder.similarity(audio, list(CAPTIONS.values()))
    found = [list(CAPTIONS.values())[best] for best in similarity.argmax(1)]
    assert np.mean([one == clip.caption for one, clip in zip(found, clips, strict=True)]) >= 0.9
    assert "among 3:" in (trained / "model" / "README.md").read_text()


def read_samples(path):
    from audiodiff.audio.io import read

    return read(path).samples.numpy()


def test_an_interrupted_run_ends_as_an_unbroken_one(sounds, tmp_path):
    whole = checkpoint.load(run(sounds, tmp_path / "whole", 4)).weights
    (tmp_path / "again" / "checkpoints").mkdir(parents=True)
    shutil.copy(tmp_path / "whole" / "checkpoints" / "step=000000002.ckpt", tmp_path / "again" / "checkpoints")
    resumed = checkpoint.load(run(sounds, tmp_path / "again", 4, f"resume={tmp_path / 'again'}")).weights
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_starts_from_trained_weights(trained, sounds, tmp_path):
    model = AudioTextModel.from_pretrained(trained / "model")
    folder = run(sounds, tmp_path, 1, f"init_from={trained / 'model'}", "optimizer.lr=0")
    started = AudioTextModel.from_pretrained(folder)
    for name, weight in model.weights().items():
        torch.testing.assert_close(started.weights()[name], weight)
    with pytest.raises(UserError, match="audio_text"):
        run(sounds, tmp_path / "other", 1, "init_from=speech-16k")


def batch(captions):
    waveform = torch.randn(len(captions), 1, 2000, generator=torch.Generator().manual_seed(0))
    clips = [f"c{number}" for number in range(len(captions))]
    task = ContrastiveTask(label_smoothing=0.0)
    task._captions = dict(zip(clips, captions, strict=True))
    return task, {
        "waveform": waveform,
        "samples": torch.tensor([2000, 1500, 700, 2000]),
        "prompt": [f"a {caption}" for caption in captions],
        "clip": clips,
    }


def test_the_loss_is_that_of_a_loop_over_pairs():
    model = make_audio_text()
    task, some = batch(["kick", "snare", "kick", "hat"])
    found = task.loss(model, some, BatchRandom(0))
    with torch.no_grad():
        audio = model.embed_audio(some["waveform"], 8000, some["samples"])
        logits = model.logit_scale() * audio @ model.embed_text(some["prompt"]).T
    terms = []
    for rows in (logits, logits.T):
        for clip, others in enumerate([(0, 2), (1,), (0, 2), (3,)]):
            terms.append(rows[clip].logsumexp(0) - rows[clip, list(others)].mean())
    assert found["loss"].item() == pytest.approx(sum(terms).item() / len(terms), rel=1e-4)
    assert 0 <= float(found["recall"]) <= 1


def test_clips_without_a_caption_are_left_out():
    model = make_audio_text()
    task, some = batch(["kick", "", "snare", ""])
    found = task.loss(model, some, BatchRandom(0))["loss"]
    alone = {name: [value[0], value[2]] for name, value in some.items()}
    alone |= {name: torch.stack(alone[name]) for name in ("waveform", "samples")}
    assert found.item() == pytest.approx(task.loss(model, alone, BatchRandom(0))["loss"].item(), rel=1e-5)
    task, some = batch([""] * 4)
    assert task.loss(model, some, BatchRandom(0))["loss"].item() == 0


def test_clips_of_one_caption_are_not_negatives_of_each_other():
    """The loss of a batch in which all clips sound alike is least if all have the same caption."""
    assert same_caption(["a", "b", "a"]).tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    model = make_audio_text()
    losses = {}
    for name, captions in (("same", ["kick"] * 4), ("different", ["kick", "snare", "rain", "hat"])):
        task, some = batch(captions)
        some["waveform"] = some["waveform"][:1].expand(4, -1, -1)
        some["samples"] = torch.full((4,), 2000)
        losses[name] = float(task.loss(model, some, BatchRandom(0))["loss"])
    assert losses["same"] == pytest.approx(np.log(4), rel=1e-4) and losses["different"] > losses["same"]


def test_augmentation_is_a_function_of_the_random_numbers():
    model = make_audio_text().train()
    task, some = batch(["kick", "snare", "kick", "hat"])
    losses = [float(task.loss(model, some, BatchRandom(seed))["loss"]) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    features = torch.rand(4, 16, 30)
    changed = task._augment(features, BatchRandom(3))
    assert changed.shape == features.shape and (changed >= 0).all() and (changed == 0).any()
