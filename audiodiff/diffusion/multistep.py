r"""One exponential multistep family.

The probability-flow ODE, d x / d t = f(t) x + g(t) E[x0 | x], is linear in x once the network's answer is known as a
function of time. Between two times of the grid, t and s < t, it is solved exactly by (lambda = log(alpha / sigma),
phi = atan(sigma / alpha); integrals from t to s)

    "x0":       x_s = sigma_s / sigma_t x_t + alpha_s int exp(lambda - lambda_s) x0(lambda) dlambda
    "epsilon":  x_s = alpha_s / alpha_t (x_t - sigma_t int exp(lambda_t - lambda) epsilon(lambda) dlambda)
    "v":        x_s = x_t + int v(phi) dphi

(Lu et al., "DPM-Solver++", arXiv 2211.01095, prop. 4.1; "DPM-Solver", 2206.00927, prop. 3.1; Salimans and Ho, arXiv
2202.00512, appendix D.) In each, a kernel that is 1 at one end of the step and decays towards the other, or is
constant, meets a smooth function, known at the times already visited. A method of order k puts the polynomial of degree
k - 1 through the last k of these values in the function's place and integrates it exactly: the weights solve a k x k
system in float64 whose right-hand side are the exact moments of the kernel. None is typed in. "x0" and "epsilon" are
the same method at order 1, DDIM, and "v" is Euler's in the angle; from order 2 on they differ in the function that is
taken to be smooth.

Start-up. The first step can only be of order 1 and leaves an error h^2, too much for a method of order 3. Once the
network has been called behind that step, its integral is taken again with the new value too, to order 2, and the state
corrected (no further call: the predictor-corrector idea of UniPC, Zhao et al., arXiv 2302.04867). As the correction is
linear in the same values it only changes weights. A start one order below is enough, so this suffices for order 3,
which is the highest offered.

Ends. lambda is infinite at alpha = 0 and at sigma = 0. No polynomial in lambda reaches there, so a step from or to such
a time is DDIM's, which is finite at both: from pure noise, x_s = alpha_s x0 + sigma_s x_t, and to t = 0, E[x0 | x_t].
Values at an infinite lambda serve no later step. phi is finite everywhere, so "v" needs none of this: its last
step extrapolates like any other.
"""

import math

import torch
from torch import Tensor

from audiodiff.diffusion import grid as grids
from audiodiff.diffusion.sampler import Levels, Sampler, Step, ddim_step
from audiodiff.diffusion.schedule import Schedule

MAX_ORDER = 3
# Decay rate of each prediction's kernel in its coordinate: forwards, backwards, not at all.
RATES = {"x0": 1, "epsilon": -1, "v": 0}


def kernel_moments(decay: float, count: int) -> list[float]:
    """int_0^1 exp(-decay (1 - u)) u^j du for j < count, decay >= 0, each to a few units of the last digit."""
    if decay < 1:
        # A series of positive terms: nothing cancels. 1 / 20! is below the last digit.
        terms = [decay**i / math.factorial(i) for i in range(20)]
        return [math.exp(-decay) * sum(term / (i + j + 1) for i, term in enumerate(terms)) for j in range(count)]
    moments = [-math.expm1(-decay) / decay]
    for j in range(1, count):  # by parts; an error grows by j / decay only
        moments.append((1 - j * moments[-1]) / decay)
    return moments


def interpolation_weights(nodes: list[float], start: float, stop: float, rate: int) -> list[float]:
    """Weights w with sum_i w_i f(nodes_i) = int_start^stop K(c) f(c) dc for every polynomial f of degree < len(nodes).

    Args:
        nodes: distinct coordinates at which f is known.
        start: coordinate the step leaves.
        stop: coordinate the step reaches, on either side.
        rate: the kernel K: 1, exp(-|c - stop|); -1, exp(-|c - start|); 0, constant 1.
    """
    # With u = 0 where the kernel is least and u = 1 where it is 1, all three are one problem on [0, 1].
    light, heavy = (stop, start) if rate < 0 else (start, stop)
    u = torch.tensor([(node - light) / (heavy - light) for node in nodes], dtype=torch.float64)
    moments = kernel_moments(abs(rate * (stop - start)), len(nodes))
    powers = u ** torch.arange(len(nodes), dtype=torch.float64)[:, None]
    return ((stop - start) * torch.linalg.solve(powers, torch.tensor(moments, dtype=torch.float64))).tolist()


