"""Every entry of every preset's table against a second computation of it, which shares no formula with the first.

On the cosine schedule the angle atan(sigma / alpha) is pi t / 2 and every integral of a step is one over the angle phi,

    x0:       sigma_s int f d(cot phi)      epsilon:  alpha_s int f d(tan phi)      v:  int f d(phi),

here done by composite Gauss-Legendre sums over Lagrange polynomials. Multistep rows are not compared one by one: both
tables are unrolled, so that each state is a combination of the start x and of the features f_0, f_1, ..., with the
corrector as it is defined (take the step again from the corrected state, with the answer behind it).
"""

import math
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from audiodiff.diffusion.presets import PRESETS, build
from audiodiff.diffusion.schedule import Cosine


class Member(NamedTuple):
    """What a preset is, as published."""

    order: int
    predict: str
    coordinate: str
    corrector: bool = False
    eta: float = 0.0
    pseudo: bool = False


MEMBERS = {
    "ddim": Member(1, "x0", "half_log_snr"),
    "plms": Member(4, "epsilon", "t", pseudo=True),
    "deis_2": Member(2, "epsilon", "t"),
    "deis_3": Member(3, "epsilon", "t"),
    "dpm_2m": Member(2, "epsilon", "half_log_snr"),
    "dpm_3m": Member(3, "epsilon", "half_log_snr"),
    "dpmpp_2m": Member(2, "x0", "half_log_snr"),
    "dpmpp_3m": Member(3, "x0", "half_log_snr"),
    "dpmpp_2m_sde": Member(2, "x0", "half_log_snr", eta=1.0),
    "dpmpp_3m_sde": Member(3, "x0", "half_log_snr", eta=1.0),
    "unipc_2": Member(2, "x0", "half_log_snr", corrector=True),
    "unipc_3": Member(3, "x0", "half_log_snr", corrector=True),
    "v_3m": Member(3, "v", "angle"),
    "v_2m_pc": Member(2, "v", "angle", corrector=True),
    "v_3m_pc": Member(3, "v", "angle", corrector=True),
    "v_4m_pc": Member(4, "v", "angle", corrector=True),
}
CALLS = 6
# A learned variance stands in no table: see test_ancestral.py. The recommended sampler is one of the others.
TABULAR = [name for name in PRESETS if name not in ("ddpm_learned", "recommended")]


def _signal(t):
    return math.sin((1 - t) * math.pi / 2)


def _noise(t):
    return math.sin(t * math.pi / 2)


def _place(coordinate, t):
    if coordinate == "half_log_snr":
        return np.log(np.sin((1 - t) * math.pi / 2) / np.sin(t * math.pi / 2))
    return t * math.pi / 2 if coordinate == "angle" else t


def _kernel(member, phi, s):
    """front dm / dphi at phi for a step that ends at s."""
    if member.predict == "v":
        return np.ones_like(phi)
    if member.predict == "epsilon":
        return _signal(s) / np.cos(phi) ** 2
    # (1 + eta) alpha_s (ratio_s / ratio)^(1 + eta) dlambda, with dlambda = -dphi / (sin cos)
    power = 1 + member.eta
    damped = (math.tan(s * math.pi / 2) / np.tan(phi)) ** power
    return -power * _signal(s) * damped / (np.sin(phi) * np.cos(phi))


def _integral(function, first, last, pieces=16):
    nodes, masses = np.polynomial.legendre.leggauss(24)
    edges = np.linspace(first, last, pieces + 1)
    half = np.diff(edges)[:, None] / 2
    return float((function(edges[:-1, None] + half * (1 + nodes)) * masses * half).sum())


def _lagrange(places, i, c):
    others = [place for j, place in enumerate(places) if j != i]
    return math.prod(((c - place) / (places[i] - place) for place in others), start=np.ones_like(c))


def _weights(member, nodes, t, s):
    """front int L_i dm for the Lagrange polynomials through the nodes (times)."""
    places = [float(_place(member.coordinate, node)) for node in nodes]
    first, last = t * math.pi / 2, s * math.pi / 2
    if member.pseudo:
        mass = _integral(lambda phi: _kernel(member, phi, s), first, last)
        begin, end = (float(_place(member.coordinate, u)) for u in (t, s))
        means = [_integral(lambda c, i=i: _lagrange(places, i, c), begin, end) for i in range(len(nodes))]
        return [mass * mean / (end - begin) for mean in means]

    def weighed(i):
        return lambda phi: _lagrange(places, i, _place(member.coordinate, phi * 2 / math.pi)) * _kernel(member, phi, s)

    return [_integral(weighed(i), first, last) for i in range(len(nodes))]


