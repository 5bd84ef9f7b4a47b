from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.noise import BLOCK, batch_noise, clip_seed, position_noise, stable_hash, step_noise

WHOLE = position_noise(3, 2, 0, 3 * BLOCK)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3 * BLOCK), st.integers(0, 3 * BLOCK))
def test_any_stretch_is_a_cut_of_the_whole(a, b):
    start, stop = min(a, b), max(a, b)
    assert torch.equal(position_noise(3, 2, start, stop), WHOLE[:, start:stop])


def test_any_chunking_is_the_whole():
    cuts = [0, 1, 7, BLOCK - 1, BLOCK, BLOCK + 5, 3 * BLOCK]
    pieces = [position_noise(3, 2, a, b) for a, b in pairwise(cuts)]
    assert torch.equal(torch.cat(pieces, 1), WHOLE)


def test_channels_are_independent_of_their_number():
    assert torch.equal(position_noise(3, 1, 0, 100), WHOLE[:1, :100])


def test_batches_are_singles():
    batch = batch_noise([5, 9, 5], 2, 50, start=BLOCK - 10)
    assert batch.shape == (3, 2, 50) and batch.dtype == torch.float32
    assert torch.equal(batch[1], position_noise(9, 2, BLOCK - 10, BLOCK + 40))
    assert torch.equal(batch[0], batch[2])


def test_noise_is_white_and_standard():
    noise = torch.cat([WHOLE.flatten(), position_noise(4, 2, 0, 3 * BLOCK).flatten()])
    n = len(noise)
    assert abs(float(noise.mean())) < 5 / n**0.5
    assert abs(float(noise.var()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float((noise.pow(4)).mean()) - 3) < 5 * (96 / n) ** 0.5
    blocks = torch.stack([*WHOLE.reshape(-1, BLOCK), position_noise(4, 1, 0, BLOCK)[0]])
    correlation = torch.corrcoef(blocks) - torch.eye(len(blocks))
    assert float(correlation.abs().max()) < 5 / BLOCK**0.5


def test_steps_are_independent_and_repeatable():
    noise = step_noise([1, 2], 1, BLOCK)
    x1 = batch_noise([1, 2], 1, BLOCK)
    rows = torch.cat([noise(0), noise(1), x1]).squeeze(1)
    assert float((torch.corrcoef(rows) - torch.eye(6)).abs().max()) < 5 / BLOCK**0.5
    assert torch.equal(noise(1), step_noise([1, 2], 1, BLOCK)(1))
    assert torch.equal(step_noise([2], 1, 20)(1)[0], noise(1)[1, :, :20])


def test_seeds_are_stable_across_processes_and_versions():
    # Stored values: a change would silently change every render.
    assert clip_seed(0, "a") == 1058076188069561903
    assert position_noise(0, 1, 0, 2)[0].tolist() == pytest.approx([-1.079945, -0.89742], abs=1e-6)
    assert 0 <= clip_seed(-5, "ü") < 2**63
    assert len({clip_seed(s, c) for s in range(10) for c in "abcdef"}) == 60


def test_nothing_is_empty():
    assert position_noise(0, 2, 5, 5).shape == (2, 0)
    assert position_noise(0, 2, BLOCK, BLOCK).shape == (2, 0)


@pytest.mark.parametrize("start, stop", [(-1, 4), (5, 4)])
def test_positions_are_checked(start, stop):
    with pytest.raises(ValueError, match="start"):
        position_noise(0, 1, start, stop)


def test_every_block_of_a_channel_has_a_seed_of_its_own():
    """Renders are repeatable only as long as the blocks keep their length and their seeds."""
    generator = torch.Generator().manual_seed(stable_hash("noise", 7, 1, 2))
    block = torch.randn(16384, generator=generator)
    assert torch.equal(position_noise(7, 2, 2 * 16384, 3 * 16384)[1], block)


def test_noise_starts_at_the_first_position_and_may_have_no_channel():
    assert torch.equal(batch_noise([3], 1, 5), position_noise(3, 1, 0, 5)[None])
    assert torch.equal(step_noise([3], 1, 5)(2), step_noise([3], 1, 5, 0)(2))
    assert position_noise(3, 0, 0, 5).shape == (0, 5)