class Multistep(Sampler):
    """The exponential multistep method of a given order: deterministic, one network call a step.

    predict = "x0" with order 1 is DDIM, with 2 or 3 DPM-Solver++ 2M or 3M (arXiv 2211.01095; the published 3M
    implementations are of order 2, because they weigh a divided difference as a derivative). predict = "epsilon" is
    multistep DPM-Solver; predict = "v" is Adams-Bashforth in the angle atan(sigma / alpha).

    Args:
        nfe: number of network calls; fewer than `order` are fine.
        order: 1, 2 or 3.
        predict: what is interpolated: "x0", "epsilon" or "v". Independent of what the network predicts.
        grid: (nfe + 1,) times; None: uniform t where it is even for what is interpolated (order 1 and "v"), else
            `grid.balanced`.

    Raises:
        ValueError: another order or prediction, or as `Sampler`.
    """

    def __init__(self, nfe: int, order: int, predict: str = "x0", grid: Tensor | None = None):
        super().__init__(nfe, grid)
        if order not in range(1, MAX_ORDER + 1):
            raise ValueError(f"order is a whole number from 1 to {MAX_ORDER}, got {order}")
        if predict not in RATES:
            raise ValueError(f"predict is one of {', '.join(RATES)}, got {predict!r}")
        self.order = order
        self.predict = predict

    def default_grid(self, schedule: Schedule, t_max: float) -> Tensor:
        """The grid for a denoiser that starts at t_max, down to 0."""
        if self.order == 1 or self.predict == "v":
            return super().default_grid(schedule, t_max)
        return grids.balanced(schedule, self.nfe, t_max)

    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """Rows of the exact solution with interpolated features, DDIM's where the coordinate is infinite."""
        levels = Levels.of(schedule, grid)
        nodes = self._coordinates(levels)
        table: list[Step] = []
        known = 0  # values that may be interpolated, counting the one of this step
        correction: list[float] = []
        for n in range(self.nfe):
            known += math.isfinite(nodes[n])
            if not (math.isfinite(nodes[n]) and math.isfinite(nodes[n + 1])):
                table.append(ddim_step(levels, n))
                continue
            order = min(self.order, known)
            carry, front = self._solution(levels, n)
            weights = self._weights(nodes, n, n, order, front)
            table.append(
                Step(levels.t[n], carry, _add(weights, [carry * w for w in correction]), self._feature(levels, n))
            )
            correction = self._correction(nodes, n, order, weights, front) if order < self.order - 1 else []
        return table

    def _weights(self, nodes: list[float], last: int, n: int, order: int, front: float) -> list[float]:
        """Weights of step n on the `order` values up to `last`, newest first."""
        past = nodes[last - order + 1 : last + 1][::-1]
        return [front * w for w in interpolation_weights(past, nodes[n], nodes[n + 1], RATES[self.predict])]

    def _correction(self, nodes: list[float], n: int, order: int, weights: list[float], front: float) -> list[float]:
        """What step n would have added with the value behind it: weights on the values up to n + 1, newest first."""
        better = self._weights(nodes, n + 1, n, order + 1, front)
        return list(_add(better, [0.0, *(-w for w in weights)]))

    def _coordinates(self, levels: Levels) -> list[float]:
        if self.predict == "v":
            return [math.atan2(sigma, alpha) for alpha, sigma in zip(levels.alpha, levels.sigma, strict=True)]
        return [log_snr / 2 for log_snr in levels.log_snr]

    def _feature(self, levels: Levels, n: int) -> tuple[float, float]:
        """The prediction as a combination of x_t and x0."""
        alpha, sigma = levels.alpha[n], levels.sigma[n]
        return {"x0": (0.0, 1.0), "epsilon": (1 / sigma, -alpha / sigma), "v": (alpha / sigma, -1 / sigma)}[
            self.predict
        ]

    def _solution(self, levels: Levels, n: int) -> tuple[float, float]:
        """The factors of x_t and of the integral in the exact solution of step n."""
        (alpha_t, alpha_s), (sigma_t, sigma_s) = levels.alpha[n : n + 2], levels.sigma[n : n + 2]
        if self.predict == "v":
            return 1.0, 1.0
        if self.predict == "x0":
            return sigma_s / sigma_t, alpha_s
        return alpha_s / alpha_t, -alpha_s / alpha_t * sigma_t


def _add(a: list[float], b: list[float]) -> tuple[float, ...]:
    """Sum of two rows of weights, the shorter one filled up with zeros."""
    size = max(len(a), len(b))
    return tuple(x + y for x, y in zip(*(row + [0.0] * (size - len(row)) for row in (a, b)), strict=True))