def _carry(member, t, s):
    if member.predict == "v":
        return 1.0
    if member.predict == "epsilon":
        return _signal(s) / _signal(t)
    return _noise(s) / _noise(t) * (math.tan(s * math.pi / 2) / math.tan(t * math.pi / 2)) ** member.eta


def _finite(member, t, s):
    """Whether the step has an integral: all but those from or to an infinite coordinate or feature."""
    if member.predict == "v":
        return True
    return t < 1 and (s > 0 or (member.predict == "epsilon" and member.coordinate == "t"))


@cache
def _states(name, times):
    """(calls, 1 + calls) every state behind the start as a combination of (x, f_0, f_1, ...)."""
    member, basis = MEMBERS[name], np.eye(len(times))
    state = corrected = basis[0]
    nodes: list[int] = []
    states = []
    for n, (t, s) in enumerate(pairwise(times)):
        nodes = [n, *nodes] if member.predict == "v" or t < 1 else nodes
        if not _finite(member, t, s):  # DDIM, and with the noise of the posterior for an SDE
            carry = 0.0 if member.eta else _noise(s) / _noise(t)
            state = corrected = carry * state + (_signal(s) - carry * _signal(t)) * basis[n + 1]
            states.append(state)
            continue
        used = nodes[: member.order]
        carry = _carry(member, t, s)

        def through(indices, t=t, s=s):
            weights = _weights(member, [times[i] for i in indices], t, s)
            return sum(w * basis[i + 1] for w, i in zip(weights, indices, strict=True))

        state = carry * corrected + through(used)
        again = (member.corrector or len(used) < member.order - 1) and not member.eta and s > 0
        corrected = carry * corrected + through([n + 1, *used]) if again else state
        states.append(state)
    return np.array(states)


def _unrolled(table):
    basis = np.eye(len(table) + 1)
    state, states = basis[0], []
    for n, step in enumerate(table):
        (carry,) = step.carry
        state = carry * state + sum(w * basis[n + 1 - i] for i, w in enumerate(step.weights))
        states.append(state)
    return np.array(states)


def _feature(member, t, s):
    """The feature of the row from t to s as a combination of x_t and x0."""
    if member.predict == "x0" or not _finite(member, t, s):
        return 0.0, 1.0
    if member.predict == "epsilon":
        return 1 / _noise(t), -_signal(t) / _noise(t)
    return _signal(t) / _noise(t), -1 / _noise(t)


def _table(name, calls):
    sampler = build(name, calls)
    times = sampler.default_grid(Cosine(), 1.0)
    return sampler.steps(Cosine(), times), tuple(times.tolist())


@pytest.mark.parametrize("name", [name for name in TABULAR if not name.startswith("ddpm")])
@pytest.mark.parametrize("calls", [CALLS, None], ids=["six", "least"])
def test_the_table_of_a_multistep_preset(name, calls):
    member = MEMBERS[name]
    table, times = _table(name, calls or PRESETS[name].least)
    assert np.allclose(_unrolled(table), _states(name, times), rtol=1e-11, atol=1e-11)
    for step, (t, s) in zip(table, pairwise(times), strict=True):
        assert step.t == t
        assert step.feature == pytest.approx(_feature(member, t, s), rel=1e-13, abs=1e-15)
        drop = 1 - (math.tan(s * math.pi / 2) / math.tan(t * math.pi / 2)) ** 2 if t < 1 else 1.0
        assert step.noise == pytest.approx(_noise(s) * math.sqrt(drop) if member.eta else 0.0, rel=1e-13)


@pytest.mark.parametrize("name", [name for name in TABULAR if name.startswith("ddpm")])
@pytest.mark.parametrize("calls", [CALLS, 1], ids=["six", "least"])
def test_the_table_of_an_ancestral_preset(name, calls):
    """q(x_s | x_t, x0) from the transition q(x_t | x_s) = N(ratio x_s, transition)."""
    table, times = _table(name, calls)
    for step, (t, s) in zip(table, pairwise(times), strict=True):
        ratio = _signal(t) / _signal(s)
        transition = _noise(t) ** 2 - (ratio * _noise(s)) ** 2
        small = transition * (_noise(s) / _noise(t)) ** 2
        noise = math.sqrt(transition if name == "ddpm_large" and s > 0 else small)
        row = (step.t, *step.carry, *step.weights, *step.feature, step.noise)
        posterior = (ratio * (_noise(s) / _noise(t)) ** 2, _signal(s) * transition / _noise(t) ** 2)
        assert row == pytest.approx((t, *posterior, 0.0, 1.0, noise), rel=1e-13, abs=1e-15)
