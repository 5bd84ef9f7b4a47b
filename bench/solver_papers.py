"""DPM-Solver, DPM-Solver++ and UniPC as published, with the choices of the authors' own programs.

Written from Lu et al., "DPM-Solver" (arXiv 2206.00927) and "DPM-Solver++" (2211.01095), and Zhao et al., "UniPC"
(2302.04867). With lambda = log(alpha / sigma), h the step's length in it and f the network's prediction, both
predictions obey one set of formulas:

    "noise":  f = epsilon, a = alpha, b = sigma, k = h          (DPM-Solver)
    "data":   f = x0,      a = sigma, b = alpha, k = -h         (DPM-Solver++)

    x_s = a_s / a_t x_t - b_s (phi_1 f + phi_2 (h f') + phi_3 (h^2 f'') + ...),
    phi_1 = e^k - 1,   phi_2 = phi_1 / k - 1,   phi_3 = phi_2 / k - 1 / 2,

with the derivatives in lambda. The solvers differ in how they estimate h f' and h^2 f'' from evaluations inside the
step (2S, 3S) or before it (2M, 3M). Where the papers leave details open, the programs' choices are used:

- 2S, 2M and 3M put phi_1 / 2 in phi_2's place where they estimate one derivative.
- 3M weighs a divided difference, h^2 f'' / 2, with phi_3, which makes it of second order.
- multistep solvers start at order 1 and, below ten steps, end at order 1; UniPC always ends so.
- singlestep solvers fill up nfe that their order does not divide with steps of lower order.
- UniPC corrects every step but the last with the prediction at its end, which costs no evaluation.

Grids. The programs know a discrete process of 1000 steps, here that of the cosine betas, keep its steps with lambda >=
-5.1, and spread those over t in [0, 1]; log(alpha) is linear in t in between. They run from t = 1 to t = 1e-3, evenly
in t ("time_uniform") or in lambda ("logSNR"). Their network gets a time of the unclipped process;
here it gets the true noise level of the state.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from solver_problems import Answer, Problem
from torch import Tensor

STEPS = 1000
LAMBDA_CLIPPED = -5.1
T_END = 1e-3
ENDS_LOW_BELOW = 10
# lambda along the way from noise to data, at a share of it in [0, 1].
Path = Callable[[float], float]


def cosine_log_alphas() -> np.ndarray:
    """log(alpha) after each of the 1000 steps of the cosine process, betas capped at 0.999 (Nichol and Dhariwal)."""

    def share(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - share((i + 1) / STEPS) / share(i / STEPS), 0.999) for i in range(STEPS)]
    return np.log1p(-np.array(betas)).cumsum() / 2


def half_log_snr(log_alpha: np.ndarray | float) -> np.ndarray | float:
    """lambda of a variance preserving process."""
    return log_alpha - np.log(-np.expm1(2 * log_alpha)) / 2


def time_uniform() -> Path:
    """lambda at even times of the clipped table."""
    log_alphas = cosine_log_alphas()
    log_alphas = log_alphas[half_log_snr(log_alphas) >= LAMBDA_CLIPPED]
    times = np.linspace(0, 1, len(log_alphas) + 1)[1:]
    # One more node below the first, on the line through the first two: T_END may lie there.
    times = np.insert(times, 0, 0.0)
    log_alphas = np.insert(log_alphas, 0, 2 * log_alphas[0] - log_alphas[1])
    return lambda share: float(half_log_snr(np.interp(1 + share * (T_END - 1), times, log_alphas)))


def log_snr_uniform() -> Path:
    """Even lambda between the ends of `time_uniform`."""
    first, last = (time_uniform()(share) for share in (0.0, 1.0))
    return lambda share: first + share * (last - first)


@dataclass(frozen=True)
class Level:
    """alpha, sigma and the two amplitudes of the prediction at one lambda."""

    half_log_snr: float
    data: bool

    @property
    def angle(self) -> float:
        """atan(sigma / alpha)."""
        return math.atan(math.exp(-self.half_log_snr))

    @property
    def a(self) -> float:
        """sigma for data, alpha for noise."""
        return math.sin(self.angle) if self.data else math.cos(self.angle)

    @property
    def b(self) -> float:
        """alpha for data, sigma for noise."""
        return math.cos(self.angle) if self.data else math.sin(self.angle)


@dataclass
class Walk:
    """One run: the network in the given prediction, and the evaluations it took.

    Args:
        problem: whose denoiser.
        path: lambda along the way.
        data: predict x0 (else noise).
    """

    problem: Problem
    path: Path
    data: bool
    nfe: int = 0

    def level(self, share: float) -> Level:
        """The level at this share of the way."""
        return Level(self.path(share), self.data)

    def ask(self, x: Tensor, level: Level) -> Tensor:
        """f at x."""
        self.nfe += 1
        alpha, sigma = math.cos(level.angle), math.sin(level.angle)
        x0 = self.problem.x0(x, alpha, sigma)
        return x0 if self.data else (x - alpha * x0) / sigma

    def kernel(self, start: Level, stop: Level) -> float:
        """k of the step between."""
        h = stop.half_log_snr - start.half_log_snr
        return -h if self.data else h

    def answer(self, x: Tensor) -> Answer:
        """The result at the path's end."""
        first, last = self.level(0.0), self.level(1.0)
        return Answer(x / math.cos(last.angle), first.angle, last.angle, self.nfe)


