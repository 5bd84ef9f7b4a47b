"""A model small enough to train in a moment, and batches for it."""

import functools
from types import SimpleNamespace

import pytest
import torch

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.data.corpora.tones import tone
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.training.module import TrainingModule
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.tasks.task import Task
from audiodiff.training.tasks.vocoder import VocoderTask


@pytest.fixture
def make_training():
    """`make_training(task=VocoderTask, seed=0, guard=None, **options of the task)`: trains a tiny vocoder."""

    def make(task: type[Task] = VocoderTask, seed: int = 0, guard=None, **options) -> TrainingModule:
        torch.manual_seed(0)
        spec = PRESETS["speech_16k"]
        network = Network(StftFrontend(1, 1024, 256), spec.n_mels, spec.hop_length, [8], [1], embedding=8)
        model = VocoderModel(network, Cosine(), V(), spec, MelPrior(spec))
        optimizer = functools.partial(torch.optim.AdamW, lr=1e-2, fused=True)
        module = TrainingModule(model, task(**options), optimizer, WarmupCosine(2), seed, guard)
        module.trainer = SimpleNamespace(world_size=1, global_rank=0)
        return module

    return make


@pytest.fixture
def batches():
    """Six batches of two tones, as the loader makes them."""
    waves = [torch.stack([tone(2 * i + k, 4096, 16000) for k in range(2)]) for i in range(6)]
    return [
        {"waveform": wave, "draw": torch.tensor([2 * i, 2 * i + 1]), "path": [f"{2 * i}.flac", f"{2 * i + 1}.flac"]}
        for i, wave in enumerate(waves)
    ]
