"""Distributions whose denoiser, and so whose probability-flow ODE, is known: what `solvers.py` measures samplers on.

All are 16-dimensional with zero mean and mean variance 1. Each kind is a family: a seed draws the member (rotations,
means, weights, spectrum) and the noises that samplers start from, so that a claim can be checked on members that nobody
looked at before.

The ODE does not depend on the schedule. With y = x_t / alpha and u = sigma / alpha it is dy / du = (y - E[x0 | y]) / u;
with the angle phi = atan(u) and z = y cos(phi), the variance preserving state of the same noise level, it is

    dz / dphi = v = (cos(phi) z - E[x0 | z]) / sin(phi),

which is finite at pure noise, phi = pi / 2, and tends to the mean noise at phi -> 0. A sampler may begin and end at any
two levels in any scaling: its answer is compared with the exact solution from its own start to its own end, so neither
the noise that it leaves in on purpose nor the signal that it assumes at its start counts as its error.

An imperfect network is the exact denoiser with a smooth field added to v, of which x0 = cos(phi) z - sin(phi) v has
its share; the exact solution is then that of the perturbed ODE.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from audiodiff.diffusion.oracle import MixtureOracle
from audiodiff.diffusion.schedules.schedule import Cosine

DIMENSIONS = 16
SAMPLES = 512
# The last stretch to phi = 0 is one Euler step: v is 0 / 0 there, and its change over 1e-6 is below 1e-10 here.
NEARLY_ZERO = 1e-6
Field = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class Answer:
    """What a sampler made of a problem's noises.

    Args:
        y: x / alpha at the end, (B, D).
        start: angle atan(sigma / alpha) at which it began.
        stop: angle at which it ended.
        nfe: of the denoiser, counted.
        gain: what the noise was multiplied by to make the start, in the variance preserving scaling.
    """

    y: Tensor
    start: float
    stop: float
    nfe: int
    gain: float = 1.0


@dataclass(frozen=True)
class Errors:
    """How far a sampler's answers are from the exact ones, in standard deviations of the data.

    Args:
        median: over samples, of the rms over dimensions.
        rms: over samples and dimensions.
        flips: percentage of samples that the exact solution leaves in another component; NaN where there is one.
    """

    median: float
    rms: float
    flips: float


@dataclass(eq=False)
class Problem:
    """A distribution and the noises to start from.

    Args:
        kind: key of `KINDS`.
        seed: which member.
        oracle: its denoiser.
        error: smooth field (z (B, D), phi) -> (B, D) added to the denoiser's v; None: the denoiser is exact.
    """

    kind: str
    seed: int
    oracle: MixtureOracle
    error: Field | None = None
    _solutions: dict[tuple[float, float, float], Tensor] = field(init=False, default_factory=dict)

    @cached_property
    def noise(self) -> Tensor:
        """Standard normal, (B, D): what every sampler starts from."""
        return torch.randn(SAMPLES, DIMENSIONS, generator=_generator(self.seed, 1), dtype=torch.float64)

    @property
    def name(self) -> str:
        """Kind and seed."""
        return f"{self.kind}/{self.seed}"

    def x0(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """What the denoiser answers for x_t (B, D)."""
        x0 = self.oracle.posterior_mean(x_t, alpha, sigma)
        if self.error is None:
            return x0
        scale = math.hypot(alpha, sigma)
        return x0 - sigma / scale * self.error(x_t / scale, math.atan2(sigma, alpha))

    def solution(self, start: float, stop: float, gain: float = 1.0) -> Tensor:
        """y = x / alpha (B, D) at the angle `stop` where the state z at the angle `start` was gain * noise; kept."""
        key = (start, stop, gain)
        if key not in self._solutions:
            self._solutions[key] = self._solve(start, stop, gain * self.noise)
        return self._solutions[key]

    def errors(self, answer: Answer) -> Errors:
        """The answer's distances from the exact solution between its own ends; infinite where it is not finite."""
        exact = self.solution(answer.start, answer.stop, answer.gain)
        if not bool(torch.isfinite(answer.y).all()):
            return Errors(math.inf, math.inf, math.nan)
        each = (answer.y - exact).square().mean(1).sqrt()
        flips = (self._modes(answer.y, answer.stop) != self._modes(exact, answer.stop)).double().mean()
        several = len(self.oracle.components) > 1
        rms = float(each.square().mean().sqrt())
        return Errors(float(each.median()), rms, 100 * float(flips) if several else math.nan)

    def _modes(self, y: Tensor, phi: float) -> Tensor:
        """The likeliest component of each y (B,)."""
        parts = zip(self.oracle.weights.log(), self.oracle.components, strict=True)
        return torch.stack([w + c.log_density(y, 1.0, math.tan(phi)) for w, c in parts]).argmax(0)

    def _slope(self, phi: float, z: np.ndarray) -> np.ndarray:
        z = torch.from_numpy(z).reshape(SAMPLES, DIMENSIONS)
        alpha, sigma = math.sin(math.pi / 2 - phi), math.sin(phi)
        return ((alpha * z - self.x0(z, alpha, sigma)) / sigma).numpy().ravel()

    def _solve(self, start: float, stop: float, z: Tensor) -> Tensor:
        inner = max(stop, NEARLY_ZERO)
        with torch.inference_mode(False):
            found = solve_ivp(self._slope, (start, inner), z.numpy().ravel(), "DOP853", rtol=1e-12, atol=1e-13)
        end = found.y[:, -1]
        if inner > stop:
            end = end + (stop - inner) * self._slope(inner, end)
        return torch.from_numpy(end).reshape(SAMPLES, DIMENSIONS) / math.cos(stop)


