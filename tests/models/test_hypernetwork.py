"""Hypernetworks as models: their adapters apply to their base alone, and are the same in every process."""

import subprocess
import sys

import pytest
import torch

from audiodiff.errors import UserError
from audiodiff.models import adapter
from audiodiff.models.adapted import AppliedAdapter, apply, weights_hash
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.hypernetwork import Hypernetwork, layers_of

EMBEDDING = torch.nn.functional.normalize(torch.arange(12.0), dim=0)


@pytest.fixture(scope="module")
def base(hypernetwork_base):
    return AudioModel.from_pretrained(hypernetwork_base).requires_grad_(False)


def test_an_adapter_is_for_its_base_alone(hypernetwork, base, make_prompted, tmp_path):
    found = hypernetwork.adapter(EMBEDDING)
    assert (found.base, found.base_type, found.kind) == (weights_hash(base), "audio", "lora")
    found.save(tmp_path)
    changed = apply(base, [AppliedAdapter(adapter.load(tmp_path))])
    weights, before = changed.weights(), base.weights()
    assert {name for name in weights if not torch.equal(weights[name], before[name])} == {
        f"{name}.weight" for name in hypernetwork.network.layers
    }
    other = make_prompted(labels=()).requires_grad_(False)
    torch.nn.init.normal_(other.network.unet.conv_out.weight)
    with pytest.raises(UserError, match="another model"):
        apply(other, [AppliedAdapter(adapter.load(tmp_path))])


def test_at_initialization_the_adapted_base_is_the_base_bit_for_bit(hypernetwork, base):
    head = hypernetwork.network.head.weight
    before = head.clone()
    try:
        torch.nn.init.zeros_(head)
        changed = apply(base, [AppliedAdapter(hypernetwork.adapter(EMBEDDING))])
    finally:
        head.data.copy_(before)
    assert all(torch.equal(weight, base.weights()[name]) for name, weight in changed.weights().items())


@pytest.mark.parametrize("wrong", [torch.zeros(11), torch.zeros(2, 12), torch.full((12,), torch.nan)])
def test_embeddings_that_are_none_are_refused(hypernetwork, wrong):
    with pytest.raises(UserError, match="embedding"):
        hypernetwork.adapter(wrong)


def test_a_base_or_embedding_that_is_another_by_now_is_refused(hypernetwork, make_prompted, tmp_path):
    changed = make_prompted(labels=())
    torch.nn.init.normal_(changed.network.unet.conv_out.weight)
    changed.save_pretrained(tmp_path / "base")
    with pytest.raises(UserError, match="is not the model that the hypernetwork is for"):
        hypernetwork.with_arguments(base=str(tmp_path / "base")).load_base()
    with pytest.raises(UserError, match="is not the embedding"):
        hypernetwork.with_arguments(embedder_hash="0" * 64).load_embedder()
    with pytest.raises(UserError, match="type 'audio', not 'audio_text'"):
        hypernetwork.with_arguments(embedder=str(tmp_path / "base")).load_embedder()


def test_layers_are_those_of_the_network_that_have_the_rank(hypernetwork_base, audio_text_folder):
    names = layers_of(hypernetwork_base, ["network"], 2)
    assert names and all(name.startswith("unet.") for name in names)
    assert set(layers_of(hypernetwork_base, ["attention", "output"], 1)) < set(
        layers_of(hypernetwork_base, ["network"], 1)
    )
    with pytest.raises(UserError, match="names no layer"):
        layers_of(hypernetwork_base, ["roof"], 1)
    with pytest.raises(UserError, match="audio_text"):
        layers_of(audio_text_folder, ["network"], 1)


@pytest.mark.slow  # another process loads torch
def test_an_adapter_is_the_same_in_another_process(hypernetwork, tmp_path):
    hypernetwork.save_pretrained(tmp_path / "model")
    here = Hypernetwork.from_pretrained(tmp_path / "model").adapter(EMBEDDING)
    here.save(tmp_path / "here")
    script = f"""
import torch
from audiodiff.models.hypernetwork import Hypernetwork
embedding = torch.nn.functional.normalize(torch.arange(12.0), dim=0)
Hypernetwork.from_pretrained({str(tmp_path / "model")!r}).adapter(embedding).save({str(tmp_path / "there")!r})
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    for name in ("adapter.json", "adapter.safetensors"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
