"""Bridges against the pinned Brownian motion, published samplers, and Gaussian ends whose posterior is known."""

import math
from itertools import pairwise

import pytest
import torch

from audiodiff.diffusion.bridge import Bridge, coefficients
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.guidance.extrapolation import ClassifierFree
from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM, Ancestral
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.diffusion.schedules.schedule import Cosine, RectifiedFlow, VarianceExploding
from audiodiff.diffusion.variance import Posterior
from audiodiff.diffusion.weighting import MinSNR
from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import StridedFrontend
from audiodiff.nn.network import Network

NOISES = (0.5, 1.0, 3.0)


def level_of(share, noise):
    """log_snr of the bridge at the share u."""
    return torch.log((1 - share) / share) - 2 * math.log(noise)


def state(shown, log_snr, noise):
    """x_u of what a bridge shows: undoes its normalization."""
    a, b, c = coefficients(log_snr.double(), noise)
    return shown * (a**2 + b**2 + c**2).sqrt().reshape(-1, *(1,) * (shown.ndim - 1))


class Shown(torch.nn.Module):
    """Records its input and returns it."""

    def forward(self, x, log_snr, cond):
        self.x, self.log_snr, self.cond = x, log_snr, cond
        return x


class GaussianEnds:
    """(x0, y) jointly Gaussian with means m0, my: a network within a bridge that outputs E[x0 | x_u, y]."""

    def __init__(self, generator, noise, size=3):
        half = torch.randn(2 * size, 2 * size, generator=generator, dtype=torch.float64)
        joint = half @ half.T / (2 * size) + 0.1 * torch.eye(2 * size, dtype=torch.float64)
        self.x0, self.y, self.cross = joint[:size, :size], joint[size:, size:], joint[:size, size:]
        self.mean_x0, self.mean_y = torch.randn(2, size, generator=generator, dtype=torch.float64)
        self.noise, self.size = noise, size

    def given_y(self, y):
        """Mean (B, D) and covariance (D, D) of x0 given y (B, D)."""
        gain = torch.linalg.solve(self.y, self.cross.T).T
        return self.mean_x0 + (y - self.mean_y) @ gain.T, self.x0 - gain @ self.cross.T

    def oracle(self, y, schedule):
        """The denoiser of x0 given y, without a bridge."""
        mean, covariance = self.given_y(y)
        oracle = GaussianOracle(mean[0], covariance, schedule)
        oracle.mean = mean
        return oracle

    def denoiser(self, schedule, objective=None):
        return Denoiser(Bridge(self, self.noise), schedule, objective or X0())

    def __call__(self, shown, log_snr, cond):
        """Conditions on x_u = a x0 + b y + c noise and on y together, block by block."""
        x, y = state(shown, log_snr, self.noise)[:, 0], cond.signal[:, 0]
        a, b, c = (float(factor) for factor in coefficients(log_snr.double()[0], self.noise))
        white = c**2 * torch.eye(self.size, dtype=torch.float64)
        of_x = a**2 * self.x0 + a * b * (self.cross + self.cross.T) + b**2 * self.y + white
        x_with_y = a * self.cross + b * self.y
        seen = torch.cat([torch.cat([of_x, x_with_y], 1), torch.cat([x_with_y.T, self.y], 1)])
        with_x0 = torch.cat([a * self.x0 + b * self.cross, self.cross], 1)
        away = torch.cat([x - a * self.mean_x0 - b * self.mean_y, y - self.mean_y], 1)
        return (self.mean_x0 + away @ torch.linalg.solve(seen, with_x0.T))[:, None]


@pytest.mark.parametrize("noise", NOISES)
def test_the_ends_are_exact(noise):
    a, b, c = coefficients(torch.tensor([-math.inf, math.inf]), noise)
    assert a.tolist() == [0, 1] and b.tolist() == [1, 0] and c.tolist() == [0, 0]
    z, y = torch.randn(2, 2, 1, 5, dtype=torch.float64)
    shown = Bridge(Shown(), noise)(z, torch.tensor([-math.inf, math.inf], dtype=torch.float64), Condition(signal=y))
    assert torch.equal(shown[0], y[0]) and torch.equal(shown[1], z[1])


