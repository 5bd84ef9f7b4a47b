"""What a run lends to whoever renders with it, and takes back."""

import functools

import pytest
import torch

from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedule import Cosine
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.frontend import IdentityFrontend
from audiodiff.nn.network import Network
from audiodiff.synthesis.music import MusicGenerator
from audiodiff.synthesis.music_model import MusicModel
from audiodiff.training.export import in_use
from audiodiff.training.music import MusicTraining
from audiodiff.training.optim import WarmupCosine


@pytest.fixture
def latent_training() -> MusicTraining:
    network = Network(IdentityFrontend(4), 0, 1, [8], [1], embedding=8)
    autoencoder = Autoencoder(latents=4, hop_length=32, channels=[8, 8], blocks=[1, 1])
    model = MusicModel(network, Cosine(), V(), 8000, 2048, autoencoder=autoencoder)
    return MusicTraining(model, functools.partial(torch.optim.SGD, lr=0.1), WarmupCosine(2), levelled=False)


def test_a_codec_is_frozen_before_and_after_the_model_is_lent(latent_training):
    model = latent_training.model
    first = next(model.network.parameters())
    first.requires_grad_(False)  # frozen by its user
    model.network.eval()
    learned = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    modes = {name: part.training for name, part in model.named_modules()}
    assert not any(parameter.requires_grad for parameter in model.codec.parameters())
    assert any(learned.values()) and not model.network.training and model.training
    with in_use(model):
        MusicGenerator(model).generate([0], steps=2)
        model.requires_grad_(False).eval()
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == learned
    assert {name: part.training for name, part in model.named_modules()} == modes


def test_a_model_is_restored_where_rendering_fails(latent_training):
    with pytest.raises(RuntimeError), in_use(latent_training.model):
        latent_training.model.requires_grad_(False).eval()
        raise RuntimeError
    assert next(latent_training.model.network.parameters()).requires_grad and latent_training.model.training
