"""What students regress to, against distributions whose trajectories are known."""

import itertools

import pytest
import torch

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.distillation import (
    HUBER,
    add_noise,
    angle,
    consistency_target,
    first_order_step,
    ode_step,
    pseudo_huber,
    solve_step,
    two_step_target,
)
from audiodiff.diffusion.objective import X0, Epsilon, Flow, V
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, RectifiedFlow, VarianceExploding

SCHEDULES = [Cosine(), LinearBeta(), RectifiedFlow(), VarianceExploding()]
BATCH = 5


def times(*values: float) -> list[torch.Tensor]:
    return [torch.full((BATCH,), value, dtype=torch.float64) for value in values]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Function:
    """A denoiser made of a function."""

    def __init__(self, function, schedule):
        self.function, self.schedule, self.t_max = function, schedule, schedule.t_max

    def __call__(self, x_t, t, cond=None):
        return self.function(x_t, t)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("ends", [(0.9, 0.4), (0.5, 0.25), (0.3, 0.0)])
def test_a_step_is_solved_for_its_estimate(schedule, ends):
    t, s = times(*ends)
    x_t, x0 = normal(0, BATCH, 1, 6), normal(1, BATCH, 1, 6)
    x_s = first_order_step(schedule, x_t, x0, t, s)
    assert torch.allclose(solve_step(schedule, x_t, x_s, t, s), x0, rtol=1e-9, atol=1e-9)


def test_a_step_with_the_true_signal_keeps_its_noise():
    x0, noise = normal(0, BATCH, 1, 6), normal(1, BATCH, 1, 6)
    t, s = times(0.8, 0.3)
    schedule = Cosine()
    stepped = first_order_step(schedule, add_noise(schedule, x0, noise, t), x0, t, s)
    assert torch.allclose(stepped, add_noise(schedule, x0, noise, s), rtol=0, atol=1e-13)


def test_halved_again_and_again_one_step_is_sixteen_of_the_teacher(gaussian, x1):
    """Each stage's student is the function that the loss is zero at; the last one maps noise as 16 DDIM steps do."""
    schedule, student = gaussian.schedule, gaussian
    for steps in (8, 4, 2, 1):

        def function(x_t, t, teacher=student, steps=steps):
            grid = torch.full((len(x_t),), float(t), dtype=torch.float64) if not isinstance(t, torch.Tensor) else t
            return two_step_target(teacher, x_t, (grid, grid - 0.5 / steps, grid - 1 / steps))

        student = Function(function, schedule)
        assert torch.allclose(Multistep(steps, 1)(student, x1), Multistep(16, 1)(gaussian, x1), rtol=0, atol=1e-11)


def test_the_exact_consistency_function_is_constant_along_trajectories_of_a_mixture(mixture):
    """Its ODE is integrated to high accuracy; the denoiser itself is far from constant."""
    x_t = normal(3, 8, 1, 6)
    path = Multistep(400, 4, "v")
    grid = path.grid_for(mixture)
    states = [(float(grid[0]), x_t)]
    path(mixture, x_t, callback=lambda n, nfe, x, x0: states.append((float(grid[n + 1]), x)))

    def end(x, t):
        if t == 0:
            return x
        return Multistep(300, 4, "v", grid=t * torch.linspace(1, 0, 301, dtype=torch.float64) ** 1.2)(mixture, x)

    chosen = [states[k] for k in (40, 120, 250, 340, 400)]
    ends = [end(x, t) for t, x in chosen]
    assert max((one - other).abs().max() for one, other in itertools.pairwise(ends)) < 1e-6
    estimates = [mixture(x, t) for t, x in chosen[:-1]]
    assert max((one - other).abs().max() for one, other in itertools.pairwise(estimates)) > 0.3


