"""Guidance: denoisers around denoisers that steer towards a condition."""

from audiodiff.diffusion.guidance.extrapolation import Autoguidance, ClassifierFree, Guidance
from audiodiff.diffusion.guidance.gradient import ClassifierGuidance, CosineSimilarity, EmbeddingGuidance

__all__ = [
    "Autoguidance",
    "ClassifierFree",
    "ClassifierGuidance",
    "CosineSimilarity",
    "EmbeddingGuidance",
    "Guidance",
]
