"""Guidance by extrapolation between two estimates: classifier-free guidance and autoguidance.

A sampler follows the score of p(x_t). With Tweedie's formula,

    E[x0 | x_t] = (x_t + sigma^2 score) / alpha,

any change of the score is a change of the estimate, so each kind of guidance is itself a denoiser: a pure function of
x_t, t and cond that any sampler takes and that can be wrapped again.

Extrapolation between two denoisers, c (better) and u (worse), is linear in the weight w:

    x0 = u + w (c - u),   score of p_u(x_t) (p_c(x_t) / p_u(x_t))^w.

`ClassifierFree`: u is the same network with the null condition, or with a negative condition. Ho and Salimans (arXiv
2207.12598) write eps = (1 + w') eps_c - w' eps_u; hence weight = 1 + w': 1 is the conditional model itself, 0 the
unconditional one. `Autoguidance`: u is a smaller or less trained network with the same condition (Karras et al., arXiv
2406.02507). At a given x_t, noise, v, score and flow are linear in x0, so extrapolating one extrapolates all.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.clips import check_clips, clip_mean, column, join_clips
from audiodiff.diffusion.samplers.sampler import DenoiserLike, estimate, prepared_condition, start_time
from audiodiff.diffusion.wrapper import Time, Wrapper

# Maximum number of clips in one evaluation of both conditions. Processor seconds of guided drums in four steps, one
# thread, median of 5, evaluated twice -> joined, for 1, 2, 4, 8 and 16 clips: 0.088 -> 0.068, 0.138 -> 0.110, 0.214 ->
# 0.216, 0.376 -> 0.377, 0.706 -> 0.798. So joining helps up to two clips; with more it only costs memory.
MAX_JOINED = 4


class Guidance(Wrapper):
    """A denoiser that steers another one by a weight.

    Args:
        denoiser: the denoiser to guide; may itself be guided.
        weight: guidance weight.
        interval: (lowest, highest) log_snr between which guidance is applied; None: everywhere.

    Raises:
        ValueError: an interval in the wrong order.
    """

    unguided = 0.0  # the weight without an effect, which counts outside of the interval

    def __init__(self, denoiser: DenoiserLike, weight: float, interval: tuple[float, float] | None = None):
        super().__init__(denoiser)
        if interval is not None and not interval[0] <= interval[1]:
            raise ValueError(f"interval must be (lowest, highest) log_snr, got {tuple(interval)}")
        self.weight, self.interval = weight, interval

    def _weight_at(self, t: Time, like: Tensor) -> Tensor | float:
        """The weight at a time: a number, or one for each clip that broadcasts against `like`."""
        if self.interval is None:
            return self.weight
        lowest, highest = self.interval
        if not isinstance(t, Tensor):
            return self.weight if lowest <= self.schedule.level(t).log_snr <= highest else self.unguided
        log_snr = self.schedule.log_snr(t, torch.float64)
        return column(torch.where((log_snr >= lowest) & (log_snr <= highest), self.weight, self.unguided), like)


class _Extrapolation(Guidance):
    """u + weight (c - u), see the module's docstring."""

    unguided = 1.0

    def __init__(
        self,
        denoiser: DenoiserLike,
        weight: float,
        rescale: float,
        interval: tuple[float, float] | None,
    ):
        super().__init__(denoiser, weight, interval)
        if not 0 <= rescale <= 1:
            raise ValueError(f"rescale must lie in [0, 1], got {rescale}")
        self.rescale = rescale

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        weight = self._weight_at(t, x_t)
        if not isinstance(weight, Tensor):
            if weight == 1:
                return self._estimate(x_t, t, cond)
            if weight == 0 and self.rescale == 0:
                return self._worse(x_t, t, cond)
        better, worse = self._both(x_t, t, cond)
        # lerp, because it is exact where the weight of a clip is 0 or 1.
        guided = torch.lerp(worse, better, weight)
        if self.rescale == 0:
            return guided
        samples = getattr(cond, "samples", None)
        before, after = _deviation(better, samples), _deviation(guided, samples)
        ratio = torch.where(after > 0, before / after, 1.0)
        return guided * (1 + self.rescale * (ratio - 1))

    @abstractmethod
    def _worse(self, x_t: Tensor, t: Time, cond: Any) -> Tensor: ...

    def _both(self, x_t: Tensor, t: Time, cond: Any) -> tuple[Tensor, Tensor]:
        return self._estimate(x_t, t, cond), self._worse(x_t, t, cond)


