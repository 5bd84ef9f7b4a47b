r"""Bridges: from a degraded signal to a clean one, instead of from noise.

A Brownian bridge from y at share u = 1 to x0 at u = 0, with noise of standard deviation s, passes

    x_u = a x0 + b y + c noise,   a = 1 - u,  b = u,  c = s sqrt(u (1 - u)),

exactly y and x0 at its ends. It is the Schroedinger bridge between the two. Published ones differ in names: I2SB (Liu
et al., arXiv 2302.05872) has u = sigma^2 / (sigma^2 + sigma_bar^2) and s^2 = sigma^2 + sigma_bar^2, Chen et al. (arXiv
2312.03491) and the vocoders after them u = sigma_t^2 / sigma_1^2 and s = sigma_1. Their noise schedules only say which
u belongs to which time, and a reference process with drift only multiplies the state.

A bridge needs no process of its own. Where y is known, x_u says as much as z = x_u - b y = a x0 + c noise does, and
that is what every process here is: x0 under noise, of

    log_snr = log(a^2 / c^2) = log((1 - u) / (s^2 u)).

So E[x0 | x_u, y] is the estimate of a denoiser of z that is conditioned on y, and every schedule, objective, grid,
sampler and guidance applies unchanged. Ancestral sampling draws from the bridge between x_u and x0, which is the
first-order SDE sampler of Chen et al.; DDIM is their ODE sampler, and the multistep methods are its higher orders. What
differs is the network's input: x_u, which starts as y, instead of z, which starts as noise. `Bridge` converts z to x_u.

As c = 0 at y, x1 determines the direction in which the ODE leaves it. From standard normal x1 it samples every x0 that
y may come from ("booting noise" in Zheng et al., arXiv 2405.15885). From x1 = 0, as in Chen et al., the result is a
function of y; for Gaussian data it is E[x0 | y], so it is quiet and smooth where y does not determine x0. Ancestral
sampling does not depend on x1.

A bridge suits restoration, where y shares its structure with x0 (a coarse spectrum, a coded, band-limited or
reverberant recording) and a network does better by changing it than by starting from noise. Where y is x0 up to a small
residual, diffuse the residual instead: the bridge's noise is of the size of x0.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class HasSignal(Protocol):
    """A condition with the degraded signal."""

    signal: Tensor
    """(B, S, T): y, of about unit variance as x0 is, is the first C of its channels."""


def coefficients(log_snr: Tensor, noise: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """(a, b, c) of x = a x0 + b y + c noise at a level, shaped like log_snr; exact at both infinities.

    Args:
        log_snr: of the process without y, log(a^2 / c^2), any shape.
        noise: s; c is at most s / 2.
    """
    odds = log_snr + 2 * math.log(noise)  # log((1 - u) / u)
    a, b = torch.sigmoid(odds), torch.sigmoid(-odds)
    return a, b, noise * (a * b).sqrt()


class Bridge(nn.Module):
    """A network of a `Denoiser` that evaluates another one on the state of the bridge.

    The inner network sees (a x0 + b y + c noise) / sqrt(a^2 + b^2 + c^2), of unit variance where x0 and y are and do
    not correlate (and less than sqrt(2) times as large if they do), at the process's log_snr, and predicts the target
    of the denoiser's objective for x0. Data prediction, as in the papers, is the objective `X0`.

    Args:
        network: `(x (B, C, T), log_snr (B,), cond) -> like x`, as of a `Denoiser`.
        noise: s > 0, the noise of the bridge in units of x0. The network sees equal parts of y and of the noisy x0 at
            about log_snr = -2 log(s), so s moves the levels at which it sees little but y.

    Raises:
        ValueError: noise is not a finite number > 0. In a call: cond has no `signal`, or one of another shape than x.
    """

    def __init__(self, network: Callable[[Tensor, Tensor, Any], Tensor], noise: float = 1.0):
        super().__init__()
        if not 0 < noise < math.inf:
            raise ValueError(f"noise must be a finite number > 0, got {noise}")
        self.network = network
        self.noise = noise

    def prepare(self, cond: HasSignal, z: Tensor) -> HasSignal:
        """What the inner network derives from a condition alone; see `Denoiser.prepare`."""
        prepare = getattr(self.network, "prepare", None)
        return cond if prepare is None else prepare(cond, z)

    def forward(self, z: Tensor, log_snr: Tensor, cond: HasSignal) -> Tensor:
        """The network's prediction.

        Args:
            z: (B, C, T) x0 under noise, of unit variance.
            log_snr: (B,) its levels.
            cond: passed on to the network; its `signal` is y.
        """
        y = getattr(cond, "signal", None)
        y = None if y is None else y[:, : z.shape[1]]
        if y is None or y.shape != z.shape:
            shape = "none" if y is None else f"one of shape {tuple(y.shape)}"
            raise ValueError(f"a bridge over {tuple(z.shape)} needs a cond.signal of this shape, got {shape}")
        a, b, c = (factor.reshape(-1, *(1,) * (z.ndim - 1)) for factor in coefficients(log_snr, self.noise))
        # z is alpha x0 + sigma noise with alpha^2 + sigma^2 = 1 and alpha / sigma = a / c.
        gain = torch.hypot(a, c)
        return self.network((b * y.to(z) + gain * z) / torch.hypot(b, gain), log_snr, cond)
