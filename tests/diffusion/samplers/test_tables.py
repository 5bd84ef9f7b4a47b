"""Every entry of every preset's table against a second computation of it, which shares no formula with the first.

On the cosine schedule the angle atan(sigma / alpha) is pi t / 2 and every integral of a step is one over the angle phi,

    x0:       sigma_s int f d(cot phi)      epsilon:  alpha_s int f d(tan phi)      v:  int f d(phi),

here done by composite Gauss-Legendre sums over Lagrange polynomials. Rows are not compared one by one: both tables are
unrolled, so that each state is a combination of the start x and of the features f_0, f_1, ..., with the corrector as it
is defined (take the step again from the corrected state, with the output behind it).
"""

import math
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from audiodiff.diffusion.samplers.presets import PRESETS, build
from audiodiff.diffusion.schedules.schedule import Cosine


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


class Stages(NamedTuple):
    """What a preset of several calls a step is, as published."""

    predict: str
    coordinate: str
    fractions: tuple[float, ...]
    nodes: tuple[tuple[int, ...], ...]
    six: tuple[int, ...]
    """The calls in each interval, of six calls in all; of the fewest, each interval has one."""
    eta: float = 0.0
    pseudo: bool = False


MIDPOINT = ((0.0, 1 / 2), ((0,), (1,)), (1, 2, 2, 1))
THIRD = ((0.0, 1 / 3, 2 / 3), ((0,), (0, 1), (0, 2)), (1, 1, 3, 1))
SINGLESTEP = {
    "dpm_2s": Stages("epsilon", "half_log_snr", *MIDPOINT),
    "dpm_3s": Stages("epsilon", "half_log_snr", *THIRD),
    "dpmpp_2s": Stages("x0", "half_log_snr", *MIDPOINT),
    "dpmpp_3s": Stages("x0", "half_log_snr", *THIRD),
    "heun": Stages("epsilon", "ratio", (0.0, 1.0), ((0,), (0, 1)), (1, 2, 2, 1)),
}
CALLS = 6
# A learned variance stands in no table: see test_ancestral.py. The recommended sampler is one of the others;
# consistency sampling has test_consistency.py.
TABULAR = [name for name in PRESETS if name not in ("ddpm_learned", "recommended", "consistency")]


def _signal(t):
    return math.sin((1 - t) * math.pi / 2)


def _noise(t):
    return math.sin(t * math.pi / 2)


def _place(coordinate, t):
    if coordinate == "half_log_snr":
        return np.log(np.sin((1 - t) * math.pi / 2) / np.sin(t * math.pi / 2))
    return {"angle": t * math.pi / 2, "ratio": np.tan(t * math.pi / 2), "t": t}[coordinate]


def _between(coordinate, t, s, fraction):
    """The time at a fraction of the way from t to s in the coordinate."""
    first, last = (_place(coordinate, u) for u in (t, s))
    place = first + fraction * (last - first)
    return float(np.arctan(np.exp(-place) if coordinate == "half_log_snr" else place) * 2 / math.pi)


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


def _integral(function, first, last, pieces=64):
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
    return t < 1 and (s > 0 or (member.predict == "epsilon" and member.coordinate in ("t", "ratio")))


def _ddim(carry, state, feature, t, s):
    return carry * state + (_signal(s) - carry * _signal(t)) * feature


def _through(member, nodes, features, t, s):
    weights = _weights(member, nodes, t, s)
    return sum(w * feature for w, feature in zip(weights, features, strict=True))


@cache
def _multistep_states(name, times):
    """(calls, 1 + calls) every state behind the start as a combination of (x, f_0, f_1, ...)."""
    member = MEMBERS[name]
    x, *features = np.eye(len(times))
    state = corrected = x
    nodes: list[int] = []
    states = []
    for n, (t, s) in enumerate(pairwise(times)):
        nodes = [n, *nodes] if member.predict == "v" or t < 1 else nodes
        if not _finite(member, t, s):  # DDIM, and with the noise of the posterior for an SDE
            carry = 0.0 if member.eta else _noise(s) / _noise(t)
            state = corrected = _ddim(carry, state, features[n], t, s)
            states.append(state)
            continue
        used = nodes[: member.order]
        carry = _carry(member, t, s)
        state = carry * corrected + _through(member, [times[i] for i in used], [features[i] for i in used], t, s)
        if s > 0 and not member.eta and (member.corrector or len(used) < member.order - 1):
            used = [n + 1, *used]
            again = _through(member, [times[i] for i in used], [features[i] for i in used], t, s)
            corrected = carry * corrected + again
        else:
            corrected = state
        states.append(state)
    return np.array(states)


