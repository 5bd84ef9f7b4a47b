"""What holds for every sampler by name: the loop, its table, its promises."""

import math

import pytest
import torch

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.samplers.presets import PRESETS, build
from audiodiff.diffusion.samplers.sampler import Sampler, gain_to_data, integrate
from audiodiff.diffusion.samplers.table import Step
from audiodiff.diffusion.schedules.adapted import ScaledInput, ShiftedLogSNR
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta

OBJECTIVES = [Epsilon, X0, V]
# A learned variance needs a denoiser that has learned one: see test_ancestral.py.
NAMES = [name for name in PRESETS if name != "ddpm_learned"]
DETERMINISTIC = [name for name in NAMES if not build(name, 6).stochastic]


def _on(sampler, grid):
    """The same sampler on another grid."""
    moved = type(sampler).__new__(type(sampler))
    moved.__dict__ = sampler.__dict__ | {"grid": grid}
    return moved


class _Table(Sampler):
    """Rows as given."""

    def __init__(self, rows):
        super().__init__(len(rows))
        self.rows = rows

    def steps(self, schedule, grid):
        return self.rows


def test_a_row_combines_states_features_and_noise():
    """Every letter of the module's formula once: two states, three features of two guises, noise."""
    evaluated = []

    def denoiser(x_t, t, cond):
        evaluated.append((t, x_t))
        return x_t + 10 * t

    rows = [
        Step(0.9, (2.0,), (3.0,), (0.5, 1.0), 0.25),
        Step(0.5, (0.0, 5.0), (1.0, 7.0), (0.0, 1.0), 0.0),
        Step(0.2, (1.0, 0.0), (0.5, 0.0, -2.0), (1.0, -1.0), 0.0),
    ]
    x1, z = torch.tensor([1.0], dtype=torch.float64), torch.tensor([4.0], dtype=torch.float64)
    output, finite = integrate(rows, denoiser, x1, noise=lambda n: z * (n + 1))
    f_0 = 0.5 * 1 + (1 + 9)
    x_1 = 2 * 1 + 3 * f_0 + 0.25 * 4
    f_1 = x_1 + 5
    x_2 = 0 * x_1 + 5 * 1 + 1 * f_1 + 7 * f_0
    f_2 = x_2 - (x_2 + 2)
    x_3 = x_2 + 0.5 * f_2 - 2 * f_0
    assert float(output) == pytest.approx(x_3, rel=1e-15) and finite.tolist() == [True] * 3
    assert [(t, float(x)) for t, x in evaluated] == [(0.9, 1.0), (0.5, x_1), (0.2, x_2)]


def test_a_plain_row_asks_for_x0_and_adds_no_noise():
    assert Step(0.5, (1.0,), (2.0,)) == Step(0.5, (1.0,), (2.0,), feature=(0.0, 1.0), noise=0.0)


