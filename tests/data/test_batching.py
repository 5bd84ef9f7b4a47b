"""Padding with masks, and streams in length buckets."""

from collections import Counter
from itertools import chain, islice

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.data.batching import LengthBatches, collate, pad

quick = settings(deadline=None, max_examples=40)
LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=40)


def stream(lengths, budget=60, most=4, window=12, seed=0) -> LengthBatches:
    return LengthBatches(lengths, budget, most, window, seed)


def drawn(batches: LengthBatches, first: int, count: int) -> list[list[int]]:
    """Items of the first batches from a draw on."""
    found = islice(batches.batches(first), count)
    return [[batches.index(draw) for draw in draws] for draws in found]


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
@given(LENGTHS, st.integers(1, 60), st.integers(1, 5), st.integers(1, 20), st.integers(0, 3))
def test_a_draw_is_the_same_item_in_any_order_of_reading(lengths, budget, most, window, seed):
    forward = [stream(lengths, budget, most, window, seed).index(draw) for draw in range(60)]
    other = stream(lengths, budget, most, window, seed)
    assert [other.index(draw) for draw in reversed(range(60))] == forward[::-1]


@quick
@given(LENGTHS, st.integers(1, 20))
def test_every_item_comes_up_once_a_pass(lengths, window):
    """Counted at the ends of windows, items differ by one: passes are permutations, a window may divide one."""
    batches = stream(lengths, window=window)
    draws = -(-3 * len(lengths) // window) * window
    counts = Counter(batches.index(draw) for draw in range(draws))
    whole = draws // len(lengths)
    assert set(counts) == set(range(len(lengths)))
    assert all(whole <= count <= whole + 1 for count in counts.values())


@quick
@given(LENGTHS, st.integers(1, 200), st.integers(1, 6), st.integers(1, 20))
def test_a_batch_is_within_its_budget_padding_included(lengths, budget, most, window):
    for items in drawn(stream(lengths, budget, most, window), 0, 20):
        longest = max(lengths[item] for item in items)
        assert len(items) == 1 or (len(items) * longest <= budget and len(items) <= most)


@quick
@given(LENGTHS, st.integers(1, 60), st.integers(1, 20))
def test_batches_of_a_window_do_not_overlap_in_length(lengths, budget, window):
    batches, found, size = stream(lengths, budget, 5, window), [], 0
    while size < window:
        found.append(sorted(lengths[item] for item in drawn(batches, size, 1)[0]))
        size += len(found[-1])
    assert size == window  # batches end where their window does
    assert list(chain.from_iterable(sorted(found))) == sorted(chain.from_iterable(found))


@quick
@given(LENGTHS, st.integers(1, 60), st.integers(0, 30))
def test_a_resumed_stream_reads_on_where_it_stopped(lengths, budget, stopped):
    unbroken = list(islice(stream(lengths, budget).batches(0), stopped + 5))
    first = unbroken[stopped][0]
    assert list(islice(stream(lengths, budget).batches(first), 5)) == unbroken[stopped:]
    assert list(chain.from_iterable(unbroken)) == list(range(unbroken[-1][-1] + 1))
