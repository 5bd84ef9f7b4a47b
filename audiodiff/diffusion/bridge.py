r"""Bridges: from a rough signal to a clean one, instead of from noise.

A Brownian bridge from y at share u = 1 to x0 at u = 0, with noise of standard deviation s, passes

    x_u = a x0 + b y + c noise,   a = 1 - u,  b = u,  c = s sqrt(u (1 - u)),

exactly y and x0 at its ends. It is the Schroedinger bridge between the two. Published ones differ in names: I2SB (Liu
et al., arXiv 2302.05872) has u = sigma^2 / (sigma^2 + sigma_bar^2) and s^2 = sigma^2 + sigma_bar^2, Chen et al. (arXiv
2312.03491) and the vocoders after them u = sigma_t^2 / sigma_1^2 and s = sigma_1. Their noise schedules only say which
u belongs to which time, and a reference process with drift only multiplies the state.

A bridge needs no process of its own. Where y is known, x_u says as much as z = x_u - b y = a x0 + c noise does, and
that is what every process here is: x0 under noise, of

    log_snr = log(a^2 / c^2) = log((1 - u) / (s^2 u)).

So E[x0 | x_u, y] is what a denoiser of z answers that is told y, and every schedule, objective, grid, sampler and
guidance holds as it stands. Ancestral sampling draws from the bridge between x_u and x0, which is the first-order SDE
sampler of Chen et al.; DDIM is their ODE sampler, and the multistep methods are its higher orders. What differs is
what the network is shown: x_u, which begins as y, in the place of z, which begins as noise. `Bridge` makes the one of
the other.

As c = 0 at y, x1 tells in which direction the ODE leaves it. From standard normal x1 it samples every x0 that y may
come from ("booting noise" in Zheng et al., arXiv 2405.15885). From x1 = 0, as Chen et al. have it, it makes one signal
of y; where all is Gaussian that is E[x0 | y], so it is quiet and smooth where y leaves much open. Ancestral sampling
forgets x1 in its first step.

A bridge is for what is to be mended rather than invented: y shares its structure with x0 (a rough spectrum, a coded,
band-limited or reverberant recording), and a network does better by changing it than by beginning from noise. Where y
is x0 up to a small residual, subtract it and let the process run on what is left: the bridge's noise is of x0's size.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class HasSignal(Protocol):
    """A condition that knows the rough signal."""

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
    """A network of a `Denoiser` that shows the network within the state of the bridge.

    The one within sees (a x0 + b y + c noise) / sqrt(a^2 + b^2 + c^2), of unit variance where x0 and y are and do not
    correlate (and less than sqrt(2) times as large if they do), at the process's log_snr, and answers what the
    denoiser's objective asks for about x0. Data prediction, as in the papers, is the objective `X0`.

    Args:
        network: `(x (B, C, T), log_snr (B,), cond) -> like x`, as of a `Denoiser`.
        noise: s > 0, the noise of the bridge in units of x0. The network is shown equal parts of y and of the noisy x0
            at about log_snr = -2 log(s), so s moves the levels at which it sees little else than y.

    Raises:
        ValueError: noise is not a finite number > 0. In a call: cond has no `signal`, or one of another shape than x.
    """

    def __init__(self, network: Callable[[Tensor, Tensor, Any], Tensor], noise: float = 1.0):
        super().__init__()
        if not 0 < noise < math.inf:
            raise ValueError(f"noise must be a finite number > 0, got {noise}")
        self.network = network
        self.noise = noise

    def forward(self, z: Tensor, log_snr: Tensor, cond: HasSignal) -> Tensor:
        """The network's answer.

        Args:
            z: (B, C, T) x0 under noise, of unit variance.
            log_snr: (B,) its levels.
            cond: handed on, so that the network may look at y, too; its `signal` is y.
        """
        y = getattr(cond, "signal", None)
        y = None if y is None else y[:, : z.shape[1]]
        if y is None or y.shape != z.shape:
            given = "none" if y is None else f"one of {tuple(y.shape)}"
            raise ValueError(f"a bridge over {tuple(z.shape)} starts at such a cond.signal, got {given}")
        shape = (-1,) + (1,) * (z.ndim - 1)
        a, b, c = (factor.reshape(shape) for factor in coefficients(log_snr, self.noise))
        # z is alpha x0 + sigma noise with alpha^2 + sigma^2 = 1 and alpha / sigma = a / c.
        gain = torch.hypot(a, c)
        return self.network((b * y.to(z) + gain * z) / torch.hypot(b, gain), log_snr, cond)
