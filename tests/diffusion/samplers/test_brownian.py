"""One Brownian path under every step size: its law, its determinism, and the weak and strong orders it shows."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.grids import grid
from audiodiff.diffusion.noise import BLOCK
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.samplers.brownian import NODES, brownian_noise, martingale_clock
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, VarianceExploding

CLOCK = torch.tensor([0.0, 1e-3, 0.2, 1.0, 3.0, 50.0, 1e4], dtype=torch.float64)


def _increments(clock, samples, seed=3):
    noise = brownian_noise([seed], 1, samples, clock)
    return torch.stack([noise(n)[0, 0] for n in range(len(clock) - 1)])


@pytest.mark.parametrize("clock", [CLOCK, CLOCK.flip(0)], ids=["rising", "falling"])
def test_increments_are_standard_and_independent(clock):
    z = _increments(clock, 60000)
    spread = 1 / z.shape[1] ** 0.5
    covariance = z @ z.T / z.shape[1]
    assert float((covariance - torch.eye(len(z))).abs().max()) < 5 * 2**0.5 * spread
    assert float(z.mean(1).abs().max()) < 5 * spread
    assert float((z.pow(4).mean(1) - 3).abs().max()) < 5 * 96**0.5 * spread


def _variance(place):
    """Variance of the path at a node, exactly: squares of the response to each of the draws that it sums."""
    factors = []
    low, high, at_low, at_high = 0, NODES, {}, {}
    while low < place:
        middle = (low + high) // 2
        at = {k: (at_low.get(k, 0) + at_high.get(k, 0)) / 2 for k in {*at_low, *at_high}}
        at[middle] = math.sqrt((high - low) / NODES / 4)
        low, high, at_low, at_high = (middle, high, at, at_high) if middle <= place else (low, middle, at_low, at)
    factors = at_low.values()
    return sum(f**2 for f in factors) / (1 - place / NODES) ** 2


def test_halving_makes_the_variance_of_time():
    """Levy's construction at single nodes, exactly: Var W(tau) = tau."""
    for place in (1, NODES // 3, NODES // 2, NODES - NODES // 7, NODES - 5):
        assert _variance(place) == pytest.approx(place / (NODES - place), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(1e-4, 1e4), min_size=3, max_size=3, unique=True), st.booleans())
def test_fine_increments_add_up_to_the_coarse_one(times, falling):
    a, b, c = sorted(times)
    if min(b - a, c - b) < 1e-3 * c:
        return
    fine = torch.tensor([a, b, c], dtype=torch.float64)
    fine, lengths = (fine.flip(0), (c - b, b - a)) if falling else (fine, (b - a, c - b))
    coarse = brownian_noise([1, 2], 2, 40, fine[[0, 2]])(0)
    noise = brownian_noise([1, 2], 2, 40, fine)
    total = sum(math.sqrt(length / (c - a)) * noise(n) for n, length in enumerate(lengths))
    assert torch.allclose(total, coarse, rtol=0, atol=2e-5)
    if c < 100:
        assert torch.allclose(total, coarse, rtol=0, atol=1e-6)


def test_the_path_is_not_still_up_to_its_first_node():
    increment = brownian_noise([3], 1, 4000, torch.tensor([0.0, 1 / NODES], dtype=torch.float64))(0)
    assert float(increment.std()) == pytest.approx(1, abs=0.05)


def test_any_batch_chunk_and_order_is_the_same_path():
    noise = brownian_noise([5, 9], 2, 300, CLOCK)
    whole = [noise(n) for n in range(6)]
    assert whole[0].shape == (2, 2, 300) and whole[0].dtype == torch.float32
    assert torch.equal(noise(4), whole[4]) and torch.equal(noise(1), whole[1])
    single = brownian_noise([9], 1, 100, CLOCK, start=150)
    assert all(torch.equal(single(n)[0, 0], whole[n][1, 0, 150:250]) for n in (5, 0, 3))
    across = brownian_noise([5], 1, 20, CLOCK, start=BLOCK - 10)(2)
    assert torch.equal(across[0, 0, :10], brownian_noise([5], 1, 10, CLOCK, start=BLOCK - 10)(2)[0, 0])
    assert not torch.equal(whole[0][0], whole[0][1]) and not torch.equal(whole[0][0, 0], whole[0][0, 1])


def test_the_path_is_stable_across_processes_and_versions():
    # Stored values: a change would silently change every render.
    assert brownian_noise([0], 1, 2, CLOCK)(2)[0, 0].tolist() == pytest.approx([2.266799, -0.583865], abs=1e-6)


