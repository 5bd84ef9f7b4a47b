"""Names of recordings, however odd, through everything that training writes: files by their names, figures, logs."""

import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from audiodiff import config, train
from audiodiff.data.manifest import Manifest
from audiodiff.data.preparation import prepare
from audiodiff.training.guard import NonFiniteGuard

pytestmark = pytest.mark.filterwarnings("ignore")
RATE = 16000
NAMES = (
    f"{'a' * 100}/{'b' * 100}/{'c' * 90}",
    f"{'あ' * 80}/{'い' * 83}",
    os.fsdecode(b"caf\xe9"),
    "$x^{_$ & 100%",
    '[a=1, {b}]\'s "#"',
    "-n",
    "dots...",
    "plain",
)
TINY = ("network.channels=[8,8]", "network.blocks=[1,1]", "data.workers=0", "data.batch_size=2", "trainer.max_steps=1")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A prepared folder of them; all but one are validated on, the longest names first."""
    root = tmp_path_factory.mktemp("names")
    for number, name in enumerate(NAMES):
        wave = 0.3 * np.sin((number + 1) * np.arange(RATE // 2) / 10)
        path = root / "in" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "new.wav", wave, RATE)
        (root / "new.wav").rename(path)
    manifest = prepare([f"folder:{root / 'in'}"], root / "out")
    assert len(manifest) == len(NAMES)
    plain = next(clip for clip in manifest.clips if clip.id.endswith("plain"))
    held_out = (replace(clip, split="validation") for clip in manifest.clips if clip is not plain)
    clips = sorted((*held_out, replace(plain, split="train")), key=lambda clip: -len(clip.id))
    Manifest(tuple(clips), manifest.root).save()
    return manifest.root


def run(recipe, recordings, folder, *words):
    path = (f'data.path="{recordings}"', f'folder="{folder}"', "trainer.accelerator=cpu")
    train.run(config.compose([f"+recipe={recipe}", *words, *path]), folder)
    return folder


def test_a_vocoder_is_trained_validated_and_resumed(recordings, tmp_path):
    words = ("debug=smoke", *TINY, "data.crop_samples=4096", "data.validation_clips=3", "callbacks.samples.clips=3")
    run("speech_mel", recordings, tmp_path, *words)
    run("speech_mel", recordings, tmp_path, *words, "trainer.max_steps=2", "resume=last")
    for step in (1, 2):
        samples = list((tmp_path / f"samples/step_{step:09d}").iterdir())
        assert len(samples) == 9 and all(path.stat().st_size > 1000 for path in samples)


def test_a_codec_and_a_model_of_its_latents_are_trained(recordings, tmp_path):
    small = (f"data.sample_rate={RATE}", "data.crop_samples=2048", "data.channels=1", *TINY)
    codec = ("network.latents=4", "network.hop_length=32", "callbacks.samples.statistics_crops=2")
    run("autoencoder", recordings, tmp_path / "codec", *small, *codec)
    assert len(list((tmp_path / "codec/samples/step_000000001").glob("*.wav"))) == 8
    latent = ("network.frontend.channels=4", "callbacks.samples.clips=2", "callbacks.samples.steps=2")
    where = (f'data.codec="{tmp_path / "codec/model"}"', "data.scalars=[seconds]")
    run("music_latent", recordings, tmp_path / "music", *small, *latent, *where)
    assert len(list((recordings / ".latents").rglob("*.npy"))) == len(NAMES)
    assert (tmp_path / "music/model/model.safetensors").exists()


def test_a_batch_that_is_not_finite_is_kept(tmp_path):
    batch = {"waveform": torch.ones(len(NAMES), 8), "draw": torch.arange(len(NAMES)), "path": list(NAMES)}
    NonFiniteGuard(str(tmp_path)).inspect(torch.tensor(torch.nan), batch)
    (told,) = (tmp_path / "nonfinite").glob("*.txt")
    assert told.read_bytes() == b"".join(os.fsencode(f"{name}\n") for name in NAMES)