class ClassifierFree(_Extrapolation):
    """Classifier-free guidance, Ho and Salimans (arXiv 2207.12598).

    The network is evaluated once with 2B clips, up to `MAX_JOINED`, where the two conditions differ only in values,
    else twice with B; once with B where the weight is 1 (and outside of the interval) or, without rescale, 0.

    Args:
        denoiser: a model trained with and without conditions.
        weight: 1 is the conditional model, 0 the unconditional one; Ho and Salimans' w plus 1.
        unconditional: the null condition, or a negative one; or a function from the condition to it, which keeps what
            both share (lengths, other conditions).
        rescale: in [0, 1], fraction of the growth of the standard deviation per clip (valid positions, all channels)
            that is undone. Lin et al. (arXiv 2305.08891, section 3.4), here for the estimate of x0.
        interval: (lowest, highest) log_snr between which guidance is applied, with the conditional model outside.
            Kynkaanniemi et al. (arXiv 2404.07724). None: everywhere.
        join: (cond, unconditional) -> one condition of 2B clips, in this order, or None to evaluate twice; for
            conditions that `join_clips`, the default, cannot join.

    Raises:
        ValueError: rescale outside [0, 1], an interval in the wrong order. In a call: a condition with another number
            of clips than x_t.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        weight: float,
        unconditional: Any = None,
        rescale: float = 0.0,
        interval: tuple[float, float] | None = None,
        join: Callable[[Any, Any], Any] = join_clips,
    ):
        super().__init__(denoiser, weight, rescale, interval)
        self.unconditional = unconditional
        self.join = join

    def prepare(self, cond: Any, x_t: Tensor) -> Any:
        """What the denoiser derives from both conditions alone; see `prepared_condition`."""
        both = cond, self._counterpart(x_t, cond)
        return _Pair(*(prepared_condition(self.denoiser, one, x_t) for one in both))

    def _estimate(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        return super()._estimate(x_t, t, cond.given if isinstance(cond, _Pair) else cond)

    def _worse(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        return self._estimate(x_t, t, self._counterpart(x_t, cond))

    def _both(self, x_t: Tensor, t: Time, cond: Any) -> tuple[Tensor, Tensor]:
        given = cond.given if isinstance(cond, _Pair) else cond
        both = self.join(given, self._counterpart(x_t, cond)) if 2 * len(x_t) <= MAX_JOINED else None
        if both is None:
            return super()._both(x_t, t, cond)
        times = torch.cat([t, t]) if isinstance(t, Tensor) and t.ndim else t
        better, worse = self._estimate(torch.cat([x_t, x_t]), times, both).chunk(2)
        return better, worse

    def _counterpart(self, x_t: Tensor, cond: Any) -> Any:
        if isinstance(cond, _Pair):
            return cond.counterpart
        counterpart = self.unconditional(cond) if callable(self.unconditional) else self.unconditional
        check_clips(counterpart, x_t)
        return counterpart


@dataclass(frozen=True)
class _Pair:
    """A condition and its counterpart, each prepared."""

    given: Any
    counterpart: Any

    @property
    def samples(self) -> Tensor | None:
        return getattr(self.given, "samples", None)


class Autoguidance(_Extrapolation):
    """Autoguidance: away from a worse model of the same data. Karras et al. (arXiv 2406.02507).

    A call evaluates both models; only the denoiser where the weight is 1, only the worse one where it is 0.

    Args:
        denoiser: the model.
        worse: a smaller or less trained one on the same schedule; it gets the same condition.
        weight: 1 is the denoiser alone.
        rescale: as in `ClassifierFree`.
        interval: as in `ClassifierFree`.

    Raises:
        ValueError: as `ClassifierFree`.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        worse: DenoiserLike,
        weight: float,
        rescale: float = 0.0,
        interval: tuple[float, float] | None = None,
    ):
        super().__init__(denoiser, weight, rescale, interval)
        self.worse = worse

    @property
    def t_max(self) -> float:
        """The time from which both models can start."""
        return min(start_time(self.denoiser), start_time(self.worse))

    def _worse(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        return estimate(self.worse, x_t, t, cond)


def _deviation(x: Tensor, samples: Tensor | None) -> Tensor:
    """Standard deviation over channels and the first `samples` (B,) positions of each clip: (B, 1, 1)."""
    mean = column(clip_mean(x, samples), x)
    return column(clip_mean((x - mean).square(), samples).sqrt(), x)