@cache
def _singlestep_states(name, calls, times):
    """The states as for multistep methods, and for each call its time and whether its step has an integral."""
    member = SINGLESTEP[name]
    state, *features = np.eye(1 + sum(calls))
    states, evaluated = [], []
    for count, t, s in zip(calls, times, times[1:], strict=False):
        if not _finite(member, t, s):
            assert count == 1
            state = _ddim(_noise(s) / _noise(t), state, features[len(evaluated)], t, s)
            states.append(state)
            evaluated.append((t, False))
            continue
        start, first = state, len(evaluated)
        stages = [t, *(_between(member.coordinate, t, s, fraction) for fraction in member.fractions[1:count])]
        for stage, nodes, end in zip(stages, member.nodes if count > 1 else ((0,),), [*stages[1:], s], strict=True):
            used = [stages[i] for i in nodes], [features[first + i] for i in nodes]
            state = _carry(member, t, end) * start + _through(member, *used, t, end)
            states.append(state)
            evaluated.append((stage, True))
    return np.array(states), evaluated


def _unrolled(table):
    x, *features = np.eye(len(table) + 1)
    states = [x]
    for n, step in enumerate(table):
        terms = [carry * states[n - j] for j, carry in enumerate(step.carry)]
        states.append(sum([*terms, *(w * features[n - j] for j, w in enumerate(step.weights))]))
    return np.array(states[1:])


def _feature(member, t, finite):
    """The feature of a row as a combination of x_t and x0."""
    if member.predict == "x0" or not finite:
        return 0.0, 1.0
    if member.predict == "epsilon":
        return 1 / _noise(t), -_signal(t) / _noise(t)
    return _signal(t) / _noise(t), -1 / _noise(t)


def _table(name, calls):
    sampler = build(name, calls)
    times = sampler.default_grid(Cosine(), 1.0)
    return sampler.steps(Cosine(), times), tuple(times.tolist())


def test_every_preset_is_computed_again():
    ancestral = {"ddpm", "ddpm_large"}
    assert set(TABULAR) == ancestral | set(MEMBERS) | set(SINGLESTEP)


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("calls", [CALLS, None], ids=["six", "least"])
def test_the_table_of_a_multistep_preset(name, calls):
    member = MEMBERS[name]
    # v_2m_pc corrects from three steps on.
    table, times = _table(name, calls or PRESETS[name].min_nfe + (name == "v_2m_pc"))
    assert np.allclose(_unrolled(table), _multistep_states(name, times), rtol=1e-11, atol=1e-11)
    for step, (t, s) in zip(table, pairwise(times), strict=True):
        assert step.t == t
        assert step.feature == pytest.approx(_feature(member, t, _finite(member, t, s)), rel=1e-13, abs=1e-15)
        drop = 1 - (math.tan(s * math.pi / 2) / math.tan(t * math.pi / 2)) ** 2 if t < 1 else 1.0
        assert step.noise == pytest.approx(_noise(s) * math.sqrt(drop) if member.eta else 0.0, rel=1e-13)


@pytest.mark.parametrize("name", SINGLESTEP)
@pytest.mark.parametrize("calls", [CALLS, None], ids=["six", "least"])
def test_the_table_of_a_singlestep_preset(name, calls):
    member = SINGLESTEP[name]
    table, times = _table(name, calls or PRESETS[name].min_nfe)
    states, evaluated = _singlestep_states(name, member.six if calls else (1,) * PRESETS[name].min_nfe, times)
    assert np.allclose(_unrolled(table), states, rtol=1e-11, atol=1e-11)
    for step, (t, finite) in zip(table, evaluated, strict=True):
        assert step.t == pytest.approx(t, rel=1e-13)
        assert step.feature == pytest.approx(_feature(member, t, finite), rel=1e-12, abs=1e-15)
        assert step.noise == 0


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