@pytest.mark.parametrize("noise", NOISES)
def test_marginals_and_transitions_are_those_of_a_pinned_brownian_motion(noise, generator):
    """Paths of a Brownian motion, bent so that they end at y; no formula of the bridge is used to make them."""
    x0, y, paths = 0.8, -0.4, 200_000
    u = torch.tensor([0.0, 0.15, 0.4, 0.75, 1.0], dtype=torch.float64)
    steps = u.diff().sqrt()[:, None] * torch.randn(4, paths, generator=generator, dtype=torch.float64)
    motion = noise * torch.cat([torch.zeros(1, paths, dtype=torch.float64), steps.cumsum(0)])
    walked = x0 + motion + u[:, None] * (y - x0 - motion[-1])
    error = 5 / math.sqrt(paths)
    for share, x in zip(u[1:4], walked[1:4], strict=True):
        a, b, c = (float(factor) for factor in coefficients(level_of(share, noise), noise))
        assert abs(float(x.mean()) - (a * x0 + b * y)) < error * c
        assert float(x.var()) == pytest.approx(c**2, rel=2 * error)
    # What Ancestral steps by: q(z_s | z_t, x0) of the variance preserving process, z = (x_u - b y) / hypot(a, c).
    schedule = Cosine()
    times = schedule.t_from_log_snr(level_of(u[1:4], noise))
    (early, late), factors = schedule.levels(times[[0, 2]]), coefficients(level_of(u[[1, 3]], noise), noise)
    step, gain = Posterior.between(late, early), torch.hypot(factors[0], factors[2])
    z = (walked[[1, 3]] - factors[1][:, None] * y) / gain[:, None]
    left = z[0] - step.mean(z[1], torch.tensor(x0, dtype=torch.float64))
    deviation = math.exp(step.log_small / 2)
    assert abs(float(left.mean())) < error * deviation
    assert float(left.var()) == pytest.approx(deviation**2, rel=2 * error)
    assert abs(float((left * z[1]).mean())) < 2 * error * deviation


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("schedule", [Cosine(), RectifiedFlow(), VarianceExploding()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("objective", [X0(), V(), Epsilon()], ids=lambda o: type(o).__name__)
def test_the_network_is_shown_the_state_of_the_bridge(schedule, objective, noise):
    x0, y, white = torch.randn(3, 4, 2, 7, dtype=torch.float64)
    t = torch.tensor([0.1, 0.4, 0.6, 0.93], dtype=torch.float64)
    network, cond = Shown(), Condition(signal=y)
    Denoiser(Bridge(network, noise), schedule, objective).loss(x0, white, t, cond)
    share = torch.sigmoid(-schedule.log_snr(t) - 2 * math.log(noise)).reshape(-1, 1, 1)
    expected = (1 - share) * x0 + share * y + noise * (share * (1 - share)).sqrt() * white
    torch.testing.assert_close(state(network.x, network.log_snr, noise), expected)
    torch.testing.assert_close(network.log_snr, schedule.log_snr(t))
    assert network.cond is cond


def test_y_is_the_first_of_the_conditions_signals():
    z, y, other = torch.randn(3, 2, 1, 7)
    bridge, log_snr = Bridge(Shown()), torch.tensor([-1.0, 2.0])
    both = bridge(z, log_snr, Condition(signal=torch.cat([y, other], 1)))
    assert torch.equal(both, bridge(z, log_snr, Condition(signal=y)))


def test_what_is_shown_has_unit_variance_where_the_ends_have(generator):
    x0, y, white = torch.randn(3, 8, 1, 100_000, generator=generator)
    network, t = Shown(), torch.linspace(0, 1, 8)
    Denoiser(Bridge(network), Cosine(), X0()).loss(x0, white, t, Condition(signal=y))
    torch.testing.assert_close(network.x.var(-1), torch.ones(8, 1), atol=0.02, rtol=0)


def chained(name):
    """(alpha, sigma^2, sigma_1^2) along the time steps of Chen et al.: their gmax (no drift) and VP references."""
    t = torch.tensor([1.0, 0.8, 0.55, 0.3, 0.12, 0.0], dtype=torch.float64)
    rate = 0.01 * t + (20 - 0.01) * t**2 / 2
    if name == "gmax":
        return torch.ones_like(t), rate, float(rate[0])
    rate = rate / 4
    return torch.exp(-rate / 2), torch.expm1(rate), float(torch.expm1(rate[0]))


def answered(x, u):
    """Some x0 that a network might output to x / alpha at the share u."""
    return torch.tanh(1.3 * x - 0.4) + 0.2 * u


class Answering:
    def __init__(self, noise):
        self.noise = noise

    def __call__(self, shown, log_snr, cond):
        share = coefficients(log_snr, self.noise)[1].reshape(-1, 1, 1)
        return answered(state(shown, log_snr, self.noise), share)


@pytest.mark.parametrize("name", ["gmax", "vp"])
@pytest.mark.parametrize("stochastic", [True, False])
def test_the_samplers_are_those_of_chen_et_al(name, stochastic, generator):
    """Their first-order steps in their own terms; the ODE's from the second time on, where it is finite."""
    alpha, variance, total = chained(name)
    noise, first = math.sqrt(total), 0 if stochastic else 1
    y, white = torch.randn(2, 2, 1, 4, generator=generator, dtype=torch.float64)
    steps = torch.randn(5, 2, 1, 4, generator=generator, dtype=torch.float64)
    # y is theirs divided by alpha_1: x / alpha is a bridge without drift.
    share = variance / total
    log_snr, schedule = level_of(share, noise), Cosine()
    a, b, c = coefficients(log_snr, noise)
    x = alpha[first] * (a[first] * 0.3 + b[first] * y + c[first] * white)
    x1 = torch.zeros_like(y) if stochastic else (x / alpha[first] - b[first] * y) / torch.hypot(a, c)[first]
    for n, (s, t) in enumerate(pairwise(range(first, 6))):
        x0 = answered(x / alpha[s], share[s])
        ratio, at_s, at_t = variance[t] / variance[s], total - variance[s], total - variance[t]
        if stochastic:
            spread = alpha[t] * (variance[t] * (1 - ratio)).sqrt()
            x = ratio * alpha[t] / alpha[s] * x + alpha[t] * (1 - ratio) * x0 + spread * steps[n]
        else:
            kept = (variance[t] * at_t / (variance[s] * at_s)).sqrt()
            of_x0 = at_t - (at_s * variance[t] * at_t / variance[s]).sqrt()
            of_y = variance[t] - (variance[s] * variance[t] * at_t / at_s).sqrt()
            x = kept * alpha[t] / alpha[s] * x + alpha[t] / total * (of_x0 * x0 + of_y * y)
    grid = schedule.t_from_log_snr(log_snr)[first:]
    sampler = Ancestral(5, grid=grid) if stochastic else DDIM(4, grid=grid)
    denoiser = Denoiser(Bridge(Answering(noise), noise), schedule, X0())
    result = sampler(denoiser, x1, Condition(signal=y), lambda step: steps[step])
    torch.testing.assert_close(result, x, rtol=1e-7, atol=1e-7)


def test_the_ode_from_zero_leaves_y_along_the_mean():
    y, seen = torch.randn(2, 1, 4, dtype=torch.float64), []
    schedule = Cosine()
    denoiser = Denoiser(Bridge(Answering(1.0)), schedule, X0())
    DDIM(2)(denoiser, torch.zeros_like(y), Condition(signal=y), callback=lambda n, nfe, z, x0: seen.append((z, x0)))
    z, _ = seen[0]
    a, b, c = coefficients(schedule.log_snr(torch.tensor(0.5, dtype=torch.float64)))
    torch.testing.assert_close(b * y + torch.hypot(a, c) * z, a * answered(y, 1.0) + b * y)


@pytest.mark.parametrize("noise", NOISES)
def test_the_posterior_is_that_of_the_process_without_y(noise, schedule, generator):
    """E[x0 | x_u, y] by conditioning on both is what a denoiser of x0 under noise outputs where y is known."""
    ends = GaussianEnds(generator, noise)
    z, y = torch.randn(2, 5, 1, 3, generator=generator, dtype=torch.float64)
    for t in (0.05, 0.3, 0.7, 0.9):
        expected = ends.oracle(y[:, 0], schedule)(z, t)
        torch.testing.assert_close(ends.denoiser(schedule)(z, t, Condition(signal=y)), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("order, predict", [(1, "x0"), (2, "x0"), (3, "x0"), (2, "v"), (3, "v")])
def test_orders_of_convergence(order, predict, generator):
    ends = GaussianEnds(generator, 1.0)
    z, y = torch.randn(2, 16, 1, 3, generator=generator, dtype=torch.float64)
    schedule, first, last = Cosine(), 0.9, 0.1
    exact = ends.oracle(y[:, 0], schedule).flow(z, first, last)
    errors = []
    for nfe in (16, 32, 64):
        grid = torch.linspace(first, last, nfe + 1, dtype=torch.float64)
        result = Multistep(nfe, order, predict, grid)(ends.denoiser(schedule), z, Condition(signal=y))
        errors.append(float((result - exact).abs().max()))
    slopes = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert all(order - 0.35 < slope < order + 0.8 for slope in slopes), slopes


SAMPLERS = {
    "ode": Multistep(32, 2, "x0"),
    "ode, order 3 in v": Multistep(32, 3, "v"),
    "sde": Multistep(64, 2, "x0", eta=1.0),
    "ancestral": Ancestral(400),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_ode_and_sde_sample_all_that_y_may_come_from(name, generator):
    ends, clips = GaussianEnds(generator, 1.0), 20_000
    y = torch.randn(1, 1, 3, generator=generator, dtype=torch.float64).expand(clips, -1, -1)
    x1 = torch.randn(clips, 1, 3, generator=generator, dtype=torch.float64)

    def noise(step):
        return torch.randn(clips, 1, 3, generator=torch.Generator().manual_seed(step), dtype=torch.float64)

    result = SAMPLERS[name](ends.denoiser(Cosine()), x1, Condition(signal=y), noise)[:, 0]
    mean, covariance = ends.given_y(y[:1, 0])
    scale = covariance.diagonal().sqrt()
    assert ((result.mean(0) - mean[0]).abs() / scale).max() < 0.03
    assert ((result.T.cov() - covariance).abs() / scale.outer(scale)).max() < 0.05


def test_the_ode_from_zero_makes_the_mean(generator):
    ends = GaussianEnds(generator, 1.0)
    y = torch.randn(4, 1, 3, generator=generator, dtype=torch.float64)
    result = Multistep(200, 3, "v")(ends.denoiser(Cosine()), torch.zeros_like(y), Condition(signal=y))
    torch.testing.assert_close(result[:, 0], ends.given_y(y[:, 0])[0], rtol=0, atol=1e-5)


def test_the_loss_is_least_at_the_posterior_mean(generator):
    """There it is the posterior's own variance; away from it, more by the square of the difference."""
    ends, clips, t = GaussianEnds(generator, 1.0), 100_000, 0.6
    half = torch.linalg.cholesky(torch.cat([torch.cat([ends.x0, ends.cross], 1), torch.cat([ends.cross.T, ends.y], 1)]))
    pairs = torch.randn(clips, 6, generator=generator, dtype=torch.float64) @ half.T
    x0, y = (pairs[:, :3] + ends.mean_x0)[:, None], (pairs[:, 3:] + ends.mean_y)[:, None]
    white = torch.randn(clips, 1, 3, generator=generator, dtype=torch.float64)
    cond, (alpha, sigma, *_) = Condition(signal=y), Cosine().level(t)
    _, covariance = ends.given_y(y[:1, 0])
    left = torch.linalg.inv(torch.linalg.inv(covariance) + alpha**2 / sigma**2 * torch.eye(3, dtype=torch.float64))
    loss = ends.denoiser(Cosine()).loss(x0, white, t, cond).loss
    assert float(loss.mean()) == pytest.approx(float(left.trace()) / 3, rel=0.02)
    off = Denoiser(Bridge(lambda *given: ends(*given) + 0.1), Cosine(), X0())
    assert float(off.loss(x0, white, t, cond).loss.mean() - loss.mean()) == pytest.approx(0.01, rel=0.1)
    weighted = ends.denoiser(Cosine(), X0(MinSNR(5.0))).loss(x0, white, t, cond).loss
    torch.testing.assert_close(weighted, loss * min(alpha**2 / sigma**2, 5.0))


class Perceptron(torch.nn.Module):
    """Samples that do not know of each other: from what is shown, y and the level."""

    def __init__(self, width=64):
        super().__init__()
        sizes = zip((3, width, width), (width, width, 1), strict=True)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(*size) for size in sizes)

    def forward(self, x, log_snr, cond):
        level = (log_snr / 5).tanh().reshape(-1, 1, 1).expand_as(x)
        hidden = torch.cat([x, cond.signal, level], 1).transpose(1, 2)
        for layer in self.layers[:-1]:
            hidden = torch.nn.functional.silu(layer(hidden))
        return self.layers[-1](hidden).transpose(1, 2)


def test_a_trained_bridge_finds_both_signals_that_y_may_come_from(generator):
    """x0 = 0.8 y + 0.6 or 0.8 y - 0.6, learned from pairs alone: the ODE finds either, not their mean."""
    torch.manual_seed(0)
    denoiser = Denoiser(Bridge(Perceptron()), Cosine(), X0())
    steps = 1200
    optimizer = torch.optim.Adam(denoiser.parameters(), 4e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        y, white, coin = torch.randn(3, 256, 1, 4, generator=generator)
        t = torch.rand(256, generator=generator)
        loss = denoiser.loss(0.8 * y + 0.6 * coin.sign(), white, t, Condition(signal=y)).loss.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    y, x1 = torch.randn(2, 2000, 1, 4, generator=generator)
    with torch.no_grad():
        result = Multistep(20, 2, "x0")(denoiser, x1, Condition(signal=y)) - 0.8 * y
    assert abs(float((result > 0).float().mean()) - 0.5) < 0.05
    assert float((result.abs() - 0.6).abs().mean()) < 0.25  # their mean would be 0.6 away


@pytest.mark.parametrize("sampler", [Multistep(4, 2, "x0"), Ancestral(4)], ids=["ode", "sde"])
def test_a_clip_alone_equals_the_clip_in_a_padded_batch(sampler):
    torch.manual_seed(0)
    network = Network(StridedFrontend(1, 32, 16, signals=1), 2, 16, [16, 16], [1, 1]).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    denoiser = Denoiser(Bridge(network), Cosine(), X0())
    samples, seeds = [320, 512], [3, 5]
    y, frames = torch.randn(2, 1, 512), torch.randn(2, 2, 32)
    frames[0, :, 20:] = frames[0, :, 19:20]
    cond = Condition(frames, torch.tensor(samples), signal=y)
    with torch.no_grad():
        together = sampler(denoiser, batch_noise(seeds, 1, 512), cond, step_noise(seeds, 1, 512))
        for i, (count, seed) in enumerate(zip(samples, seeds, strict=True)):
            one = Condition(frames[i : i + 1, :, : count // 16], signal=y[i : i + 1, :, :count])
            alone = sampler(denoiser, batch_noise([seed], 1, count), one, step_noise([seed], 1, count))
            assert alone.abs().max() > 0.01
            torch.testing.assert_close(
                together[i : i + 1, :, :count], alone, rtol=0, atol=1e-4 * alone.abs().max().item()
            )


def test_guidance_and_compilation_hold_as_they_stand(generator):
    torch.manual_seed(0)
    network = torch.nn.Conv1d(1, 1, 5, padding=2)

    def evaluated(x, log_snr, cond):
        return network(x) + cond.frames

    denoiser = Denoiser(Bridge(evaluated), Cosine(), V())
    z, y, frames = torch.randn(3, 2, 1, 9)
    cond, none = Condition(frames, signal=y), Condition(torch.zeros_like(frames), signal=y)
    guided = ClassifierFree(denoiser, 3.0, none)(z, 0.5, cond)
    better, worse = denoiser(z, 0.5, cond), denoiser(z, 0.5, none)
    torch.testing.assert_close(guided, worse + 3 * (better - worse))
    compiled = torch.compile(Bridge(network_only(network)), backend="eager", fullgraph=True)
    log_snr = torch.tensor([0.3, -2.0])
    torch.testing.assert_close(compiled(z, log_snr, cond), Bridge(network_only(network))(z, log_snr, cond))


def network_only(network):
    return lambda x, log_snr, cond: network(x)


def test_arguments_are_kept_and_checked():
    network = torch.nn.Conv1d(1, 1, 1)
    bridge = Bridge(network, noise=0.7)
    assert (
        bridge.network is network
        and bridge.noise == 0.7
        and set(bridge.state_dict())
        == {
            "network.weight",
            "network.bias",
        }
    )
    level = torch.tensor(0.7)
    assert Bridge(network).noise == 1 and coefficients(level) == coefficients(level, 1.0)
    for noise in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="noise"):
            Bridge(network, noise)
    z, log_snr = torch.zeros(2, 1, 4), torch.zeros(2)
    with pytest.raises(ValueError, match="got none"):
        bridge(z, log_snr, None)
    with pytest.raises(ValueError, match="got none"):
        bridge(z, log_snr, Condition())
    with pytest.raises(ValueError, match=r"\(1, 1, 4\)"):
        bridge(z, log_snr, Condition(signal=torch.zeros(1, 1, 4)))
