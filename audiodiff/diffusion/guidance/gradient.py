"""Guidance by gradients of a classifier or of a similarity.

By Bayes' rule the score of p(x_t | y) is that of p(x_t) plus grad log p(y | x_t), and by Tweedie's formula E[x0 | x_t]
grows by sigma^2 / alpha times as much. `ClassifierGuidance` has a classifier of noisy signals (Dhariwal and Nichol,
arXiv 2105.05233). `EmbeddingGuidance` knows only clean signals and takes weight times the similarity of E[x0 | x_t] to
a target for the log-probability. Its gradient with respect to x_t passes through the denoiser. Left out, the denoiser's
Jacobian alpha / sigma^2 Cov[x0 | x_t] is replaced by that for standard normal data, where the covariance is
sigma^2 / (alpha^2 + sigma^2): cheaper, and finite where alpha = 0.

Log-probabilities are per clip and their gradients are not normalized: a weight of 1 is Bayes' rule. Gradients are taken
whether or not the caller records them, also inside `torch.inference_mode`; where the caller does differentiate with
respect to x_t, the guided estimate is differentiable once more.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.clips import check_clips, column, map_tensors
from audiodiff.diffusion.denoiser import EPSILON_LOG_SNR_MIN
from audiodiff.diffusion.guidance.extrapolation import Guidance
from audiodiff.diffusion.samplers.sampler import DenoiserLike, start_time
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.diffusion.wrapper import Time

Windows = Callable[[DenoiserLike], DenoiserLike]


class ClassifierGuidance(Guidance):
    """Classifier guidance with a classifier of noisy signals. Dhariwal and Nichol (arXiv 2105.05233).

    Args:
        denoiser: the model of the signals, which may itself be conditional.
        log_prob: `(x_t, t, cond) -> (B,)`, log p(cond | x_t) in nats up to a constant; differentiable in x_t.
        weight: 1 is Bayes' rule; more is p(cond | x_t)^weight.
        interval: as of `Guidance`; outside of it the classifier is not evaluated.
        windows: makes a denoiser of signals of any length of one of short signals, such as `partial(Windowed,
            window=...)`; the gradient then is that of each window's log-probability. None: of the whole signal's.

    Raises:
        ValueError: in a call: alpha(t) = 0 (start at `t_max`), log-probabilities of another shape than (B,) or that
            are not differentiable in x_t, or a condition with another number of clips than x_t.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        log_prob: Callable[[Tensor, Time, Any], Tensor],
        weight: float = 1.0,
        interval: tuple[float, float] | None = None,
        windows: Windows | None = None,
    ):
        super().__init__(denoiser, weight, interval)
        self.log_prob = log_prob
        self.slope = _slope(denoiser, log_prob, windows)

    @property
    def t_max(self) -> float:
        """The denoiser's, at most where log_snr = -10: sigma^2 / alpha is infinite at pure noise."""
        return regular_t_max(self.denoiser, self.interval)

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        x0_hat, weight = self._estimate(x_t, t, cond), self._weight_at(t, x_t)
        if not isinstance(weight, Tensor) and weight == 0:
            return x0_hat
        return x0_hat + weight * tweedie_factor(self.schedule, t, x_t) * self.slope(x_t, t, cond)


class EmbeddingGuidance(Guidance):
    """Guidance towards signals whose embedding is similar to a target, as CLIP guidance.

    Args:
        denoiser: the model of the signals.
        similarity: `(x0_hat (B, C, T), cond) -> (B,)`, differentiable, such as `CosineSimilarity`.
        weight: nats per unit of similarity: p(x0) is multiplied by exp(weight similarity(x0)).
        through_denoiser: whether the gradient passes through the denoiser, which costs its backward pass and starts at
            log_snr >= -10, or is that with respect to E[x0 | x_t] times sigma^2 / (alpha^2 + sigma^2).
        interval, windows: as of `ClassifierGuidance`; windows only where the gradient does not pass the denoiser.

    Raises:
        ValueError: windows and a gradient through the denoiser. In a call: as `ClassifierGuidance`; alpha(t) = 0 only
            where the gradient passes the denoiser.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        similarity: Callable[[Tensor, Any], Tensor],
        weight: float,
        through_denoiser: bool = True,
        interval: tuple[float, float] | None = None,
        windows: Windows | None = None,
    ):
        super().__init__(denoiser, weight, interval)
        if through_denoiser and windows is not None:
            raise ValueError("a gradient through the denoiser is not taken in windows")
        self.similarity, self.through_denoiser = similarity, through_denoiser
        self.slope = _slope(denoiser, lambda x0_hat, t, cond: similarity(x0_hat, cond), windows)

    @property
    def t_max(self) -> float:
        """The denoiser's; at most where log_snr = -10 if the gradient passes through the denoiser."""
        return regular_t_max(self.denoiser, self.interval) if self.through_denoiser else super().t_max

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        weight = self._weight_at(t, x_t)
        if not isinstance(weight, Tensor) and weight == 0:
            return self._estimate(x_t, t, cond)
        if not self.through_denoiser:
            alpha, sigma = amplitudes(self.schedule, t, x_t)
            x0_hat = self._estimate(x_t, t, cond)
            return x0_hat + weight * sigma**2 / (alpha**2 + sigma**2) * self.slope(x0_hat, t, cond)

        def similarity(x: Tensor, cond: Any) -> tuple[Tensor, Tensor]:
            x0_hat = self._estimate(x, t, cond)
            return self.similarity(x0_hat, cond), x0_hat

        factor = tweedie_factor(self.schedule, t, x_t)
        slope, x0_hat = gradient(similarity, x_t, cond)
        return x0_hat + weight * factor * slope


