"""Samplers: tables of steps, the loop that integrates them, and presets by published name."""

from audiodiff.diffusion.samplers.adaptive import Adaptive
from audiodiff.diffusion.samplers.ancestral import DDIM, Ancestral
from audiodiff.diffusion.samplers.brownian import brownian_noise, martingale_clock
from audiodiff.diffusion.samplers.consistency import Consistency
from audiodiff.diffusion.samplers.heun import Heun
from audiodiff.diffusion.samplers.langevin import AnnealedLangevin, PredictorCorrector
from audiodiff.diffusion.samplers.multistep import Multistep, invert
from audiodiff.diffusion.samplers.presets import NAMES, PRESETS, recommended
from audiodiff.diffusion.samplers.sampler import DenoiserLike, NotFinite, Sampler, integrate
from audiodiff.diffusion.samplers.singlestep import Singlestep
from audiodiff.diffusion.samplers.table import Step, Table

__all__ = [
    "DDIM",
    "NAMES",
    "PRESETS",
    "Adaptive",
    "Ancestral",
    "AnnealedLangevin",
    "Consistency",
    "DenoiserLike",
    "Heun",
    "Multistep",
    "NotFinite",
    "PredictorCorrector",
    "Sampler",
    "Singlestep",
    "Step",
    "Table",
    "brownian_noise",
    "integrate",
    "invert",
    "martingale_clock",
    "recommended",
]
