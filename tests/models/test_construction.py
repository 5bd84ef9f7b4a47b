"""Models that are built to be filled with weights."""

import pytest
import torch
from torch import nn

from audiodiff.models.construction import within

LAYERS = (lambda: nn.Embedding(4, 3), lambda: nn.Linear(3, 2), lambda: nn.Conv1d(2, 2, 3), lambda: nn.LayerNorm(4))


@pytest.mark.parametrize("build", LAYERS)
def test_parameters_that_take_no_memory_are_not_initialized(build, monkeypatch):
    """PyTorch would load its compiler for it, which takes longer than speaking a sentence."""
    weights = build().state_dict()
    for name in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, name, None)
    with within(weights, initialize=False):
        layer = build()
    assert all(parameter.is_meta for parameter in layer.parameters())
    layer.load_state_dict(weights, assign=True)
    assert all(torch.equal(value, weights[name]) for name, value in layer.state_dict().items())


def test_parameters_are_initialized_where_they_are_asked_for():
    weights = nn.Linear(3, 2).state_dict()
    with within(weights, initialize=True):
        layer = nn.Linear(3, 2)
    assert layer.weight.any() and not layer.weight.is_meta


def test_a_model_larger_than_its_weights_is_refused():
    with pytest.raises(ValueError, match="larger"), within(nn.Linear(3, 2).state_dict(), initialize=False):
        nn.Linear(3, 3)
