"""Which times a training step sees.

A source of times answers `sample(batch, generator)` with times t in [0, 1] and weights, such that the mean of weight x
loss estimates the mean of the loss over uniform t without bias: it chooses the estimate's variance, not what is
trained. All randomness comes from the generator; what a source learns is in `state_dict`, so that a run can go on.
"""

import math

import torch
from torch import Tensor


class Uniform:
    """Independent uniform times."""

    def sample(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Times in [0, 1] and their weights, (B,) each, in float32 on the CPU."""
        return self._draw(batch, generator).float(), torch.ones(batch)

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Learn from the losses (B,) at the sampled times t (B,); nothing here."""

    def state_dict(self) -> dict[str, Tensor]:
        """What has been learnt."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state_dict`."""

    def _draw(self, batch: int, generator: torch.Generator) -> Tensor:
        return torch.rand(batch, generator=generator)


class LowDiscrepancy(Uniform):
    """Times that are uniform each and cover [0, 1] evenly together: a loss with less variance.

    One uniform draw, shifted by i / B for clip i, in random order (Kingma et al., "Variational Diffusion Models", arXiv
    2107.00630, appendix I.1).
    """

    def _draw(self, batch: int, generator: torch.Generator) -> Tensor:
        start = torch.rand(1, generator=generator)
        return (start + torch.randperm(batch, generator=generator) / batch) % 1.0


class LossSecondMoment(LowDiscrepancy):
    """Times drawn the more often, the larger the losses there: density proportional to sqrt(E[loss^2]).

    Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (arXiv 2102.09672), section 3.3. The losses
    of the last draws in each of equal bins of [0, 1] are remembered; times are uniform until every bin's memory is
    full. Weights are 1 / density. Even draws go through the inverse of the distribution function, so that these times
    cover the density evenly as well.

    Args:
        bins: of the density, each constant inside.
        history: losses remembered a bin.
        uniform: share of the density that stays uniform, > 0, so that no weight exceeds 1 / uniform.

    Raises:
        ValueError: bins or history below 1, or a share outside (0, 1].
    """

    def __init__(self, bins: int = 100, history: int = 10, uniform: float = 0.001):
        if bins < 1 or history < 1 or not 0 < uniform <= 1:
            raise ValueError(
                f"bins and history must be at least 1 and uniform in (0, 1], got {bins}, {history} and {uniform}"
            )
        self.bins = bins
        self.history = history
        self.uniform = uniform
        self.losses = torch.zeros(bins, history, dtype=torch.float64)
        self.counts = torch.zeros(bins, dtype=torch.int64)

    def density(self) -> Tensor:
        """(bins,) the density in each bin, of mean 1; float64."""
        moments = self.losses.square().mean(1).sqrt()
        if bool((self.counts < self.history).any()) or float(moments.sum()) == 0:
            return torch.ones_like(moments)
        return (1 - self.uniform) * moments / moments.mean() + self.uniform

    def sample(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Times in [0, 1] and their weights 1 / density, (B,) each, in float32 on the CPU."""
        density = self.density()
        ends = (density / self.bins).cumsum(0)
        share = self._draw(batch, generator).double()
        # A share, drawn in float32, stays further below 1 than the last end does by rounding.
        index = torch.searchsorted(ends, share, right=True)
        # The distribution function rises by density x width inside a bin.
        inside = (share - ends[index]) * self.bins / density[index]
        return ((index + 1 + inside) / self.bins).clamp(min=0).float(), (1 / density[index]).float()

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Remember the losses (B,), not weighted, at the sampled times t (B,), but for those that are not finite."""
        index = (t.detach().cpu().double() * self.bins).long().clamp(0, self.bins - 1)
        for bin, value in zip(index.tolist(), loss.detach().cpu().double().tolist(), strict=True):
            if math.isfinite(value):
                self.losses[bin, self.counts[bin] % self.history] = value
                self.counts[bin] += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The remembered losses and how many each bin has seen."""
        return {"losses": self.losses.clone(), "counts": self.counts.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: it is of other bins or another history.
        """
        if state["losses"].shape != self.losses.shape:
            raise ValueError(
                f"the remembered losses are of (bins, history) = {tuple(state['losses'].shape)}, "
                f"not {tuple(self.losses.shape)}: keep both when resuming"
            )
        self.losses, self.counts = state["losses"].clone(), state["counts"].clone()
