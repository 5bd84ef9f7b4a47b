"""Every task of distillation on every diffusion model: a step trains the network, and nothing else."""

import types

import pytest
import torch
from tiny_models import make_acoustic, make_model, random_upsampler

from audiodiff.data.corpora.tones import tone
from audiodiff.models.setting import Setting
from audiodiff.text.symbols import ENGLISH
from audiodiff.training.module import TrainingModule
from audiodiff.training.tasks.adversarial import AdversarialTask
from audiodiff.training.tasks.consistency_distillation import ConsistencyDistillationTask
from audiodiff.training.tasks.consistency_training import ConsistencyTrainingTask
from audiodiff.training.tasks.energy_distance import EnergyDistanceTask
from audiodiff.training.tasks.progressive import ProgressiveTask

TASKS = {
    "progressive": lambda: ProgressiveTask("teacher", 4, 1, stage_steps=1),
    "consistency distillation": lambda: ConsistencyDistillationTask("teacher"),
    "consistency training": ConsistencyTrainingTask,
    "energy distance": lambda: EnergyDistanceTask(steps=(2,)),
    "adversarial, features": lambda: AdversarialTask("teacher"),
    "adversarial, stft": lambda: AdversarialTask("teacher", discriminator="stft"),
}


def waveforms() -> dict:
    return {"waveform": torch.stack([tone(k, 4096, 16000) for k in range(2)])}


def sentences() -> dict:
    row = [1, *ENGLISH.encode("həlˈO."), 1]
    tokens = torch.tensor([row, row])
    mel = torch.randn(2, 80, 2 * len(row), generator=torch.Generator().manual_seed(0)) - 5
    durations = torch.full(tokens.shape, 2.0, dtype=torch.float64)
    return {"mel": mel, "tokens": tokens, "durations": durations, "pitch": 150.0 * (tokens > 2),
            "speaker": torch.eye(2)}  # fmt: skip


def build(kind: str, sampler: str, make_music):
    """A tiny model of a type, and a batch for it."""
    if kind == "vocoder":
        return make_model(settings=[Setting(steps=1, sampler=sampler)]), waveforms()
    if kind == "upsampler":
        return random_upsampler(sampler=sampler), waveforms()
    if kind == "acoustic":
        return make_acoustic(sampler=sampler), sentences()
    batch = {"waveform": torch.randn(2, 1, 1600, generator=torch.Generator().manual_seed(0)), "labels": torch.eye(2)}
    return make_music(1, sampler=sampler), batch


@pytest.mark.parametrize("kind", ["vocoder", "upsampler", "acoustic", "audio"])
@pytest.mark.parametrize("name", TASKS)
def test_a_step_trains_the_network_alone(kind, name, make_music):
    task = TASKS[name]()
    model, batch = build(kind, task.SAMPLER or "ddim", make_music)
    training = TrainingModule(model, task, None, None, 0).train()
    data = types.SimpleNamespace(crop_samples=4096, channels=1, check=lambda speakers, symbols: None)
    task.prepare(model, data)
    for step in range(2):
        task.on_step_start(model, batch, training._random(f"step {step}", 1), lambda rows: rows)
        outputs = training.compute_loss(batch, f"draw {step}")
    outputs["loss"].backward()
    assert outputs["loss"].isfinite() and outputs["clip_loss"].shape == (2,)
    trained = {name for name, one in model.named_parameters() if one.grad is not None and one.grad.any()}
    network = {id(one) for one in model.network.parameters()}
    assert trained and all(id(one) in network for name, one in model.named_parameters() if name in trained)
    assert model.distillation.sampler == model.sampler
    again = training.compute_loss(batch, "draw 1")
    assert torch.equal(again["loss"], outputs["loss"])