def _generator(seed: int, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 * seed + stream)


def _covariance(variances: Tensor, generator: torch.Generator) -> Tensor:
    """A covariance of these eigenvalues (D,) and random eigenvectors."""
    size = len(variances)
    rotation = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    return rotation @ torch.diag(variances) @ rotation.T


def _oracle(weights: Tensor, means: Tensor, covariances: Tensor) -> MixtureOracle:
    """The mixture, shifted and scaled to zero mean and mean variance 1."""
    means = means - weights @ means
    total = (weights[:, None] * (means**2 + covariances.diagonal(dim1=1, dim2=2))).sum() / means.shape[1]
    return MixtureOracle(weights, means / total.sqrt(), covariances / total, Cosine())


def mixture(kind: str, seed: int, stream: int, low: float, high: float, weights: tuple[float, ...] | None) -> Problem:
    """Components with means of standard deviation 1.5 and log-spaced standard deviations, each rotated its own way.

    Args:
        kind: name of the family.
        seed: which member.
        stream: makes families differ at equal seeds.
        low: smallest standard deviation before normalizing.
        high: largest.
        weights: of the components; None: three to five with random ones.
    """
    generator = _generator(seed, stream)
    if weights is None:
        count = int(torch.randint(3, 6, (), generator=generator))
        shares = 0.2 + torch.rand(count, generator=generator, dtype=torch.float64)
    else:
        shares = torch.tensor(weights, dtype=torch.float64)
    variances = torch.logspace(2 * math.log10(low), 2 * math.log10(high), DIMENSIONS, dtype=torch.float64)
    means = 1.5 * torch.randn(len(shares), DIMENSIONS, generator=generator, dtype=torch.float64)
    covariances = torch.stack([_covariance(variances, generator) for _ in shares])
    return Problem(kind, seed, _oracle(shares / shares.sum(), means, covariances))


def gauss(kind: str, seed: int, stream: int) -> Problem:
    """One Gaussian with log-spaced variances of condition 1e5, as in 1 / f spectra; seeds but 0 draw 1e4 to 1e6."""
    generator = _generator(seed, stream)
    decades = 4 + 2 * float(torch.rand((), generator=generator)) if seed else 5.0
    return _gaussian(kind, seed, torch.logspace(-decades, 0, DIMENSIONS, dtype=torch.float64), generator)


def power_law(kind: str, seed: int, stream: int) -> Problem:
    """One Gaussian with the variances k^-a + floor, k = 1..16: a falling spectrum that ends in a noise floor."""
    generator = _generator(seed, stream)
    slope, floor = torch.rand(2, generator=generator, dtype=torch.float64)
    k = torch.arange(1, DIMENSIONS + 1, dtype=torch.float64)
    return _gaussian(kind, seed, k ** -(1 + 3 * slope) + 10 ** (-4 + 2 * floor), generator)


def _gaussian(kind: str, seed: int, variances: Tensor, generator: torch.Generator) -> Problem:
    covariance = _covariance(variances, generator)[None]
    return Problem(kind, seed, _oracle(torch.ones(1).double(), torch.zeros(1, len(variances)).double(), covariance))


def perturbed(kind: str, seed: int, stream: int, share: float = 0.05) -> Problem:
    """Family a with an error of this share (rms, v has about 1) in the denoiser's v: sines of random projections."""
    generator = _generator(seed, stream)
    weights = torch.randn(DIMENSIONS, DIMENSIONS, generator=generator, dtype=torch.float64) / math.sqrt(DIMENSIONS)
    speed, phase = torch.randn(2, DIMENSIONS, generator=generator, dtype=torch.float64)

    def error(z: Tensor, phi: float) -> Tensor:
        return share * math.sqrt(2) * torch.sin(z @ weights + speed * phi + 2 * math.pi * phase)

    exact = KINDS["a"](seed)
    return Problem(kind, seed, exact.oracle, error)


TWO = (0.35, 0.65)
KINDS: dict[str, Callable[[int], Problem]] = {
    "a": lambda seed: mixture("a", seed, 10, 0.1, 1.0, TWO),
    "b": lambda seed: mixture("b", seed, 11, 0.03, 1.4, TWO),
    "c": lambda seed: mixture("c", seed, 12, 0.3, 1.0, TWO),
    "gauss": lambda seed: gauss("gauss", seed, 13),
    "perturbed": lambda seed: perturbed("perturbed", seed, 14),
    "crowd": lambda seed: mixture("crowd", seed, 15, 0.1, 1.0, None),
    "power": lambda seed: power_law("power", seed, 16),
}
