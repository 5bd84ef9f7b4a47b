"""Noise schedules: how much signal and noise there is at time t."""

from audiodiff.diffusion.schedules.adapted import ScaledInput, ShiftedLogSNR
from audiodiff.diffusion.schedules.discrete import (
    DiscreteSchedule,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    zero_terminal_snr,
)
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import (
    Cosine,
    Level,
    LinearBeta,
    NoiseRate,
    OffsetCosine,
    RectifiedFlow,
    Schedule,
    Sigmoid,
    SubVP,
    VarianceExploding,
    VariancePreserving,
)

__all__ = [
    "Cosine",
    "DiscreteSchedule",
    "LearnedSchedule",
    "Level",
    "LinearBeta",
    "NoiseRate",
    "OffsetCosine",
    "RectifiedFlow",
    "ScaledInput",
    "Schedule",
    "ShiftedLogSNR",
    "Sigmoid",
    "SubVP",
    "VarianceExploding",
    "VariancePreserving",
    "cosine_betas",
    "linear_betas",
    "scaled_linear_betas",
    "zero_terminal_snr",
]