@pytest.mark.parametrize("schedule", [Cosine(), LinearBeta(), VarianceExploding()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("predict", ["x0", "epsilon"])
@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_the_clock_makes_the_noise_a_martingale(predict, eta, schedule):
    """Carried on to the end, two steps' noises have the variance of the one step that spans both."""
    times = torch.tensor([0.9, 0.6, 0.5, 0.3], dtype=torch.float64)
    rows = Multistep(3, 1, predict, times, eta=eta).steps(schedule, times)
    clock = martingale_clock(schedule, times, predict, eta).tolist()
    carried = []
    for n, row in enumerate(rows):
        carried.append(row.noise * math.prod(later.carry[0] for later in rows[n + 1 :]))
    shares = [abs(b - a) for a, b in pairwise(clock)]
    for noise, share in zip(carried, shares, strict=True):
        assert noise / carried[0] == pytest.approx(math.sqrt(share / shares[0]), rel=1e-12)


def test_clocks_of_ancestral_and_ddim(schedule):
    """DDIM at eta = 1 is the order-1 member, so it shares the clock."""
    times = torch.tensor([0.9, 0.6, 0.3], dtype=torch.float64)
    ours = Multistep(2, 1, "x0", times, eta=1.0).steps(schedule, times)
    for row, ddim in zip(ours, DDIM(2, 1.0, times).steps(schedule, times), strict=True):
        assert row.carry == pytest.approx(ddim.carry, rel=1e-12) and row.noise == pytest.approx(ddim.noise, rel=1e-12)


def test_default_clock():
    times = torch.tensor([0.9, 0.6, 0.3], dtype=torch.float64)
    assert torch.equal(martingale_clock(Cosine(), times), Cosine().log_snr(times).exp())
    assert martingale_clock(Cosine(), times.float()).dtype == torch.float64


def _scalar(std):
    return GaussianOracle(torch.zeros(1), torch.tensor([[std**2]], dtype=torch.float64), Cosine())


def _output_variance(sampler, oracle):
    inputs = torch.eye(sampler.nfe + 1, dtype=torch.float64)
    return float(sampler(oracle, inputs[:, :1], noise=lambda n: inputs[:, n + 1 : n + 2]).square().sum())


@pytest.mark.parametrize("order, predict, weak", [(1, "x0", 1), (2, "x0", 2), (2, "epsilon", 2), (3, "x0", 2)])
def test_weak_order_of_the_reverse_sde(order, predict, weak):
    """Covariances on a Gaussian, exact; a third-order polynomial cannot see the noise within a step."""
    found = []
    for n in (80, 160, 320):
        times = grid.uniform_log_snr(Cosine(), n, -6.0, 6.0, to_zero=False)
        found.append(_output_variance(Multistep(n, order, predict, times, eta=1.0), _scalar(0.5)))
    coarse, fine = (abs(a - b) for a, b in pairwise(found))
    assert weak - 0.15 < math.log2(coarse / fine) < weak + 0.2


@pytest.mark.parametrize("order, predict", [(1, "x0"), (2, "x0"), (2, "epsilon")])
def test_half_the_steps_see_the_same_path(order, predict, gaussian, x1):
    """On one path each result converges, at the strong order 1 of additive noise; on fresh noise it does not."""

    def sample(n, seed=0):
        times = grid.uniform_log_snr(Cosine(), n, -6.0, 4.0, to_zero=False)
        # One draw for all: 32 states are one clip of 192 positions.
        path = brownian_noise([seed], 1, x1.numel(), martingale_clock(Cosine(), times, predict))
        return Multistep(n, order, predict, times, eta=1.0)(gaussian, x1, noise=lambda k: path(k).reshape(x1.shape))

    outputs = [sample(n) for n in (12, 24, 48)]
    coarse, fine = (float((a - b).square().mean().sqrt()) for a, b in pairwise(outputs))
    assert fine < coarse / 1.6 and coarse < 0.3
    assert float((sample(12, seed=1) - outputs[0]).square().mean().sqrt()) > 0.5


def test_a_run_from_pure_noise_to_data(gaussian, x1):
    """The clock is 0 at the start and infinite at the end, where no noise is used."""
    times = grid.balanced(Cosine(), 8)
    clock = martingale_clock(Cosine(), times)
    assert clock[0] == 0 and clock[-1] == math.inf
    noise = brownian_noise(range(len(x1)), 1, 6, clock)
    assert torch.isfinite(Multistep(8, 2, grid=times, eta=1.0)(gaussian, x1, noise=noise)).all()
    with pytest.raises(ValueError, match="infinite at step 7"):
        noise(7)
    with pytest.raises(ValueError, match="infinite at step 0"):
        brownian_noise([0], 1, 2, clock.flip(0))(0)


@pytest.mark.parametrize(
    "clock", [[0.0, 1.0, 1.0], [0.0, 2.0, 1.0], [-1.0, 0.0], [0.0, math.nan], [1.0], [2.0, 1.0, 3.0], []]
)
def test_clocks_are_checked(clock):
    with pytest.raises(ValueError, match="a clock is at least 0 and strictly"):
        brownian_noise([0], 1, 2, torch.tensor(clock))
