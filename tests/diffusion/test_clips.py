from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.clips import check_output, clip_mean, column, combine, join_clips

VALUES = torch.randn(3, 2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=3, max_size=3))
def test_means_are_those_of_the_clips_cut_to_their_samples(samples):
    found = clip_mean(VALUES, torch.tensor(samples))
    for value, clip, count in zip(found, VALUES, samples, strict=True):
        assert torch.isclose(value, clip[:, :count].mean(), rtol=1e-14, atol=1e-15)


def test_without_samples_all_count():
    assert torch.allclose(clip_mean(VALUES), VALUES.mean((1, 2)), rtol=1e-14, atol=0)
    assert torch.allclose(clip_mean(VALUES[:, 0]), VALUES[:, 0].mean(1), rtol=1e-14, atol=0)
    assert torch.allclose(clip_mean(VALUES[:, 0], torch.tensor([7, 7, 7])), VALUES[:, 0].mean(1), rtol=1e-14, atol=0)


def test_one_sample_is_its_own_mean():
    assert torch.equal(clip_mean(VALUES[:, 0], torch.tensor([1, 1, 1])), VALUES[:, 0, 0])


def test_no_samples_have_no_mean_but_are_no_error():
    assert clip_mean(VALUES, torch.tensor([0, 7, 7]))[0] == 0


def test_a_column_is_one_number_for_each_clip():
    assert column(torch.tensor([1.0, 2.0, 3.0]), VALUES).shape == (3, 1, 1)
    assert column(torch.tensor([1.0, 2.0, 3.0]), VALUES).dtype == torch.float64
    assert torch.equal(column(torch.tensor([1.0, 2.0, 3.0]), VALUES[:, 0]).flatten(), torch.tensor([1, 2, 3]).double())
    assert column(torch.tensor(2.0), VALUES).shape == (1, 1, 1)


@dataclass(frozen=True)
class _Condition:
    labels: torch.Tensor | None = None
    signal: torch.Tensor | None = None
    name: str | None = None


def test_conditions_are_joined_part_by_part():
    ones, zeros = torch.ones(2, 3), torch.zeros(2, 3)
    assert torch.equal(join_clips(ones, zeros), torch.cat([ones, zeros]))
    joint = join_clips(_Condition(ones), _Condition(zeros))
    assert torch.equal(joint.labels, torch.cat([ones, zeros])) and joint.signal is None


@pytest.mark.parametrize(
    "first, second",
    [
        (None, None),
        (None, torch.ones(2)),
        ("words", "words"),
        (torch.ones(2, 3), torch.ones(2, 4)),
        (torch.ones(2), torch.ones(2, dtype=torch.int64)),
        (torch.tensor(1.0), torch.tensor(0.0)),
        (_Condition(torch.ones(2)), torch.ones(2)),
        (_Condition(torch.ones(2)), _Condition(torch.ones(2), torch.ones(2))),
        (_Condition(torch.ones(2), name="a"), _Condition(torch.ones(2), name="a")),
    ],
)
def test_conditions_that_cannot_be_joined(first, second):
    assert join_clips(first, second) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_outputs_have_the_dtype_of_the_state(dtype):
    assert check_output(torch.ones(2, 1, 4, dtype=dtype), (2, 1, 4), torch.float32, "it").dtype == torch.float32


@pytest.mark.parametrize("fused", [False, True])
def test_combine(fused):
    a, b = torch.tensor([2.0]), torch.tensor([3.0])
    assert combine((1.0, 0.0), (a, b), fused) is a
    assert combine((0.0, 0.0), (a, b), fused).tolist() == [0.0]
    assert combine((0.0, -2.0), (a, b), fused).tolist() == [-6.0]
    assert combine((0.5, -2.0), (a, b), fused).tolist() == [-5.0]
    assert combine((0.0,), (a,), fused).tolist() == [0.0]


def test_combine_takes_a_factor_for_each_clip():
    a, b = torch.ones(2, 1, 3), torch.full((2, 1, 3), 2.0)
    factors = (torch.tensor([1.0, 2.0], dtype=torch.float64).reshape(2, 1, 1), 0.5)
    assert torch.equal(combine(factors, (a, b)), torch.tensor([2.0, 3.0]).reshape(2, 1, 1).expand(2, 1, 3))