def test_only_clean_data_are_scaled_back():
    schedule = ScaledInput(Cosine(), 0.5)
    assert [gain_to_data(schedule, t) for t in (0.0, 0.3, 1.0)] == [2.0, 1.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("extra", [0, 1, 5])
def test_every_objective_samples_from_its_own_start(name, objective, extra, mixture, x1):
    """Whatever the network predicts the samples are the oracle's own, up to where an epsilon network can start."""
    denoiser = Denoiser(mixture.as_network(objective()), mixture.schedule, objective())
    noise = step_noise(range(len(x1)), 1, 6)
    sampler = build(name, PRESETS[name].min_nfe + extra)
    output = sampler(denoiser, x1, noise=noise)
    assert torch.isfinite(output).all()
    # At t = 1 exactly a network is told log_snr = -20, where alpha is 4.5e-5.
    tolerance = 1e-10 if objective is Epsilon else 2e-2
    assert torch.allclose(
        _on(sampler, sampler.grid_for(denoiser))(mixture, x1, noise=noise), output, rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("name", NAMES)
def test_objectives_agree_to_rounding(name, mixture, x1):
    sampler = build(name, 8)
    sampler = _on(sampler, sampler.default_grid(mixture.schedule, 0.99))
    noise = step_noise(range(len(x1)), 1, 6)
    outputs = [sampler(Denoiser(mixture.as_network(o()), mixture.schedule, o()), x1, noise=noise) for o in OBJECTIVES]
    for output in outputs[1:]:
        assert torch.allclose(output, outputs[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_pure_noise_start_is_the_limit(name, gaussian, x1):
    """As sigma / alpha at the start grows: in proportion to its inverse, or to that of its logarithm where an output at
    an ever more distant half-log-SNR takes part in the second step.
    """
    sampler = build(name, 6)
    start = sampler.default_grid(gaussian.schedule, 1.0)
    exact = sampler(gaussian, x1)
    errors = []
    for ratio in (1e3, 1e5, 1e7):
        first = gaussian.schedule.t_from_log_snr(torch.tensor([-2 * math.log(ratio)], dtype=torch.float64))
        errors.append(float((_on(sampler, torch.cat([first, start[1:]]))(gaussian, x1) - exact).square().mean().sqrt()))
    if name.startswith(("ddim", "v")):
        assert errors[0] < 0.05 and errors[1] < errors[0] / 30 and errors[2] < errors[1] / 30
    elif name.startswith("dpmpp"):
        assert 0.3 > errors[0] > errors[1] > errors[2]
    assert all(math.isfinite(error) for error in errors)


TO_THE_ESTIMATE = ["ddpm", "ddpm_large", "ddim", "dpm_2m", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde", "unipc_2"]


@pytest.mark.parametrize("name", TO_THE_ESTIMATE)
def test_last_step_returns_the_estimate(name, mixture, x1):
    seen = []
    output = build(name, 5)(
        mixture, x1, noise=step_noise(range(len(x1)), 1, 6), callback=lambda step, nfe, x, x0_hat: seen.append(x0_hat)
    )
    assert torch.allclose(output, seen[-1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_shape_and_state_dtype(name, dtype):
    oracle = GaussianOracle(torch.zeros(20), torch.eye(20), Cosine())
    x1 = batch_noise([1, 2, 3], 2, 10).to(dtype)
    states = []
    output = build(name, 4)(
        oracle, x1, noise=step_noise([1, 2, 3], 2, 10), callback=lambda step, nfe, x, x0_hat: states.append(x.dtype)
    )
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert output.shape == x1.shape and output.dtype == expected and set(states) == {expected}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objective, bound", [(V, 1e-5), (X0, 1e-5), (Epsilon, 1e-3)])
def test_float32_stays_close_to_float64(name, objective, bound, gaussian, x1):
    """Division by alpha costs an epsilon network digits at the start; the other two lose hardly any."""
    noise = step_noise(range(len(x1)), 1, 6)
    denoiser = Denoiser(gaussian.as_network(objective()), gaussian.schedule, objective())
    single, double = (build(name, 10)(denoiser, x, noise=noise) for x in (x1.float(), x1))
    assert float((single - double).square().mean().sqrt()) < bound


@pytest.mark.parametrize("name", NAMES)
def test_batch_is_singles(name, mixture, x1):
    noise = step_noise(range(8), 1, 6)
    sampler = build(name, 6)
    batch = sampler(mixture, x1[:8], noise=noise)
    for i in range(8):
        single = sampler(mixture, x1[i : i + 1], noise=step_noise([i], 1, 6))
        assert torch.allclose(single, batch[i : i + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_no_state_is_left_between_calls(name, gaussian, mixture, x1):
    noise = step_noise(range(len(x1)), 1, 6)
    sampler = build(name, 5)
    before = dict(vars(sampler))
    first = sampler(mixture, x1, noise=noise)
    sampler(gaussian, x1 + 1, noise=noise)
    assert torch.equal(sampler(mixture, x1, noise=noise), first)
    assert vars(sampler) == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", [1, 3, 5])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_network_reports_its_first_step(name, broken, value):
    calls = []

    def network(x_t, log_snr, cond):
        calls.append(1)
        return torch.full_like(x_t, value) if len(calls) == broken else 0.1 * x_t

    with pytest.raises(ValueError, match=f"step {broken} of 5"):
        build(name, 5)(Denoiser(network, Cosine(), V()), torch.ones(1, 1, 4), noise=step_noise([0], 1, 4))


@pytest.mark.parametrize("name", NAMES)
def test_network_calls_and_callbacks(name, gaussian, x1):
    evaluated, told = [], []

    class Counting:
        schedule, t_max = gaussian.schedule, 1.0

        def __call__(self, x_t, t, cond=None):
            evaluated.append((t, cond))
            return gaussian(x_t, t)

    sampler = build(name, 6)
    output = sampler(
        Counting(),
        x1,
        "mel",
        step_noise(range(len(x1)), 1, 6),
        lambda step, nfe, x, x0_hat: told.append((step, nfe, x)),
    )
    times = [step.t for step in sampler.table(gaussian)]
    assert len(evaluated) == 6 and evaluated == [(t, "mel") for t in times]
    assert all(isinstance(t, float) for t in times) and times[0] == 1.0
    assert [(step, nfe) for step, nfe, _ in told] == [(n, 6) for n in range(6)]
    assert told[-1][2] is output


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_integration_reads_no_tensor(name, objective):
    """On the meta device tensors have no values: any branch on one, or number read from one, raises."""
    x1 = torch.empty(2, 1, 8, device="meta")
    denoiser = Denoiser(lambda x_t, log_snr, cond: x_t * log_snr[:, None, None], Cosine(), objective())
    table = build(name, 4).table(denoiser)
    output, finite = integrate(table, denoiser, x1, noise=lambda step: torch.empty_like(x1))
    assert output.shape == x1.shape and output.is_meta and finite.shape == (4,)


@pytest.mark.parametrize("name", ["ddpm", "dpmpp_3m", "v_3m_pc"])
def test_a_whole_call_compiles_into_one_graph(name):
    """No graph break from noise to data; a second table is a second graph, not a wrong result."""
    layer = torch.nn.Conv1d(1, 1, 3, padding=1)
    denoiser = Denoiser(lambda x_t, log_snr, cond: layer(x_t) * log_snr[:, None, None].tanh(), Cosine(), V())
    x1, z = batch_noise([0, 1], 1, 32), batch_noise([2, 3], 1, 32)
    compiled = torch.compile(integrate, fullgraph=True, dynamic=False, backend="eager")
    for nfe in (4, 6):
        table = build(name, nfe).table(denoiser)
        eager, _ = integrate(table, denoiser, x1, noise=lambda step: z)
        output, finite = compiled(table, denoiser, x1, noise=lambda step: z)
        assert torch.allclose(output, eager, rtol=0, atol=1e-6) and finite.all()


def test_gradients_flow_through_the_steps():
    scale = torch.tensor(0.5, requires_grad=True)
    denoiser = Denoiser(lambda x, log_snr, cond: scale * x, Cosine(), V())
    build("dpmpp_3m", 4)(denoiser, torch.ones(1, 1, 3)).sum().backward()
    assert torch.isfinite(scale.grad) and scale.grad != 0


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DETERMINISTIC])
def test_stochastic_samplers_need_noise(name, gaussian, x1):
    with pytest.raises(ValueError, match="adds noise at every step"):
        build(name, 4)(gaussian, x1)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DDIM(0), "nfe >= 1"),
        (lambda: DDIM(3, grid=torch.tensor([1.0, 0.0])), "grid of 4 times, got 2"),
        (lambda: DDIM(3, grid=torch.tensor([1.0, 0.5, 0.5, 0.0])), "strictly"),
        (lambda: DDIM(3, grid=torch.tensor([1.0, 0.2, 0.5, 0.0])), "strictly"),
        (lambda: DDIM(3, grid=torch.tensor([1.1, 0.5, 0.2, 0.0])), "in \\[0, 1\\]"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_grid_above_t_max_is_refused(gaussian, x1):
    denoiser = Denoiser(gaussian.as_network(Epsilon()), LinearBeta(), Epsilon())
    with pytest.raises(ValueError, match="starts at 1"):
        DDIM(2, grid=torch.tensor([1.0, 0.5, 0.0]))(denoiser, x1)


@pytest.mark.parametrize("name", NAMES)
def test_scaled_data_come_back_in_their_own_scale(name, gaussian, x1):
    """Where alpha(0) is not 1 the state at t = 0 is alpha x0, and the result x0: shifting log_snr does the same."""
    factor = 0.5
    scaled, shifted = ScaledInput(Cosine(), factor), ShiftedLogSNR(Cosine(), 2 * math.log(factor))
    noise = step_noise(range(8), 1, 6)
    sampler = build(name, 6)
    times = sampler.default_grid(Cosine(), 1.0)
    outputs = []
    for schedule in (scaled, shifted):
        oracle = GaussianOracle(gaussian.mean, gaussian.covariance, schedule)
        outputs.append(_on(sampler, times)(oracle, x1[:8] * schedule.level(1.0).scale, noise=noise))
    assert torch.allclose(*outputs, rtol=0, atol=1e-10)