def phi(order: int, k: float) -> float:
    """phi_order(k) of the module's docstring."""
    if order == 1:
        return math.expm1(k)
    return phi(order - 1, k) / k - 1 / math.factorial(order - 1)


def single_step(walk: Walk, x: Tensor, shares: list[float]) -> Tensor:
    """DPM-Solver-1, 2S or 3S over the levels at `shares`: the start, those evaluations in between, and the end."""
    start, *inner, stop = (walk.level(share) for share in shares)
    k = walk.kernel(start, stop)
    f = walk.ask(x, start)
    slope, ratio = None, 0.0
    for level in inner:
        partial = walk.kernel(start, level)
        middle = level.a / start.a * x - level.b * phi(1, partial) * f
        if slope is not None:
            middle = middle - level.b * (partial / k) * phi(2, partial) * slope
        ratio = partial / k
        slope = (walk.ask(middle, level) - f) / ratio
    x = stop.a / start.a * x - stop.b * phi(1, k) * f
    if slope is None:
        return x
    return x - stop.b * (phi(2, k) if len(inner) == 2 else phi(1, k) / 2) * slope


def single_step_orders(nfe: int, order: int) -> list[int]:
    """Orders of the steps that add up to nfe."""
    if order < 3:
        return [order] * (nfe // order) + [1] * (nfe % order)
    whole = nfe // 3
    return [*([3] * (whole - 1)), 2, 1] if nfe % 3 == 0 else [*([3] * whole), nfe % 3]


def dpm_solver_single(problem: Problem, nfe: int, path: Path, order: int, data: bool, even_steps: bool) -> Answer:
    """DPM-Solver-2S, 3S and ++; steps are equally long if `even_steps`, else in proportion to their order."""
    walk = Walk(problem, path, data)
    orders = single_step_orders(nfe, order)
    lengths = [1] * len(orders) if even_steps else orders
    ends = np.cumsum([0, *lengths]) / sum(lengths)
    x = problem.noise
    for n, nfe_inside in enumerate(orders):
        x = single_step(walk, x, np.linspace(ends[n], ends[n + 1], nfe_inside + 1).tolist())
    return walk.answer(x)


def multi_step(walk: Walk, x: Tensor, levels: list[Level], answers: list[Tensor]) -> Tensor:
    """One step of DPM-Solver 1, 2M or 3M by the number of past answers; levels and answers newest last."""
    *past, start, stop = levels
    k = walk.kernel(start, stop)
    f = answers[-1]
    x = stop.a / start.a * x - stop.b * phi(1, k) * f
    if not past:
        return x
    near = walk.kernel(past[-1], start) / k
    slope = (f - answers[-2]) / near
    if len(past) == 1:
        return x - stop.b * phi(1, k) / 2 * slope
    far = walk.kernel(past[-2], past[-1]) / k
    difference = (slope - (answers[-2] - answers[-3]) / far) / (near + far)
    slope = slope + near * difference
    return x - stop.b * (phi(2, k) * slope + phi(3, k) * difference)


def dpm_solver_multi(problem: Problem, nfe: int, path: Path, order: int, data: bool) -> Answer:
    """DDIM (order 1), DPM-Solver-2M, 3M and their ++ variants."""
    walk = Walk(problem, path, data)
    levels = [walk.level(n / nfe) for n in range(nfe + 1)]
    x, answers = problem.noise, []
    for n in range(nfe):
        answers.append(walk.ask(x, levels[n]))
        used = min(order, n + 1, nfe - n if nfe < ENDS_LOW_BELOW else order)
        x = multi_step(walk, x, levels[n + 1 - used : n + 2], answers[-used:])
    return walk.answer(x)


def unipc_sum(slopes: list[Tensor], ratios: list[float], k: float, exponential: bool) -> Tensor | float:
    """What UniPC adds up: slopes to the nodes at `ratios` of the step, each with its weight and B(h)."""
    if not slopes:
        return 0.0
    if len(slopes) == 1:
        return (math.expm1(k) if exponential else k) / 2 * slopes[0]
    moments = [phi(j + 2, k) * math.factorial(j + 1) for j in range(len(ratios))]
    weights = np.linalg.solve(np.vander(ratios, increasing=True).T, moments)
    return sum(float(weight) * slope for weight, slope in zip(weights, slopes, strict=True))


def unipc(problem: Problem, nfe: int, path: Path, order: int, exponential: bool) -> Answer:
    """UniPC on x0 with B(h) = h ("bh1") or e^h - 1 ("bh2", `exponential`)."""
    walk = Walk(problem, path, data=True)
    levels = [walk.level(n / nfe) for n in range(nfe + 1)]
    x = problem.noise
    answers = [walk.ask(x, levels[0])]
    for n in range(nfe):
        start, stop = levels[n], levels[n + 1]
        k, used = walk.kernel(start, stop), min(order, n + 1, nfe - n)
        ratios = [walk.kernel(start, levels[n - j]) / k for j in range(1, used)]
        slopes = [(answers[n - j] - answers[n]) / ratio for j, ratio in enumerate(ratios, 1)]
        first = stop.a / start.a * x - stop.b * phi(1, k) * answers[n]
        x = first - stop.b * unipc_sum(slopes, ratios, k, exponential)
        if n + 1 < nfe:
            answers.append(walk.ask(x, stop))
            slopes.append(answers[-1] - answers[n])
            x = first - stop.b * unipc_sum(slopes, [*ratios, 1.0], k, exponential)
    return walk.answer(x)


def peers() -> dict[str, Callable[[Problem, int], Answer]]:
    """Every published solver by its row's name."""
    found: dict[str, Callable[[Problem, int], Answer]] = {}
    for skip, path in (("time_uniform", time_uniform()), ("logSNR", log_snr_uniform())):
        even = skip == "logSNR"
        found[f"official DDIM {skip}"] = lambda p, n, path=path: dpm_solver_multi(p, n, path, 1, True)
        for order in (2, 3):
            for name, data in (("dpmsolver++", True), ("dpmsolver", False)):
                found[f"official {name}-{order}M {skip}"] = lambda p, n, path=path, order=order, data=data: (
                    dpm_solver_multi(p, n, path, order, data)
                )
                found[f"official {name}-{order}S {skip}"] = lambda p, n, path=path, order=order, data=data, even=even: (
                    dpm_solver_single(p, n, path, order, data, even)
                )
            for variant in ("bh1", "bh2"):
                found[f"official UniPC{order} {variant} {skip}"] = (
                    lambda p, n, path=path, order=order, variant=variant: unipc(p, n, path, order, variant == "bh2")
                )
    return found
