"""Losses that are not finite: skipped, kept, and in a row the end."""

import functools
from itertools import pairwise

import lightning
import pytest
import torch
from safetensors.torch import load_file

from audiodiff.conditioners.labels import Labels
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.frontends.frontend import IdentityFrontend
from audiodiff.nn.network import Network
from audiodiff.training.guard import NonFiniteGuard
from audiodiff.training.module import TrainingModule
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.tasks.denoising import DenoisingTask
from audiodiff.training.tasks.vocoder import VocoderTask

NAN = torch.tensor(float("nan"))
pytestmark = pytest.mark.filterwarnings("ignore")


class Fragile(VocoderTask):
    """Its loss is not a number on chosen draws."""

    broken: tuple[int, ...] = ()

    def loss(self, model, batch, random):
        outputs = super().loss(model, batch, random)
        if int(batch["draw"][0]) in self.broken:
            outputs["loss"] = outputs["loss"] * NAN
        return outputs


class Weights(lightning.Callback):
    """The weights after every batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, *_):
        self.seen.append(torch.cat([p.detach().flatten() for p in module.parameters()]).clone())


def fit(module, batches, folder, **options):
    recorder = Weights()
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[recorder],
        enable_model_summary=False, default_root_dir=folder, max_epochs=1, gradient_clip_val=1.0, **options,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None))
    return recorder.seen


def test_step_that_is_not_finite_changes_no_weight_and_keeps_its_batch(make_training, batches, tmp_path):
    module = make_training(Fragile, guard=NonFiniteGuard(tmp_path, patience=2))
    module.task.broken = (4,)
    weights = fit(module, batches, tmp_path)
    moved = [not torch.equal(a, b) for a, b in pairwise(weights)]
    assert moved == [True, False, True, True, True]
    assert all(torch.isfinite(w).all() for w in weights)
    kept = {path.name for path in (tmp_path / "nonfinite").iterdir()}
    assert kept == {"draw_000000004.safetensors", "draw_000000004.txt"}
    batch = load_file(tmp_path / "nonfinite" / "draw_000000004.safetensors")
    assert torch.equal(batch["waveform"], batches[2]["waveform"])
    assert (tmp_path / "nonfinite" / "draw_000000004.txt").read_text() == "4.flac\n5.flac\n"


def test_latents_that_are_not_finite_are_skipped_and_saved(tmp_path):
    torch.manual_seed(0)
    network = Network(IdentityFrontend(4), 0, 1, [8], [1], embedding=8)
    autoencoder = Autoencoder(latents=4, hop_length=32, channels=[8, 8], blocks=[1, 1])
    model = AudioModel(
        network, Cosine(), V(), 8000, 2048, conditioners=[Labels(["low", "high"], 8)], autoencoder=autoencoder
    )
    guard = NonFiniteGuard(tmp_path)
    optimizer = functools.partial(torch.optim.SGD, lr=0.1)
    module = TrainingModule(model, DenoisingTask(), optimizer, WarmupCosine(2), guard=guard)
    module.on_fit_start = lambda: None  # which looks at the data
    batches = [
        {"latents": torch.randn(2, 4, 32), "labels": torch.eye(2), "draw": torch.tensor([2 * i, 2 * i + 1]),
         "samples": torch.tensor([2048, 1000]), "clip": ["a", "b"], "path": ["a.flac", "b.flac"]}
        for i in range(3)
    ]  # fmt: skip
    batches[1]["latents"][1] = torch.nan
    weights = fit(module, batches, tmp_path)
    assert [not torch.equal(a, b) for a, b in pairwise(weights)] == [False, True]
    saved = load_file(tmp_path / "nonfinite" / "draw_000000002.safetensors")
    assert saved.keys() == {"latents", "labels", "draw", "samples"}
    assert saved["latents"][1].isnan().all() and torch.equal(saved["latents"][0], batches[1]["latents"][0])


def test_several_in_a_row_end_the_run_with_one_line(make_training, batches, tmp_path):
    module = make_training(Fragile, guard=NonFiniteGuard(tmp_path, patience=2))
    module.task.broken = (2, 6, 8, 10)
    with pytest.raises(UserError) as caught:
        fit(module, batches, tmp_path)
    line = str(caught.value)
    assert "\n" not in line
    assert "the loss was not finite 2 steps in a row" in line
    assert "optimizer.lr" in line
    assert sorted(path.stem for path in tmp_path.glob("nonfinite/*.txt")) == [f"draw_00000000{n}" for n in (2, 6, 8)]


def test_infinite_counts_and_a_sound_step_forgives(batches, tmp_path):
    guard = NonFiniteGuard(tmp_path, patience=3)
    for loss, sound in ((NAN, False), (-NAN, False), (torch.tensor(1.0), True), (torch.tensor(float("inf")), False)):
        assert guard.inspect(loss, batches[0]) is sound
    assert guard.count == 1
