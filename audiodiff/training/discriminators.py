"""Discriminators of adversarial tasks: of a signal of the process and its condition, one score a clip.

Both see a signal with noise of a random level: real and generated signals then overlap, so that gradients do not vanish
where a discriminator could tell them apart at once (Sauer et al., "Fast High-Resolution Image Synthesis with Latent
Adversarial Diffusion Distillation", arXiv 2403.12015, section 3).
"""

import functools
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.diffusion.distillation import add_noise
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.nn.discriminators import FeatureHeads, StftDiscriminator
from audiodiff.training.batch_random import BatchRandom


class Discriminator(ABC):
    """A score of noisy signals.

    Args:
        teacher: the frozen model of the process.

    Attributes:
        trained: what its optimizer changes.
    """

    trained: nn.Module

    def __init__(self, teacher: DiffusionModel):
        self.teacher = teacher

    def views(self, signals: list[Tensor], condition: Any, random: BatchRandom) -> list[Tensor]:
        """(B,) scores of several signals (B, C, T), with the same noise and condition."""
        like = signals[0]
        t = (random.uniform(len(like)).double() * self.teacher.denoiser.t_max).to(like.device)
        noise = random.normal(*like.shape).to(like)
        return [self.score(add_noise(self.teacher.schedule, x0, noise, t), t, condition) for x0 in signals]

    @abstractmethod
    def score(self, x_t: Tensor, t: Tensor, condition: Any) -> Tensor:
        """(B,) scores of signals x_t (B, C, T) with the noise of times t (B,)."""


class DenoiserFeatures(Discriminator):
    """Heads on what the frozen denoiser itself computes: the last block of every level on the way down, and the bottom.

    The denoiser knows the condition and the noise level, so the scores depend on both.
    """

    def __init__(self, teacher: DiffusionModel):
        super().__init__(teacher)
        unet = teacher.network.unet
        self._places = [level[-1] for level in (*unet.down, unet.bottom) if len(level)]
        widths = [width for width, level in zip(unet.channels, (*unet.down, unet.bottom), strict=True) if len(level)]
        self.trained = FeatureHeads(widths)

    def score(self, x_t: Tensor, t: Tensor, condition: Any) -> Tensor:
        """(B,) scores."""
        features: list[Tensor] = []
        hooks = [place.register_forward_hook(functools.partial(_collect, features)) for place in self._places]
        try:
            self.teacher.denoiser(x_t, t, condition)
        finally:
            for hook in hooks:
                hook.remove()
        return self.trained(features)


class Spectra(Discriminator):
    """Multi-resolution spectra of the noisy signal; independent of the condition."""

    def __init__(self, teacher: DiffusionModel):
        super().__init__(teacher)
        self.trained = StftDiscriminator(teacher.network.frontend.channels)

    def score(self, x_t: Tensor, t: Tensor, condition: Any) -> Tensor:
        """(B,) scores."""
        return self.trained(x_t)


def _collect(features: list[Tensor], module: nn.Module, inputs: Any, output: Tensor) -> None:
    features.append(output.float())


DISCRIMINATORS: dict[str, type[Discriminator]] = {"features": DenoiserFeatures, "stft": Spectra}


def build(name: str, teacher: DiffusionModel) -> Discriminator:
    """A discriminator by its name, with the same initial weights on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DISCRIMINATORS[name](teacher)
