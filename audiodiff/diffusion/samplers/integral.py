r"""One step of the probability-flow ODE as an integral.

The ODE, d x / d t = f(t) x + g(t) E[x0 | x], is linear in x once the network's prediction is known as a function of
time. Between two times t and s it is solved exactly by

    x_s = carry x_t + front int f dm,

where f is the network's prediction in one of three forms and m its measure (r = scale, the integral
from t to s):

    "x0":       x_s = sigma_s / sigma_t x_t + sigma_s int x0 d(alpha / sigma)
    "epsilon":  x_s = alpha_s / alpha_t x_t + alpha_s int epsilon d(sigma / alpha)
    "v":        x_s = r_s / r_t x_t + r_s int v d(phi),   phi = atan(sigma / alpha)

(Lu et al., "DPM-Solver++", arXiv 2211.01095, and "DPM-Solver", 2206.00927, in half_log_snr; Salimans and Ho, arXiv
2202.00512, appendix D, in the angle.) A sampler knows f at a few nodes only. It replaces f by the
polynomial through them, in a coordinate c in which f is assumed to be smooth, and integrates it exactly: the weights
solve a k x k system in float64 whose right-hand side are the moments int c^j dm. The moments are known in closed form
where c is the measure itself (a constant kernel) and where c = half_log_snr (an exponential kernel); elsewhere they are
Gauss-Legendre sums. The three forms agree at order 1 for "x0" and "epsilon" (DDIM) and differ beyond in which function
is taken to be smooth, and in what.

With eta > 0 the same holds for the mean of a reverse SDE with eta times the noise of the ancestral one (eta = 1), which
only changes the exponential kernel and its front:

    "x0":       x_s = sigma_s / sigma_t e^(-eta h) x_t + k alpha_s int e^(-k (lambda_s - lambda)) x0 dlambda
    "epsilon":  x_s = alpha_s / alpha_t x_t - k alpha_s int e^(-lambda) epsilon dlambda

with k = 1 + eta, lambda = half_log_snr, h = lambda_s - lambda_t, and noise of standard deviation
sigma_s sqrt(1 - e^(-2 eta h)) or sigma_s sqrt(eta (e^(2 h) - 1)). The SDE solvers of arXiv 2211.01095 are eta = 1.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audiodiff.diffusion.schedules.schedule import Level, Schedule

PREDICTIONS = ("x0", "epsilon", "v")
COORDINATES = ("half_log_snr", "angle", "ratio", "t")
NATURAL = {"x0": "half_log_snr", "epsilon": "half_log_snr", "v": "angle"}
# Enough for rounding wherever a step's ends differ by less than a factor of a thousand in sigma / alpha.
QUADRATURE = 64
# A step is stable if it enlarges normal data of these standard deviations by at most this factor,
SCALES = (0.5, 1.0, 2.0)
MAX_GROWTH = 1.25
# and if the absolute values of its weights add up to at most this times their sum: 8 for even steps of order 4.
# Good third-order steps of 13 to 18 are left out, too (11 steps from t = 0.7 on `LinearBeta` and `SubVP`): at 20, SDE
# steps on a learned schedule amplify their errors.
MAX_CANCELLATION = 12.0


def exponential_moments(decay: float, count: int) -> list[float]:
    """int_0^1 exp(-decay (1 - u)) u^j du for j < count, decay >= 0, each to a few units of the last digit."""
    if decay < 1:
        # A series of positive terms: nothing cancels. 1 / 20! is below the last digit.
        terms = [decay**i / math.factorial(i) for i in range(20)]
        return [math.exp(-decay) * sum(term / (i + j + 1) for i, term in enumerate(terms)) for j in range(count)]
    moments = [-math.expm1(-decay) / decay]
    for j in range(1, count):  # by parts; an error grows by j / decay only
        moments.append((1 - j * moments[-1]) / decay)
    return moments


def interpolation_weights(nodes: Sequence[float], moments: Sequence[float]) -> list[float]:
    """Weights w with sum_i w_i u_i^j = moments_j for every j < len(nodes): exact for polynomials through the nodes.

    By the algorithm of Bjorck and Pereyra for Vandermonde systems (Golub and Van Loan, "Matrix Computations"), which
    loses no digits where nodes are ordered, unlike elimination.
    """
    w, count = list(moments), len(nodes)
    for k in range(count - 1):
        for i in range(count - 1, k, -1):
            w[i] -= nodes[k] * w[i - 1]
    for k in range(count - 2, -1, -1):
        for i in range(k + 1, count):
            w[i] /= nodes[i] - nodes[i - k - 1]
        for i in range(k, count - 1):
            w[i] -= w[i + 1]
    return w


def check(predict: str, coordinate: str | None, eta: float) -> None:
    """Raise ValueError for arguments that `Integral` does not take."""
    if predict not in PREDICTIONS:
        raise ValueError(f"predict is one of {', '.join(PREDICTIONS)}, got {predict!r}")
    if coordinate is not None and coordinate not in COORDINATES:
        raise ValueError(f"coordinate is one of {', '.join(COORDINATES)}, got {coordinate!r}")
    if not 0 <= eta < math.inf:
        raise ValueError(f"eta must be at least 0 and finite, got {eta}")
    if eta and (predict == "v" or coordinate not in (None, "half_log_snr")):
        raise ValueError("eta > 0 needs predict x0 or epsilon, and coordinate half_log_snr")


class Integral:
    """The exact solution of a step, with the feature replaced by a polynomial in a coordinate.

    Args:
        schedule: signal and noise at t; used only where the coordinate is t.
        predict: the feature: "x0", "epsilon" or "v".
        coordinate: what it is a polynomial of: "half_log_snr", "angle" (atan(sigma / alpha)), "ratio" (sigma / alpha)
            or "t"; None: half_log_snr for x0 and epsilon, angle for v.
        eta: share of the ancestral noise that the reverse SDE adds; 0 is the ODE. With half_log_snr alone.
        pseudo: replace the kernel by its mean over the step, so that the polynomial is averaged (pseudo
            numerical methods, Liu et al., arXiv 2202.09778).

    Raises:
        ValueError: as `check`.
    """

    def __init__(
        self, schedule: Schedule, predict: str, coordinate: str | None = None, eta: float = 0.0, pseudo: bool = False
    ):
        check(predict, coordinate, eta)
        self.schedule, self.predict, self.coordinate = schedule, predict, coordinate or NATURAL[predict]
        self.eta, self.pseudo = eta, pseudo

    def feature(self, level: Level) -> tuple[float, float]:
        """The prediction at a level as a combination of x_t and x0. Not at sigma = 0, unless it is x0."""
        alpha, sigma, scale = level.alpha, level.sigma, level.scale
        if self.predict == "x0":
            return 0.0, 1.0
        if self.predict == "epsilon":
            return 1 / sigma, -alpha / sigma
        return alpha / (scale * sigma), -scale / sigma

    def usable(self, level: Level) -> bool:
        """Whether the feature at this level can be a node of a polynomial: it and its coordinate are known."""
        known = {"x0": True, "epsilon": level.alpha > 0 and level.sigma > 0, "v": level.sigma > 0}[self.predict]
        return known and math.isfinite(self._coordinate(level))

    def solvable(self, start: Level, stop: Level) -> bool:
        """Whether a step from start to stop is finite and has a node at its start."""
        return self.usable(start) and math.isfinite(self._coordinate(stop)) and (stop.sigma > 0 or self.predict != "x0")

    def carry(self, start: Level, stop: Level) -> float:
        """The factor of x_t."""
        if self.predict == "epsilon":
            return stop.alpha / start.alpha
        if self.predict == "v":
            return stop.scale / start.scale
        h = (stop.log_snr - start.log_snr) / 2
        return stop.sigma / start.sigma * math.exp(-self.eta * h)

    def noise(self, start: Level, stop: Level) -> float:
        """Standard deviation of what the reverse SDE adds."""
        if self.predict == "epsilon" and self.eta:
            return stop.sigma * math.sqrt(self.eta * math.expm1(stop.log_snr - start.log_snr))
        return self.marginal_noise(start, stop)

    def marginal_noise(self, start: Level, stop: Level) -> float:
        """The same for x0, which is bounded by sigma_s: finite from pure noise, too."""
        return stop.sigma * math.sqrt(-math.expm1(self.eta * (start.log_snr - stop.log_snr))) if self.eta else 0.0

    def stable(self, nodes: Sequence[Level], weights: Sequence[float], start: Level, stop: Level) -> bool:
        """Whether a step with these weights keeps normal data about as large as it should be at `stop`.

        Evaluated with the exact states and estimates for data of the standard deviations `SCALES`. A step that is too
        wide for its polynomial fails: where sigma / alpha falls from 100 to 1, a quadrature that is wrong by a
        hundredth leaves an error as large as the data. So does one much wider than those before it, which extrapolates
        so far that its weights cancel and any error of the network is amplified.
        """
        if sum(map(abs, weights)) > MAX_CANCELLATION * abs(sum(weights)):
            return False

        def spread(level: Level, scale: float) -> float:
            return math.hypot(level.alpha * scale, level.sigma)

        for scale in SCALES:
            reached = self.carry(start, stop) * spread(start, scale)
            for node, weight in zip(nodes, weights, strict=True):
                of_x, of_x0 = self.feature(node)
                x = spread(node, scale)
                reached += weight * (of_x * x + of_x0 * node.alpha * scale**2 / x)
            if math.hypot(reached, self.noise(start, stop)) > MAX_GROWTH * spread(stop, scale):
                return False
        return True

    def weights(self, nodes: Sequence[Level], start: Level, stop: Level) -> list[float]:
        """The weight of the feature at each node in front int f dm, for a step from start to stop."""
        if self.coordinate == "half_log_snr" and self.predict != "v" and not self.pseudo:
            return self._exponential_weights(nodes, start, stop)
        origin, width = self._coordinate(start), self._coordinate(stop) - self._coordinate(start)
        places = [(self._coordinate(node) - origin) / width for node in nodes]
        mass = self._front(stop) * (self._measure(stop) - self._measure(start))
        return [mass * w for w in interpolation_weights(places, self._mean_powers(start, stop, len(nodes)))]

    def _exponential_weights(self, nodes: Sequence[Level], start: Level, stop: Level) -> list[float]:
        # With u = 0 where the kernel is least and u = 1 where it is greatest, all cases are one problem on [0, 1].
        rate = 1 + self.eta if self.predict == "x0" else -1.0
        h = (stop.log_snr - start.log_snr) / 2
        light, heavy = (start, stop) if rate * h > 0 else (stop, start)
        places = [(node.log_snr - light.log_snr) / (heavy.log_snr - light.log_snr) for node in nodes]
        moments = exponential_moments(abs(rate * h), len(nodes))
        at_heavy = math.exp(rate * (heavy.log_snr - stop.log_snr) / 2)
        front = (1 + self.eta) * h * at_heavy * (stop.alpha if self.predict == "x0" else -stop.sigma)
        return [front * w for w in interpolation_weights(places, moments)]

    def _mean_powers(self, start: Level, stop: Level, count: int) -> list[float]:
        """The mean over the step's measure of u^j, j < count; u runs from 0 at start to 1 at stop."""
        if self.pseudo or (self.coordinate, self.predict) in (("angle", "v"), ("ratio", "epsilon")):
            return [1 / (j + 1) for j in range(count)]
        nodes, masses = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(QUADRATURE))
        first, last = self._measure(start), self._measure(stop)
        along = self._coordinate_at(first + (last - first) * (nodes + 1) / 2)
        origin, width = self._coordinate(start), self._coordinate(stop) - self._coordinate(start)
        u = (along - origin) / width
        return [float((masses / 2 * u**j).sum()) for j in range(count)]

    def _coordinate_at(self, measure: Tensor) -> Tensor:
        ratio = {"x0": lambda m: 1 / m, "epsilon": lambda m: m, "v": torch.tan}[self.predict](measure)
        return {
            "half_log_snr": lambda: -torch.log(ratio),
            "angle": lambda: torch.atan(ratio),
            "ratio": lambda: ratio,
            "t": lambda: self.schedule.t_from_log_snr(-2 * torch.log(ratio)),
        }[self.coordinate]()

    def _front(self, stop: Level) -> float:
        return {"x0": stop.sigma, "epsilon": stop.alpha, "v": stop.scale}[self.predict]

    def _measure(self, level: Level) -> float:
        if self.predict == "x0":
            return level.alpha / level.sigma
        return level.sigma / level.alpha if self.predict == "epsilon" else math.atan2(level.sigma, level.alpha)

    def _coordinate(self, level: Level) -> float:
        if self.coordinate == "half_log_snr":
            return level.log_snr / 2
        if self.coordinate == "angle":
            return math.atan2(level.sigma, level.alpha)
        if self.coordinate == "ratio":
            return level.sigma / level.alpha if level.alpha else math.inf
        return level.t
