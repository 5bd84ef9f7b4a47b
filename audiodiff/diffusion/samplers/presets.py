"""Samplers by their published names.

Most are one class with three options: the prediction that is interpolated (x0: `dpmpp`, `unipc`; epsilon: `dpm`,
`deis`, `plms`; v: `v`), the order, and whether the next evaluation corrects a step (`unipc`, `v_.._pc`). `2s` and `3s`
are single-step methods with several evaluations a step, `2m` and `3m` multistep methods. `consistency` is for distilled
models alone. All end at t = 0, on clean data.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from audiodiff.diffusion.samplers.ancestral import Ancestral
from audiodiff.diffusion.samplers.consistency import Consistency
from audiodiff.diffusion.samplers.heun import Heun
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.diffusion.samplers.sampler import Sampler
from audiodiff.diffusion.samplers.singlestep import Singlestep
from audiodiff.errors import UserError


class Preset(NamedTuple):
    """A sampler under its published name.

    Args:
        build: number of network evaluations -> sampler.
        min_nfe: fewest network evaluations.
    """

    build: Callable[[int], Sampler]
    min_nfe: int = 1


def _multistep(order: int, predict: str, **options) -> Preset:
    return Preset(lambda nfe: Multistep(nfe, order, predict, **options), order)


def _singlestep(order: int, predict: str) -> Preset:
    return Preset(lambda nfe: Singlestep(nfe, order, predict), order)


PRESETS: dict[str, Preset] = {
    "ddpm": Preset(Ancestral),
    "ddpm_large": Preset(lambda nfe: Ancestral(nfe, "large")),
    "ddpm_learned": Preset(lambda nfe: Ancestral(nfe, "learned")),
    "ddim": _multistep(1, "x0"),
    "consistency": Preset(Consistency),
    "plms": _multistep(4, "epsilon", coordinate="t", pseudo=True),
    "deis_2": _multistep(2, "epsilon", coordinate="t"),
    "deis_3": _multistep(3, "epsilon", coordinate="t"),
    "dpm_2s": _singlestep(2, "epsilon"),
    "dpm_3s": _singlestep(3, "epsilon"),
    "dpm_2m": _multistep(2, "epsilon"),
    "dpm_3m": _multistep(3, "epsilon"),
    "dpmpp_2s": _singlestep(2, "x0"),
    "dpmpp_3s": _singlestep(3, "x0"),
    "dpmpp_2m": _multistep(2, "x0"),
    "dpmpp_3m": _multistep(3, "x0"),
    "dpmpp_2m_sde": _multistep(2, "x0", eta=1.0),
    "dpmpp_3m_sde": _multistep(3, "x0", eta=1.0),
    "unipc_2": _multistep(2, "x0", corrector=True),
    "unipc_3": _multistep(3, "x0", corrector=True),
    "heun": Preset(Heun, 2),
    "v_3m": _multistep(3, "v"),
    # With two steps only the first is corrected, in the last one: that would change the sign of faint data.
    "v_2m_pc": Preset(lambda nfe: Multistep(nfe, 2, "v", corrector=nfe > 2), 2),
    "v_3m_pc": _multistep(3, "v", corrector=True),
    "v_4m_pc": _multistep(4, "v", corrector=True),
}

# (largest number of network evaluations, sampler).
RECOMMENDED = ((2, "ddim"), (5, "v_3m"), (10, "v_2m_pc"), (29, "v_3m_pc"), (math.inf, "v_4m_pc"))


def build(name: str, nfe: int) -> Sampler:
    """A sampler by its published name, with `nfe` network evaluations, on its default grid.

    Raises:
        UserError: an unknown name, or fewer evaluations than the method needs.
    """
    if name not in PRESETS:
        raise UserError(f"sampler {name!r}", "is unknown", f"choose one of {', '.join(NAMES)}")
    preset = PRESETS[name]
    if nfe < 1:
        raise UserError(f"steps {nfe}", "is below 1", "give a whole number, such as 4")
    if nfe < preset.min_nfe:
        raise UserError(f"steps {nfe}", f"{name} needs at least {preset.min_nfe}", "use more steps, or ddim")
    return preset.build(nfe)


def recommended(nfe: int) -> Sampler:
    """The most accurate sampler for a budget of network evaluations, as measured by `bench/solvers.py` on exact
    denoisers.

    ddim up to 2 evaluations, v_3m up to 5, v_2m_pc up to 10, v_3m_pc up to 29, then v_4m_pc: higher orders pay off
    with smaller steps, a corrector with more steps. For trained networks see docs/solvers.md.

    Raises:
        UserError: nfe < 1.
    """
    return build(chosen("recommended", nfe), nfe)


def chosen(name: str, nfe: int) -> str:
    """The sampler that "recommended" stands for at this number of evaluations; any other name unchanged."""
    return next(best for most, best in RECOMMENDED if nfe <= most) if name == "recommended" else name


PRESETS["recommended"] = Preset(recommended)
NAMES = tuple(PRESETS)
