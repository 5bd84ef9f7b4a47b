"""Padding with masks, and streams in length buckets."""

from collections import Counter
from itertools import chain

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from audiodiff.data.batching import LengthBuckets, collate, pad
from audiodiff.data.dataset import DrawSampler

quick = settings(deadline=None, max_examples=40)
LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=40)


class Items(list):
    """Items of given lengths."""

    def __init__(self, lengths):
        super().__init__({"tokens": torch.arange(1, n + 1), "index": i} for i, n in enumerate(lengths))


def buckets(lengths, batch_size=3, window=4, seed=0) -> LengthBuckets:
    return LengthBuckets(Items(lengths), lengths, batch_size, window, seed)


@quick
@given(LENGTHS, st.integers(1, 3))
def test_padding_is_masked_and_zero(lengths, rows):
    tensors = [torch.ones(rows, n) for n in lengths]
    padded = pad(tensors)
    assert padded.values.shape == (len(lengths), rows, max(lengths)) and padded.lengths.tolist() == lengths
    for tensor, values, mask in zip(tensors, padded.values, padded.mask, strict=True):
        assert torch.equal(values[:, mask], tensor) and not values[:, ~mask].any()


def test_fields_without_a_function_are_collated_as_ever():
    batch = collate(
        [{"a": torch.ones(2), "b": "x", "c": 1}, {"a": torch.ones(3), "b": "y", "c": 2}], {"a": pad, "z": pad}
    )
    assert batch["a"].values.shape == (2, 3) and batch["b"] == ["x", "y"] and batch["c"].tolist() == [1, 2]
    assert "z" not in batch


@quick
@given(LENGTHS, st.integers(1, 5), st.integers(1, 6), st.integers(0, 3))
def test_a_draw_is_a_pure_function_of_the_seed(lengths, batch_size, window, seed):
    forward = [buckets(lengths, batch_size, window, seed).index(draw) for draw in range(60)]
    stream = buckets(lengths, batch_size, window, seed)
    assert [stream.index(draw) for draw in reversed(range(60))] == forward[::-1]


@quick
@given(LENGTHS, st.integers(1, 5), st.integers(1, 6))
def test_every_item_comes_up_once_a_pass(lengths, batch_size, window):
    """Counted at the ends of windows, items differ by one: passes are permutations, a window may divide one."""
    stream, size = buckets(lengths, batch_size, window), batch_size * window
    draws = -(-3 * len(lengths) // size) * size
    counts = Counter(stream.index(draw) for draw in range(draws))
    whole = draws // len(lengths)
    assert set(counts) == set(range(len(lengths)))
    assert all(whole <= count <= whole + 1 for count in counts.values())


@quick
@given(LENGTHS, st.integers(1, 5), st.integers(1, 6))
def test_batches_of_a_window_do_not_overlap_in_length(lengths, batch_size, window):
    stream, size = buckets(lengths, batch_size, window), batch_size * window
    for first in (0, size, 7 * size):
        drawn = [lengths[stream.index(first + k)] for k in range(size)]
        batches = sorted(sorted(drawn[k : k + batch_size]) for k in range(0, size, batch_size))
        assert list(chain.from_iterable(batches)) == sorted(drawn)


def test_a_resumed_stream_of_two_workers_yields_the_same_batches():
    def batches(start: int, workers: int) -> list:
        fields = {"tokens": pad}
        loader = DataLoader(
            buckets([5, 1, 9, 3, 7, 2, 8], batch_size=2),
            batch_size=2,
            sampler=DrawSampler(start),
            num_workers=workers,
            collate_fn=lambda items: collate(items, fields),
        )
        return [(batch["draw"].tolist(), batch["index"].tolist()) for batch, _ in zip(loader, range(12), strict=False)]

    assert batches(0, 0)[6:] == batches(12, 2)[:6]
