"""The diffusion process: from noise to data in few evaluations of a network.

A diffusion model is the composition of a **schedule** (signal and noise at time t), a **denoiser** (a network wrapped
so that it estimates E[x0 | x_t]) and a **sampler** (the integration from noise to data). With t in [0, 1], t = 0 being
data,

    x_t = alpha(t) x0 + sigma(t) noise,   log_snr = log(alpha^2 / sigma^2),   half_log_snr = log(alpha / sigma).

Signals are tensors (B, C, T). A denoiser is anything with a `schedule` that is called as `denoiser(x_t, t, cond)`. All
public names can be imported from here:

- `schedules`: noise schedules, also shifted, discrete and learned ones;
- `objective`, `weighting`, `variance`, `timestep_sampling`: what a network learns, and `denoiser`, which uses it;
- `samplers`: tables of steps and the loop over them, presets by published name, adaptive steps, Langevin dynamics;
- `grids`: the times of the steps, also fitted to a spectrum and stored with a model;
- `guidance`, `windowed`, `editing`: denoisers around denoisers (`wrapper`); `interpolation` between noises;
- `distillation`: what students of few steps learn;
- `bridge`: from a degraded signal instead of noise;
- `likelihood`: by the probability-flow ODE and the variational bound;
- `noise`: a pure function of seed, channel and position;
- `oracle`: denoisers in closed form.
"""

from audiodiff.diffusion.bridge import Bridge
from audiodiff.diffusion.denoiser import Denoiser, Losses
from audiodiff.diffusion.editing import Inpainting, Projection, SDEdit
from audiodiff.diffusion.grids import balanced, karras, uniform_log_snr, uniform_t, warped_angle
from audiodiff.diffusion.grids.fitted import Spectrum, fit_grid
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.guidance import (
    Autoguidance,
    ClassifierFree,
    ClassifierGuidance,
    Composed,
    Composition,
    CosineSimilarity,
    EmbeddingGuidance,
    Guidance,
    GuidanceSetting,
    window_weights,
)
from audiodiff.diffusion.interpolation import slerp
from audiodiff.diffusion.likelihood import bits_per_dimension, dequantize, log_likelihood, variational_bound
from audiodiff.diffusion.noise import batch_noise, clip_seed, position_noise, step_noise
from audiodiff.diffusion.objective import X0, Epsilon, Flow, Objective, Score, V
from audiodiff.diffusion.oracle import GaussianOracle, MixtureOracle, Oracle
from audiodiff.diffusion.samplers import (
    DDIM,
    PRESETS,
    Adaptive,
    Ancestral,
    AnnealedLangevin,
    Consistency,
    DenoiserLike,
    Heun,
    Multistep,
    NotFinite,
    PredictorCorrector,
    Sampler,
    Singlestep,
    Step,
    Table,
    brownian_noise,
    integrate,
    invert,
    martingale_clock,
    recommended,
)
from audiodiff.diffusion.schedules import (
    Cosine,
    DiscreteSchedule,
    LearnedSchedule,
    Level,
    LinearBeta,
    NoiseRate,
    OffsetCosine,
    RectifiedFlow,
    ScaledInput,
    Schedule,
    ShiftedLogSNR,
    Sigmoid,
    SubVP,
    VarianceExploding,
    VariancePreserving,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    zero_terminal_snr,
)
from audiodiff.diffusion.timestep_sampling import LossSecondMoment, LowDiscrepancy, Uniform
from audiodiff.diffusion.variance import LearnedVariance, Posterior
from audiodiff.diffusion.weighting import P2, SNR, MinSNR, SigmoidWeighting, VariationalBound, Weighting
from audiodiff.diffusion.windowed import Windowed
from audiodiff.diffusion.wrapper import Wrapper

__all__ = [
    "DDIM",
    "P2",
    "PRESETS",
    "SNR",
    "X0",
    "Adaptive",
    "Ancestral",
    "AnnealedLangevin",
    "Autoguidance",
    "Bridge",
    "ClassifierFree",
    "ClassifierGuidance",
    "Composed",
    "Composition",
    "Consistency",
    "Cosine",
    "CosineSimilarity",
    "Denoiser",
    "DenoiserLike",
    "DiscreteSchedule",
    "EmbeddingGuidance",
    "Epsilon",
    "Flow",
    "GaussianOracle",
    "Guidance",
    "GuidanceSetting",
    "Heun",
    "Inpainting",
    "LearnedSchedule",
    "LearnedVariance",
    "Level",
    "LinearBeta",
    "LossSecondMoment",
    "Losses",
    "LowDiscrepancy",
    "MinSNR",
    "MixtureOracle",
    "Multistep",
    "NoiseRate",
    "NotFinite",
    "Objective",
    "OffsetCosine",
    "Oracle",
    "Posterior",
    "PredictorCorrector",
    "Projection",
    "RectifiedFlow",
    "SDEdit",
    "Sampler",
    "ScaledInput",
    "Schedule",
    "Score",
    "ShiftedLogSNR",
    "Sigmoid",
    "SigmoidWeighting",
    "Singlestep",
    "Spectrum",
    "Step",
    "StoredGrid",
    "SubVP",
    "Table",
    "Uniform",
    "V",
    "VarianceExploding",
    "VariancePreserving",
    "VariationalBound",
    "Weighting",
    "Windowed",
    "Wrapper",
    "balanced",
    "batch_noise",
    "bits_per_dimension",
    "brownian_noise",
    "clip_seed",
    "cosine_betas",
    "dequantize",
    "fit_grid",
    "integrate",
    "invert",
    "karras",
    "linear_betas",
    "log_likelihood",
    "martingale_clock",
    "position_noise",
    "recommended",
    "scaled_linear_betas",
    "slerp",
    "step_noise",
    "uniform_log_snr",
    "uniform_t",
    "variational_bound",
    "warped_angle",
    "window_weights",
    "zero_terminal_snr",
]
