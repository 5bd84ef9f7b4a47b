"""Explanations: what a clip was made of, step by step.

At every state (x_t, t) that a sampler passes through:

- the *estimate* E[x0 | x_t] that it goes on with;
- *attention maps*: the share of each word, or of each frame, in what the network's attention reads, as means over
  heads; rows sum to 1. Cross-attention has one more column, "nothing", for what it does not read from any word;
- the *sensitivity* to each condition c, |D(x_t, t, c) - D(x_t, t, null)| / |D(x_t, t, c)|, of the model's own estimate
  D without guidance, where null takes the place of that condition alone. It is exactly 0 for a condition that the model
  does not use, and says at which noise levels one decides.

Maps show where a network reads, not why (Jain and Wallace 2019, arXiv 1902.10186); the sensitivity is an effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from audiodiff.audio.io import Audio
from audiodiff.diffusion.samplers.sampler import DenoiserLike
from audiodiff.diffusion.trajectory import State
from audiodiff.diffusion.weighting import LOG_SNR_MAX
from audiodiff.nn.attention_maps import Maps, pool_map, recorded_attention
from audiodiff.nn.condition import Condition
from audiodiff.pipelines.timed_text import TimedPhoneme

NOTHING = "(nothing)"  # the last column of maps over words
_FRAMES = 64  # most rows and columns of maps over time
_DIGITS = 4


@dataclass(frozen=True)
class Step:
    """A network evaluation of a sampler.

    Attributes:
        t, log_snr: noise level of the state.
        estimate: of the clean signal, (C, F).
        sensitivity: to each condition, by name.
        change: of the estimate from that of the step before, relative to its size; None of the first one.
        words: maps (F, N + 1) of cross-attention by layer.
        frames: maps (F, F) of self-attention by layer.
    """

    t: float
    log_snr: float
    estimate: Tensor
    sensitivity: Mapping[str, float]
    change: float | None
    words: Mapping[str, Tensor] = field(default_factory=dict)
    frames: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """How a clip was made.

    Attributes:
        audio: the clip.
        steps: of its sampler.
        estimates: some of the steps' estimates by the steps' numbers, from 0: audio, or a log-mel (M, F).
        tokens: what the columns of maps over words stand for; empty without cross-attention.
        text: symbols of the text, such as words or phonemes.
        text_attention: maps (N, N) of the text's own attention by layer.
        phonemes: when each is spoken.
        settings: all options, as JSON.
    """

    audio: Audio
    steps: Sequence[Step]
    estimates: Mapping[int, Audio | Tensor]
    tokens: Sequence[str] = ()
    text: Sequence[str] = ()
    text_attention: Mapping[str, Tensor] = field(default_factory=dict)
    phonemes: Sequence[TimedPhoneme] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.audio.samples.shape[-1] / self.audio.sample_rate

    def record(self) -> dict[str, Any]:
        """All of it but audio and estimates, as JSON."""
        return {
            "settings": dict(self.settings),
            "seconds": self.seconds,
            "tokens": list(self.tokens),
            "text": list(self.text),
            "text_attention": _as_lists(self.text_attention),
            "phonemes": [{"symbol": one.symbol, "start": one.start, "end": one.end} for one in self.phonemes],
            "steps": [
                {
                    "t": step.t,
                    "log_snr": step.log_snr,
                    "change": step.change,
                    "sensitivity": dict(step.sensitivity),
                    "cross_attention": _as_lists(step.words),
                    "self_attention": _as_lists(step.frames),
                }
                for step in self.steps
            ],
        }


def explain_states(
    denoiser: DenoiserLike,
    network: nn.Module,
    states: Sequence[State],
    condition: Condition,
    without: Mapping[str, Condition],
    columns: Sequence[int] = (),
) -> list[Step]:
    """Evaluate a model at the states of a sampler, with its condition and without each part of it.

    Args:
        denoiser: the model's own, without guidance.
        network: of the denoiser.
        states: of one clip.
        condition: of the clip.
        without: conditions that lack one part, by its name.
        columns: of the valid tokens among those of the condition.
    """
    steps: list[Step] = []
    for state in states:
        with recorded_attention(network) as maps:
            own = denoiser(state.x_t, state.t, condition)
        size = float(own.norm())
        differences = {name: float((denoiser(state.x_t, state.t, one) - own).norm()) for name, one in without.items()}
        sensitivity = {name: one / size if size else 0.0 for name, one in differences.items()}
        log_snr = min(max(denoiser.schedule.level(state.t).log_snr, -LOG_SNR_MAX), LOG_SNR_MAX)
        estimate, before = state.estimate[0].cpu(), steps[-1].estimate if steps else None
        change = None if before is None else float((estimate - before).norm() / estimate.norm().clamp(min=1e-12))
        steps.append(Step(state.t, log_snr, estimate, sensitivity, change, *_maps(maps, columns)))
    return steps


def shown_steps(count: int, most: int = 5) -> list[int]:
    """Numbers of at most `most` of so many steps, evenly, with the first and the last one."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def text_maps(maps: Maps, symbols: int) -> dict[str, Tensor]:
    """Maps (N, N) of the first evaluation of each layer, over so many symbols, as means over heads; {} without any."""
    if not symbols:
        return {}
    means = {name: found[0][0].mean(0) for name, found in maps.items()}
    return {name: one[:symbols, :symbols].cpu() for name, one in means.items() if len(one) >= symbols}


def _maps(maps: Maps, columns: Sequence[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Means over heads, by layer: over the given columns and the last one, and over frames."""
    words: dict[str, Tensor] = {}
    frames: dict[str, Tensor] = {}
    for name, found in maps.items():
        mean = found[-1][0].mean(0).cpu()
        if "cross_attention" in name:
            words[name] = pool_map(mean[:, [*columns, -1]], _FRAMES)
        else:
            frames[name] = pool_map(mean, _FRAMES, _FRAMES)
    return words, frames


def _as_lists(maps: Mapping[str, Tensor]) -> dict[str, list[list[float]]]:
    return {name: [[round(x, _DIGITS) for x in row] for row in one.tolist()] for name, one in maps.items()}
