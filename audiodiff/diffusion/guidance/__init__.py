"""Guidance: denoisers around denoisers that steer towards a condition."""

from audiodiff.diffusion.guidance.composition import Composed, Composition, window_weights
from audiodiff.diffusion.guidance.extrapolation import Autoguidance, ClassifierFree, Guidance
from audiodiff.diffusion.guidance.gradient import ClassifierGuidance, CosineSimilarity, EmbeddingGuidance
from audiodiff.diffusion.guidance.setting import GuidanceSetting

__all__ = [
    "Autoguidance",
    "ClassifierFree",
    "ClassifierGuidance",
    "Composed",
    "Composition",
    "CosineSimilarity",
    "EmbeddingGuidance",
    "Guidance",
    "GuidanceSetting",
    "window_weights",
]
