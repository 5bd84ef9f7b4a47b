"""The multistep samplers of azula on the usual grids.

A sampler of azula takes even times of a schedule, which maps them to alpha and sigma, so the grid is set through the
schedule: here a table of the grid's levels, from u = sigma / alpha = 160, where the clipped cosine process of
`solver_papers.py` begins, to u = 0.0064, where it ends.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace

import azula.sample
import numpy as np
import torch
from solver_papers import log_snr_uniform
from solver_problems import Answer, Problem
from torch import Tensor

Peer = Callable[[Problem, int], Answer]
RHO = 7.0


def karras(first: float, last: float, steps: int) -> np.ndarray:
    """u at even u^(1 / 7)."""
    return np.linspace(first ** (1 / RHO), last ** (1 / RHO), steps + 1) ** RHO


def exponential(first: float, last: float, steps: int) -> np.ndarray:
    """u at even log u."""
    return np.geomspace(first, last, steps + 1)


def even_angle(first: float, last: float, steps: int) -> np.ndarray:
    """u at even atan(u)."""
    return np.tan(np.linspace(math.atan(first), math.atan(last), steps + 1))


def azula_sampler(kind: type, order: int, spacing: Callable[[float, float, int], np.ndarray]) -> Peer:
    """A multistep sampler on a grid of u, in variance preserving scaling."""
    path = log_snr_uniform()
    first, last = math.exp(-path(0.0)), math.exp(-path(1.0))

    def run(problem: Problem, nfe: int) -> Answer:
        angles = torch.from_numpy(np.arctan(spacing(first, last, nfe)))
        evaluations = 0

        def node(t: Tensor) -> Tensor:
            return ((1 - t) * nfe).round().long()

        def denoiser(x: Tensor, t: Tensor) -> SimpleNamespace:
            nonlocal evaluations
            evaluations += 1
            angle = float(angles[node(t)])
            return SimpleNamespace(mean=problem.x0(x, math.cos(angle), math.sin(angle)))

        denoiser.schedule = lambda t: (torch.cos(angles[node(t)]), torch.sin(angles[node(t)]))
        z = kind(denoiser, order=order, steps=nfe, silent=True, dtype=torch.float64)(problem.noise)
        start, stop = float(angles[0]), float(angles[-1])
        return Answer(z / math.cos(stop), start, stop, evaluations)

    return run


def peers() -> dict[str, Peer]:
    """Every multistep sampler by its row's name."""
    spacings = {"karras": karras, "logSNR": exponential, "angle": even_angle}
    kinds = {name: getattr(azula.sample, f"{name}Sampler") for name in ("xEAB", "zEAB", "zAB", "vAB")}
    return {
        f"azula {name}{order} {grid}": azula_sampler(kind, order, spacing)
        for name, kind in kinds.items()
        for order in (2, 3)
        for grid, spacing in spacings.items()
    }
