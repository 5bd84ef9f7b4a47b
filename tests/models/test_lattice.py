"""The Viterbi algorithm against enumeration of all paths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.models.lattice import STATES, Chains, best_path


def paths_of(units: list[bool], frames: int) -> list[list[int]]:
    """All paths through a chain, of whose units some are optional."""
    places = range(STATES * len(units))

    def may_follow(place: int, after: int) -> bool:
        jumps = after % STATES == 0 and after >= 2 * STATES and units[after // STATES - 1]
        return after in (place, place + 1) or (jumps and after == place + 1 + STATES)

    starts = {0} | ({STATES} if units[0] else set())
    ends = {places[-1]} | ({places[-1] - STATES} if units[-1] and len(units) > 1 else set())
    found = [[place] for place in places if place in starts]
    for _ in range(frames - 1):
        found = [[*path, after] for path in found for after in places if may_follow(path[-1], after)]
    return [path for path in found if path[-1] in ends]


def chains_of(optional: list[list[bool]], frames: list[int], states: torch.Tensor) -> Chains:
    longest = max(map(len, optional))
    padded = torch.tensor([one + [False] * (longest - len(one)) for one in optional])
    return Chains(
        states[:, : STATES * longest], padded, torch.tensor([len(one) for one in optional]), torch.tensor(frames)
    )


CHAINS = [[True, False, True], [False], [False, True, False], [True, False], [False, False], [True, False, False]]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CHAINS), st.integers(6, 9)), min_size=1, max_size=3), st.integers(0, 2**31))
def test_the_best_path_is_that_of_an_enumeration(clips, seed):
    generator = torch.Generator().manual_seed(seed)
    optional, frames = [units for units, _ in clips], [count for _, count in clips]
    states = torch.randint(5, (len(clips), 9), generator=generator)
    densities = torch.randn(len(clips), max(frames), 5, generator=generator, dtype=torch.float64)
    chains = chains_of(optional, frames, states)
    assert chains.fits().all()
    found, totals = best_path(densities, chains)
    for clip, (units, count) in enumerate(clips):
        sums = {
            tuple(path): sum(float(densities[clip, t, states[clip, place]]) for t, place in enumerate(path))
            for path in paths_of(units, count)
        }
        assert float(totals[clip]) == pytest.approx(max(sums.values()))
        assert sums[tuple(found[clip, :count].tolist())] == pytest.approx(max(sums.values()))
        assert (found[clip, count:] == -1).all()


def test_clips_that_are_too_short_are_known():
    chains = chains_of([[True, False, False], [True, False, False]], [5, 6], torch.zeros(2, 9, dtype=torch.long))
    assert chains.fits().tolist() == [False, True]
    assert not paths_of([True, False, False], 5)


def test_enumeration_knows_optional_units():
    found = {tuple(place // STATES for place in path) for path in paths_of([False, True, False], 9)}
    assert {tuple(sorted(set(path))) for path in found} == {(0, 1, 2), (0, 2)}
