"""Conditioners: embedding, requests, null values and dropout."""

import math

import pytest
import torch

from audiodiff.conditioners.conditioner import as_list, without_weights
from audiodiff.conditioners.labels import Labels
from audiodiff.conditioners.registry import OPTIONS, conditioner_types
from audiodiff.conditioners.scalars import Scalars
from audiodiff.errors import UserError
from audiodiff.training.batch_random import BatchRandom

LABELS, SCALARS = Labels(["kick", "snare"], 8), Scalars(["seconds", "tempo"], 8)


def test_every_label_and_scalar_has_an_embedding_of_its_own():
    labels = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]).float()
    scalars = torch.tensor([[math.nan, math.nan], [1.0, math.nan], [math.nan, 100.0], [math.nan, 120.0]])
    for conditioner, values in ((LABELS, labels), (SCALARS, scalars)):
        embedded = conditioner({conditioner.name: values}).global_embedding
        assert embedded.shape == (4, 8) and not embedded[0].any()
        assert all(not torch.allclose(embedded[i], embedded[j]) for i in range(4) for j in range(i))
        torch.testing.assert_close(conditioner({conditioner.name: values[3:]}).global_embedding[0], embedded[3])


def test_requests_become_raw_values():
    assert LABELS.parse({"labels": ["snare"]}).tolist() == [0, 1] and LABELS.parse({}).tolist() == [0, 0]
    assert SCALARS.parse({"seconds": 2.0, "tempo": 120}).tolist() == [2, 120]
    assert SCALARS.parse({}).isnan().all() and list(SCALARS.options()) == ["tempo"]
    with pytest.raises(UserError, match=r"labels 'gong': .*kick, snare"):
        LABELS.parse({"labels": ["gong"]})
    with pytest.raises(UserError, match=r"labels 'kick': .*list"):
        LABELS.parse({"labels": "kick"})
    with pytest.raises(UserError, match=r"tempo 0: .*above 0"):
        SCALARS.parse({"tempo": 0})
    with pytest.raises(UserError, match=r"scalars mood: .*seconds, tempo"):
        Scalars(["mood"])


@pytest.mark.parametrize(("conditioner", "value"), [(LABELS, 1.0), (SCALARS, 100.0)])
def test_dropout_is_of_whole_clips_and_of_entries(conditioner, value):
    values, random = torch.full((4000, 2), value), BatchRandom(0)
    unconditional = torch.arange(4000) < 1000
    dropped = conditioner.drop(values, unconditional, 0.25, random)
    null = dropped.isnan() if math.isnan(conditioner.null) else dropped == conditioner.null
    assert null[:1000].all() and (dropped[~null] == value).all()
    assert (null[1000:].float().mean(0) - 0.25).abs().max() < 0.03
    assert ((null[1000:, 0] & null[1000:, 1]).float().mean() - 0.25**2).abs() < 0.02


def test_a_list_of_conditioners():
    assert as_list({"labels": LABELS, "none": None, "scalars": Scalars([])}) == [LABELS]
    with pytest.raises(ValueError, match="different names"):
        as_list([LABELS, LABELS])
    copies = without_weights([LABELS])
    assert copies[0].labels == LABELS.labels and all(weight.is_meta for weight in copies[0].parameters())


def test_tables_are_complete():
    """Every type is in the table under a name of its own, and every option belongs to a type."""
    types = conditioner_types()
    assert len(set(types.values())) == len(types)
    assert set(OPTIONS) >= set(LABELS.options()) | set(SCALARS.options())
