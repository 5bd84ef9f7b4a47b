"""Mels at another rate."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.audio.mel.time_scale import scale_time
from audiodiff.errors import UserError


@given(st.integers(1, 200), st.floats(0.25, 4))
def test_any_mel_gets_the_length_and_keeps_its_levels(frames, rate):
    mel = torch.randn(3, frames, generator=torch.Generator().manual_seed(frames))
    scaled = scale_time(mel, rate)
    assert scaled.shape == (3, max(1, round(frames / rate)))
    assert scaled.max() <= mel.max() and scaled.min() >= mel.min()


def test_what_is_linear_in_time_stays_so():
    """Frame k of a mel is centered at (k + 1/2) / F of it: what rises by 1 a frame rises by 2 at twice the rate."""
    assert torch.allclose(scale_time(torch.arange(8.0)[None], 2), torch.tensor([[0.5, 2.5, 4.5, 6.5]]))
    slow = scale_time(torch.arange(8.0)[None], 0.5)[0]
    assert torch.allclose(slow[1:-1], (torch.arange(16.0)[1:-1] - 0.5) / 2)


def test_rate_one_is_the_mel_itself():
    mel = torch.randn(2, 5)
    assert scale_time(mel, 1.0) is mel


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_is_positive(rate):
    with pytest.raises(UserError, match="is no rate"):
        scale_time(torch.zeros(2, 5), rate)
