"""Recordings read in stretches at another rate."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import resample
from audiodiff.audio.resampled import Resampled

RATES = [4000, 8000, 11025, 12000, 16000, 22050, 44100]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(RATES),
    st.sampled_from([16000, 44100]),
    st.integers(1, 9000),
    st.lists(st.integers(1, 4000), min_size=1, max_size=6),
    st.integers(1000, 20000),
)
def test_stretches_are_those_of_the_whole(rate, to, samples, cuts, step):
    signal = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    sizes = [*cuts, samples]
    source = Resampled(signal.split([*cut(sizes, samples)], -1), samples, rate, to)
    whole = resample(torch.nn.functional.pad(signal, (0, rate)), rate, to)[:, : math.ceil(samples * to / rate)]
    assert source.samples == whole.shape[-1]
    parts = [source.read(start, start + step) for start in range(-step, source.samples + step, step)]
    joined = torch.cat(parts, -1)[:, step:]
    torch.testing.assert_close(joined[:, : source.samples], whole, atol=1e-5, rtol=0)
    assert not parts[0].any() and not joined[:, source.samples :].any()


def cut(sizes, total):
    """The sizes, of which the last is what is left of the total."""
    for size in sizes:
        size = min(size, total)
        if size:
            yield size
        total -= size


def test_stretches_may_overlap():
    signal = torch.arange(10000.0)[None] / 10000
    source = Resampled([signal], 10000, 8000, 8000)
    for start in range(0, 9000, 700):
        expected = torch.nn.functional.pad(signal, (0, 2000))[:, start : start + 2000]
        assert torch.equal(source.read(start, start + 2000), expected)


def test_only_what_is_needed_is_drawn_and_held():
    drawn = []

    def blocks():
        for number in range(100):
            drawn.append(number)
            yield torch.full((1, 1000), float(number))

    source = Resampled(blocks(), 100_000, 8000, 16000)
    for start in range(0, 100_000, 4000):
        source.read(start - 500, start + 4500)
        assert len(drawn) <= (start + 4500) / 2000 + 2
        assert source.held <= 5000 / 2 + 2 * 800 + 1000
