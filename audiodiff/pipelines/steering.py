"""Steering of generation: from the conditions and guidance of a request to a denoiser and its condition.

A prompt of several parts (`text.prompt`) is composed of as many conditions (`diffusion.guidance.composition`). Guidance
comes around the composition, and takes the negative prompt for its unconditional side, or no condition at all; of a
model that it is distilled into, the scale is a condition instead. Other models that guide (`pipelines.guides`) come
around both.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch

from audiodiff.conditioners.guidance import guidance_condition
from audiodiff.conditioners.registry import requested
from audiodiff.diffusion.guidance.composition import Composed, Composition, window_weights
from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.diffusion.samplers.sampler import DenoiserLike
from audiodiff.diffusion.windowed import Windowed
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.nn.condition import Condition
from audiodiff.pipelines.guidance_options import GuidanceOptions
from audiodiff.pipelines.guides import guide
from audiodiff.pipelines.options import SteeringOptions
from audiodiff.text.prompt import PromptPart, parse_prompt

_FADE_SECONDS = 0.1  # from a prompt to the one after it


@dataclass(frozen=True)
class Steering:
    """Conditions and guidance of a request.

    Args:
        model: that generates.
        config: the request.
        context: in which networks run.
        clips: B.
        frames: of the process.
        window: of these that the network sees at once.
        first: frame at which the seconds of a prompt start to count.
        fixes_length: whether the sound is to last for the whole clip.
        start: time of the first frame in seconds, which conditions on beats count from.
        loop: whether the end of the clips leads to their beginning.
    """

    model: AudioModel
    config: SteeringOptions
    context: AbstractContextManager
    clips: int
    frames: int
    window: int
    first: int = 0
    fixes_length: bool = True
    start: float = 0.0
    loop: bool = False

    def steer(self, denoiser: DenoiserLike) -> tuple[DenoiserLike, Condition | Composition]:
        """A denoiser with guidance, if there is any, and the condition of the clips.

        Raises:
            UserError: the model does not have or take a condition, the prompt is none, or guidance has no condition.
        """
        setting, negative = guidance_of(self.config, self.model), self._negative()
        if self._distilled:
            self._check_distilled(setting, negative)
        condition = self._condition()
        windows = denoiser.around if isinstance(denoiser, Windowed) else None
        if isinstance(condition, Composition):
            denoiser = Composed(denoiser)
        if setting.scale != 1 and not self._distilled:
            denoiser = setting.guide(denoiser, self._embed(negative))
        return guide(self, denoiser, setting, windows), condition

    @property
    def _distilled(self) -> bool:
        """Whether the guidance scale is a condition of the model."""
        return guidance_condition(self.model.conditioners) is not None

    def _check_distilled(self, setting: GuidanceSetting, negative: Mapping[str, Any]) -> None:
        """Refuse what guidance that is distilled into the model cannot do: it has no unconditional side."""
        given = {"negative": negative, "guidance_rescale": setting.rescale, "guidance_interval": setting.interval}
        for name, value in given.items():
            if value:
                problem = "guidance is distilled into this model, with its scale alone"
                raise UserError(name, problem, "leave it out, or use its teacher")

    def conditions(self) -> dict[str, Any]:
        """Conditions of the request that the model is conditioned on."""
        return own_conditions(self.config, self.model)

    def _condition(self) -> Condition | Composition:
        wanted = self.conditions()
        text = wanted.get("prompt", "")
        if not self.model.takes_prompts or not isinstance(text, str):
            return self._embed(wanted)  # which refuses what the model does not have or take
        parts = parse_prompt(text)
        if len(parts) < 2 and all(part == PromptPart(part.text) for part in parts):
            return self._embed(wanted)
        conditions = [self._embed(wanted | {"prompt": part.text}) for part in parts]
        base = self._embed({name: value for name, value in wanted.items() if name != "prompt"})
        return Composition(conditions, [self._weight(part) for part in parts], base)

    def span(self, part: PromptPart) -> tuple[int, int]:
        """First and last frame, exclusive, of a part of the prompt; one from 0 s on includes what is continued.

        Raises:
            UserError: it starts behind the end of the clip.
        """
        end, rate = self._seconds(part), self.model.sample_rate / self.model.stride
        first = self.first + round(part.start * rate) if part.start else 0
        last = self.first + round(part.end * rate) if part.end < end else self.frames
        return min(first, self.frames - 1), max(last, first + 1)

    def _seconds(self, part: PromptPart) -> float:
        """Seconds at which the clip ends, after the start of a part."""
        end = (self.frames - self.first) * self.model.stride / self.model.sample_rate
        if part.start >= end:
            subject = f"prompt {part.text!r:.60}"
            raise UserError(subject, f"starts at {part.start:g} s, the clip ends at {end:g} s", "raise --seconds")
        return end

    def _weight(self, part: PromptPart) -> torch.Tensor | float:
        end = self._seconds(part)
        if part.start == 0 and part.end == math.inf:
            return part.weight
        seconds = (torch.arange(self.frames) + 0.5 - self.first) * self.model.stride / self.model.sample_rate
        start, end = part.start or -math.inf, part.end if part.end < end else math.inf
        return part.weight * window_weights(seconds, start, end, _FADE_SECONDS)

    def _negative(self) -> Mapping[str, Any]:
        """The conditions that guidance steers away from."""
        text = (self.config.negative or "").strip()
        if not text:
            return {}
        subject = f"negative {text!r:.60}"
        if not self.model.takes_prompts:
            raise UserError(subject, "this model takes no prompts", "leave it out")
        if guidance_of(self.config, self.model).scale == 1:
            raise UserError(subject, "has no effect without guidance", "add --guidance 3")
        if parse_prompt(text) != [PromptPart(text)]:
            raise UserError(subject, "is a prompt of several parts", "write it without | : and @")
        return {"prompt": text}

    def raw_conditions(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """The batch of raw values that conditions are embedded from, and the times of the frames.

        Raises:
            UserError: the model does not have or take one of them.
        """
        length = min(self.frames, self.window) * self.model.stride / self.model.sample_rate
        # Without a length the model decides: a short sound is followed by silence.
        implied: dict[str, Any] = {"seconds": length} if self.fixes_length else {}
        if self.loop:
            implied["loop_seconds"] = self.frames * self.model.stride / self.model.sample_rate
        if self._distilled:
            implied["guidance_scale"] = guidance_of(self.config, self.model).scale
        batch = self.model.parse_conditions(conditions, self.clips, implied)
        return batch | {"times": self.model.times(self.frames, self.start)}

    def _embed(self, conditions: Mapping[str, Any]) -> Condition:
        batch = self.raw_conditions(conditions)
        with self.context:
            return self.model.embed_condition(batch)


def own_conditions(config: SteeringOptions, model: AudioModel) -> dict[str, Any]:
    """Conditions of a request but for labels and prompts that are for its guides alone.

    With a classifier, labels that the model lacks are the classifier's, which refuses those that it lacks, too.
    """
    wanted, own = requested(config.conditions), model.condition_options()
    if config.classifier is not None and "labels" in wanted:
        known = own["labels"].choices if "labels" in own else ()
        wanted["labels"] = tuple(label for label in wanted["labels"] if label in known)
    if config.embedding_guidance is not None and "prompt" not in own:
        wanted.pop("prompt", None)
    return requested(wanted)


def guidance_of(config: SteeringOptions, model: AudioModel) -> GuidanceSetting:
    """The guidance of a request: its own options, else those of the model; no scale without a condition.

    Raises:
        UserError: a guidance scale without a condition.
    """
    own, scale = default_guidance(model), config.guidance_scale
    if not own_conditions(config, model) and not (config.negative or "").strip():
        if scale not in (None, 1):
            flags = [option.flag_for(name) for name, option in model.condition_options().items()]
            fix = f"add {' or '.join(flags)}" if flags else "this model has no conditions: leave it out"
            raise UserError(f"guidance_scale {scale:g}", "needs a condition", fix)
        scale = 1
    if (scale := own.scale if scale is None else scale) == 1 and not config.guides():
        return GuidanceSetting()
    return replace(combined(config, own), scale=scale)


def default_guidance(model: AudioModel) -> GuidanceSetting:
    """The guidance of a model where a request has none; the scale alone where guidance is distilled into the model."""
    own = model.guidance or GuidanceSetting()
    return own if guidance_condition(model.conditioners) is None else GuidanceSetting(own.scale)


def combined(config: GuidanceOptions, own: GuidanceSetting | None) -> GuidanceSetting:
    """The guidance of options, with that of a model where one is not given."""
    own = own or GuidanceSetting()
    scale = own.scale if config.guidance_scale is None else config.guidance_scale
    rescale = own.rescale if config.guidance_rescale is None else config.guidance_rescale
    low, high = (own.interval or config.interval) if config.guidance_interval is None else config.interval
    return GuidanceSetting(scale, rescale, None if low == -math.inf else low, None if high == math.inf else high)


def describe_guidance(setting: GuidanceSetting, model: AudioModel) -> dict[str, Any]:
    """Guidance as options of a `SteeringOptions` that have this effect with a model.

    None, which leaves the choice to the model, stands for no rescaling and no interval only if it has no default.
    """
    ends = ("" if end is None else _number(end) for end in (setting.lowest, setting.highest))
    rescale, interval = (None, None) if model.guidance is None else (0.0, "all")
    return {
        "guidance_scale": float(setting.scale),
        "guidance_rescale": setting.rescale or rescale,
        "guidance_interval": interval if setting.interval is None else ":".join(ends),
    }


def _number(value: float) -> str:
    """A number as text that is read as the same number, as short as it may be."""
    return text if float(text := f"{value:g}") == value else repr(float(value))