class CosineSimilarity:
    """Cosine similarity between the embedding of a signal and a target, in [-1, 1]; the condition is not used.

    Args:
        embed: (B, C, T) -> (B, E), differentiable.
        target: (E,) for all clips, or (B, E): embeddings of recordings, or of text in a shared space.

    Raises:
        ValueError: in a call: a target with another number of clips.
    """

    def __init__(self, embed: Callable[[Tensor], Tensor], target: Tensor):
        self.embed = embed
        self.target = target

    def __call__(self, x0_hat: Tensor, cond: Any = None) -> Tensor:
        """(B,) cosines."""
        if self.target.ndim > 1:
            check_clips(self.target, x0_hat)
        target = recordable(self.target).to(x0_hat)
        return torch.nn.functional.cosine_similarity(self.embed(x0_hat), target, dim=-1)


def gradient(function: Callable[[Tensor, Any], tuple[Tensor, Tensor]], x: Tensor, cond: Any) -> tuple[Tensor, Tensor]:
    """d value / d x for `function(x, cond) -> (value (B,), output)`, and the output."""
    differentiated = torch.is_grad_enabled() and x.requires_grad
    with torch.inference_mode(False), torch.enable_grad():
        if not differentiated:
            x = recordable(x).detach().requires_grad_()
        value, output = function(x, map_tensors(recordable, cond))
        if value.shape != (len(x),):
            raise ValueError(f"guidance needs one value for each of {len(x)} clips, got shape {tuple(value.shape)}")
        if not value.requires_grad:
            raise ValueError("guidance needs a differentiable function of the signal, got one without gradient")
        (slope,) = torch.autograd.grad(value.sum(), x, create_graph=differentiated)
    return slope, output if differentiated else output.detach()


class _Slope:
    """The gradient of a value `(x, t, cond) -> (B,)` with respect to x, called as a denoiser is."""

    def __init__(self, schedule: Schedule, value: Callable[[Tensor, Time, Any], Tensor]):
        self.schedule, self.value = schedule, value

    def __call__(self, x_t: Tensor, t: Time, cond: Any = None) -> Tensor:
        """Like x_t."""
        return gradient(lambda x, cond: (self.value(x, t, cond), x), x_t, cond)[0]


def _slope(denoiser: DenoiserLike, value: Callable[[Tensor, Time, Any], Tensor], windows: Windows | None) -> Any:
    slope = _Slope(denoiser.schedule, value)
    return slope if windows is None else windows(slope)


def recordable(tensor: Tensor) -> Tensor:
    """A tensor that autograd can record: an inference tensor is copied, others are returned unchanged."""
    return tensor.clone() if tensor.is_inference() else tensor


def tweedie_factor(schedule: Schedule, t: Time, like: Tensor) -> Tensor | float:
    """sigma^2 / alpha, the factor of the score in E[x0 | x_t] (Tweedie's formula)."""
    alpha, sigma = amplitudes(schedule, t, like)
    if bool(torch.as_tensor(alpha == 0).any()):
        raise ValueError("guidance by a gradient is not defined where alpha = 0: start at the guidance's t_max")
    return sigma**2 / alpha


def regular_t_max(denoiser: DenoiserLike, interval: tuple[float, float] | None = None) -> float:
    """The denoiser's time to start from, at most where log_snr = -10 if a guidance interval reaches below that."""
    if interval is not None and interval[0] >= EPSILON_LOG_SNR_MIN:
        return start_time(denoiser)
    return min(start_time(denoiser), float(denoiser.schedule.t_from_log_snr(EPSILON_LOG_SNR_MIN)))


def amplitudes(schedule: Schedule, t: Time, like: Tensor) -> tuple[Tensor, Tensor] | tuple[float, float]:
    """alpha and sigma: numbers if t is one, else tensors that broadcast against `like`."""
    if not isinstance(t, Tensor):
        return schedule.level(t)[:2]
    return column(schedule.alpha(t, torch.float64), like), column(schedule.sigma(t, torch.float64), like)
