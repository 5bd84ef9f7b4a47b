"""Timestep sampling: the distribution of times in training.

`sample(batch, generator)` returns times t in [0, 1] and weights, such that the mean of weight x loss is an unbiased
estimate of the mean loss over uniform t: the choice changes the variance of the estimate, not the objective. All
randomness comes from the generator; `state_dict` holds what was learned from the losses, for resuming.
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
        """Adapt to the losses (B,) at the sampled times t (B,); does nothing here."""

    def state_dict(self) -> dict[str, Tensor]:
        """The learned state; empty here."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a `state_dict`."""

    def _draw(self, batch: int, generator: torch.Generator) -> Tensor:
        return torch.rand(batch, generator=generator)


class LowDiscrepancy(Uniform):
    """Low-discrepancy times: each uniform, together evenly spread over [0, 1], for a loss of less variance.

    One uniform draw, shifted by i / B for clip i, in random order (Kingma et al., "Variational Diffusion Models", arXiv
    2107.00630, appendix I.1).
    """

    def _draw(self, batch: int, generator: torch.Generator) -> Tensor:
        start = torch.rand(1, generator=generator)
        return (start + torch.randperm(batch, generator=generator) / batch) % 1.0


class LossSecondMoment(LowDiscrepancy):
    """Loss-second-moment resampling: density proportional to sqrt(E[loss^2]).

    Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (arXiv 2102.09672), section 3.3. Each of
    equal bins of [0, 1] keeps its last losses; times are uniform until every history is full. Weights are 1 / density.
    Low-discrepancy draws go through the inverse of the distribution function.

    Args:
        bins: number of bins of equal density.
        history: number of losses kept for each bin.
        uniform: fraction of the density that stays uniform, > 0; no weight exceeds 1 / uniform.

    Raises:
        ValueError: bins or history below 1, or uniform outside (0, 1].
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
        """Record the unweighted losses (B,) at the sampled times t (B,); those that are not finite are skipped."""
        index = (t.detach().cpu().double() * self.bins).long().clamp(0, self.bins - 1)
        for bin, value in zip(index.tolist(), loss.detach().cpu().double().tolist(), strict=True):
            if math.isfinite(value):
                self.losses[bin, self.counts[bin] % self.history] = value
                self.counts[bin] += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The losses of each bin, and how many it has seen."""
        return {"losses": self.losses.clone(), "counts": self.counts.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a `state_dict`.

        Raises:
            ValueError: the state has other bins or another history.
        """
        if state["losses"].shape != self.losses.shape:
            raise ValueError(
                f"the saved losses have (bins, history) = {tuple(state['losses'].shape)}, "
                f"not {tuple(self.losses.shape)}: keep both when resuming"
            )
        self.losses, self.counts = state["losses"].clone(), state["counts"].clone()