def test_the_consistency_function_of_a_gaussian_has_targets_that_it_meets(gaussian, x1):
    """With the exact flow for a step, f(x_t, t) equals the target f(x_s, s): the loss of a pair is zero."""

    def function(x, t):
        return torch.cat([gaussian.flow(one[None], float(u), 0.0) for one, u in zip(x, t, strict=True)])

    exact = Function(function, Cosine())
    t, s = times(0.7, 0.5)
    x_t = x1[:BATCH]
    x_s = torch.cat([gaussian.flow(one[None], 0.7, 0.5) for one in x_t])
    difference = exact(x_t, t) - consistency_target(exact, x_s, s)
    assert float(pseudo_huber(difference).max()) < 1e-9
    denoiser = gaussian(x_t, t) - consistency_target(gaussian, x_s, s)
    assert float(pseudo_huber(denoiser).max()) > 1e-2


@pytest.mark.parametrize("order", [1, 2])
def test_the_steps_of_a_teacher_have_their_order(order, gaussian, x1):
    x, errors = x1[:BATCH], []
    for size in (0.1, 0.05, 0.025):
        t, s = times(0.6, 0.6 - size)
        errors.append(float((ode_step(gaussian, x, t, s, order=order) - gaussian.flow(x, 0.6, 0.6 - size)).abs().max()))
    ratios = [one / other for one, other in itertools.pairwise(errors)]
    assert ratios == pytest.approx([2 ** (order + 1)] * 2, rel=0.15)  # of a single step


def test_the_second_estimate_is_left_out_where_a_step_ends_on_data(gaussian, x1):
    t, s = times(0.1, 0.0)
    first, second = (ode_step(gaussian, x1[:BATCH], t, s, order=order) for order in (1, 2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("objective", [V(), Flow(), Epsilon(), X0()], ids=lambda one: type(one).__name__)
def test_the_boundary_condition_holds_for_any_network(objective):
    """c_skip(0) = 1 and c_out(0) = 0 for v, flow and noise; x0 gets it from its target."""
    denoiser = Denoiser(lambda x, log_snr, cond: 5 + x.square(), Cosine(), objective)
    x, s = normal(0, BATCH, 1, 6), torch.zeros(BATCH, dtype=torch.float64)
    assert torch.allclose(consistency_target(denoiser, x, s), x, rtol=0, atol=1e-12)
    assert torch.allclose(denoiser(x, s), x) == (not isinstance(objective, X0))


@pytest.mark.parametrize("schedule", SCHEDULES[:2], ids=lambda one: type(one).__name__)
def test_targets_are_the_same_whatever_the_network_predicts(schedule, gaussian, x1):
    """The exact denoiser as a network of v, of noise and of x0 teaches one and the same x0."""
    from audiodiff.diffusion.oracle import GaussianOracle

    oracle = GaussianOracle(gaussian.mean, gaussian.covariance, schedule)
    denoisers = [Denoiser(oracle.as_network(one), schedule, one) for one in (V(), Epsilon(), X0(), Flow())]
    t, m, s = times(0.8, 0.7, 0.6)
    targets = [two_step_target(one, x1[:BATCH], (t, m, s)) for one in denoisers]
    assert all(torch.allclose(one, targets[0], rtol=0, atol=1e-9) for one in targets)
    steps = [ode_step(one, x1[:BATCH], t, s, order=2) for one in denoisers]
    assert all(torch.allclose(one, steps[0], rtol=0, atol=1e-9) for one in steps)


def test_pseudo_huber_is_a_square_near_zero_and_an_absolute_error_far_away():
    small, large = torch.full((1, 1, 8), 1e-6, dtype=torch.float64), torch.full((1, 1, 8), 3.0, dtype=torch.float64)
    assert float(pseudo_huber(small)) == pytest.approx(1e-12 / (2 * HUBER), rel=1e-3)
    assert float(pseudo_huber(large)) == pytest.approx(3.0 - HUBER, rel=1e-6)
    padded = torch.cat([large, torch.full_like(large, 100)], dim=-1)
    assert torch.equal(pseudo_huber(padded, torch.tensor([8])), pseudo_huber(large))


def test_the_angle_of_the_cosine_schedule_is_even():
    assert torch.allclose(angle(Cosine(), torch.linspace(0, 1, 5)), torch.linspace(0, torch.pi / 2, 5).double())
