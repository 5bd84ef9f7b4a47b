"""Models that guide the sampling of another one: a worse model, a classifier, an audio-text pair.

A classifier reads the labels of a request and an audio-text pair its prompt, also where the model itself has no such
condition. They come around classifier-free guidance, in this order: first away from the worse model, then along the
gradients. A guidance interval holds for all of them. What is longer than the model's training crops is guided window by
window, with the same windows as the model's.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import torch
from torch import Tensor

from audiodiff.diffusion.guidance.extrapolation import Autoguidance
from audiodiff.diffusion.guidance.gradient import ClassifierGuidance, CosineSimilarity, EmbeddingGuidance
from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.diffusion.samplers.sampler import DenoiserLike
from audiodiff.diffusion.wrapper import Time, Wrapper
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_process import AudioProcess, difference
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.diffusion_model import requested
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.convolution import pack
from audiodiff.text.prompt import parse_prompt

if TYPE_CHECKING:
    from audiodiff.pipelines.steering import Steering


class Windows(Protocol):
    """Makes a denoiser of signals of any length of one of short signals; of loops, if `loop` and by default."""

    def __call__(self, denoiser: DenoiserLike, loop: bool | None = None) -> DenoiserLike:
        """The denoiser of signals of any length."""


@dataclass(frozen=True, eq=False)
class Guide:
    """A loaded model that guides others.

    Attributes:
        name: of its option.
        folder: that it was loaded from.
        model: frozen.
        digest: SHA-256 of its checkpoint.
    """

    name: str
    folder: str
    model: Any
    digest: str
    TYPES: ClassVar[dict[str, type[PretrainedModel]]] = {
        "classifier": NoisyClassifier,
        "autoguidance": AudioModel,
        "embedding_guidance": AudioTextModel,
    }

    @classmethod
    def load(cls, name: str, folder: str | Path) -> "Guide":
        """Load a guide by the name of its option.

        Raises:
            UserError: no such model, a damaged one, or one of another type.
        """
        found = checkpoint.load(folder)
        model = cls.TYPES[name].from_checkpoint(found, folder).requires_grad_(False)
        if name == "autoguidance":  # the others are differentiated
            pack(model)
        return cls(name, str(folder), model, found.digest)

    def error(self, problem: str, fix: str) -> UserError:
        """An error about this guide."""
        return UserError(f"{self.name} {self.folder}", problem, fix)

    def check_process(self, model: AudioProcess) -> None:
        """Check that it is of the same signals as the model that it guides.

        Raises:
            UserError: it is not.
        """
        if other := difference(self.model, model):
            raise self.error(f"is for {other}", "choose one that was trained for this model")


def guide(
    steering: "Steering", denoiser: DenoiserLike, setting: GuidanceSetting, windows: Windows | None
) -> DenoiserLike:
    """The denoiser with all guides of a request.

    Args:
        steering: of the request.
        denoiser: with classifier-free guidance.
        setting: whose rescaling and interval hold for the guides, too.
        windows: as of `ClassifierGuidance`.

    Raises:
        UserError: a guide is of another process, schedule or condition, or lacks what it guides to.
    """
    apply = {"autoguidance": _autoguidance, "classifier": _classifier, "embedding_guidance": _embedding}
    guides = steering.config.guides()
    for name in apply.keys() & guides.keys():
        guides[name].model.to(next(steering.model.network.parameters()).device)
    for name, one in apply.items():
        if name in guides:
            denoiser = one(steering, denoiser, guides[name], setting, windows)
    return denoiser


def _classifier(
    steering: "Steering", denoiser: DenoiserLike, guide: Guide, setting: GuidanceSetting, windows: Windows | None
) -> DenoiserLike:
    guide.check_process(steering.model)
    labels = requested(steering.config.conditions).get("labels")
    if not labels:
        raise guide.error("has nothing to guide to", f"add --label, of {', '.join(guide.model.classes)}")
    log_prob = guide.model.log_prob(steering.model.schedule, labels)
    weight = cast(float, steering.config.classifier_weight)
    return ClassifierGuidance(denoiser, log_prob, weight, setting.interval, windows) if weight else denoiser


def _autoguidance(
    steering: "Steering", denoiser: DenoiserLike, guide: Guide, setting: GuidanceSetting, windows: Windows | None
) -> DenoiserLike:
    guide.check_process(steering.model)
    worse: AudioModel = guide.model
    if checkpoint.describe(worse.schedule) != checkpoint.describe(steering.model.schedule):
        raise guide.error("has another noise schedule", "choose an earlier export of the same run")
    own = worse.condition_options()
    if lacking := [name for name in requested(steering.conditions()) if name not in own]:
        raise guide.error(f"has no {lacking[0]} condition", "choose one with the conditions of this model")
    base = worse.denoiser if windows is None else windows(worse.denoiser)
    plain = replace(steering, model=worse, config=steering.config.unguided(steering.conditions()))
    conditioned = Conditioned(*plain.steer(base))
    weight = cast(float, steering.config.autoguidance_weight)
    return Autoguidance(denoiser, conditioned, weight, setting.rescale, setting.interval)


def _embedding(
    steering: "Steering", denoiser: DenoiserLike, guide: Guide, setting: GuidanceSetting, windows: Windows | None
) -> DenoiserLike:
    """Guidance by each part of the prompt in its stretch of the signal."""
    text = requested(steering.config.conditions).get("prompt", "")
    parts = parse_prompt(text) if isinstance(text, str) else []
    if not parts:
        raise guide.error("has nothing to guide to", "add --prompt")
    model, pair = steering.model, guide.model
    targets = pair.embed_text([pair.prompt.parse({"prompt": part.text}) for part in parts])

    def embed(x0_hat: Tensor) -> Tensor:
        return pair.embed_audio(model.restore(x0_hat), model.sample_rate)

    for part, target in zip(parts, targets, strict=True):
        weight = cast(float, steering.config.embedding_weight) * part.weight
        span = steering.span(part)
        straight = windows if windows is None or span == (0, steering.frames) else partial(windows, loop=False)
        stretch = partial(Stretch, span=span, windows=straight)  # a part of a loop is no loop
        similarity = CosineSimilarity(embed, target)
        if weight:
            denoiser = EmbeddingGuidance(denoiser, similarity, weight, False, setting.interval, stretch)
    return denoiser


class Stretch(Wrapper):
    """A denoiser of a stretch of a signal; the rest is zero.

    Args:
        denoiser: of short signals.
        span: first and last position of the stretch.
        windows: makes it one of signals of any length; None: it is.
    """

    def __init__(self, denoiser: DenoiserLike, span: tuple[int, int], windows: Windows | None):
        super().__init__(denoiser if windows is None else windows(denoiser))
        self.span = span

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        first, last = self.span
        inside = self._estimate(x_t[..., first:last], t, None)
        return torch.nn.functional.pad(inside, (first, x_t.shape[-1] - last))


class Conditioned(Wrapper):
    """A denoiser with its own condition in place of the sampler's, which is embedded by another model.

    Args:
        denoiser: the model.
        condition: of the clips that are sampled.
    """

    def __init__(self, denoiser: DenoiserLike, condition: Any):
        super().__init__(denoiser)
        self.condition = condition

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        return self._estimate(x_t, t, self.condition)
