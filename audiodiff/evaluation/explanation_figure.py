"""Picture of an explanation: estimates over steps, maps of attention, and the sensitivity to conditions.

Spectrograms are each relative to their own level: early estimates are means of much that is possible.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.evaluation.figures import RANGE_DB, decibels
from audiodiff.evaluation.plot import COLORS
from audiodiff.files import atomic_write
from audiodiff.pipelines.explanation import Explanation, Step, shown_steps

WIDTH, HEIGHT = 15.0, 2.7  # inches of a row
_TICKS = 16
_FEW = 10  # symbols of a text whose map has the height of the others
_LEVELS = 3  # noise levels that maps are drawn at
_TOP = 0.999  # quantile of the levels of a spectrogram that is the brightest color
_MANY = 24  # symbols of a text, above which their labels are small


def draw(explanation: Explanation, path: Path) -> None:
    """Save the picture as PNG."""
    with atomic_write(path) as temporary:
        figure(explanation).savefig(temporary, format="png", dpi=100)


def figure(explanation: Explanation) -> Figure:
    """Draw a row each for estimates, maps over words, maps over time and the text's own, and sensitivities."""
    last = explanation.steps[-1]
    rows = [_estimates, *([_words] if last.words else []), *([_frames] if last.frames else [])]
    rows += [*([_text] if explanation.text_attention else []), _sensitivity]
    heights = [HEIGHT * (2 if row is _text and len(explanation.text) > _FEW else 1) for row in rows]
    whole = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    parts = whole.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for row, part in zip(rows, parts, strict=True):
        row(part, explanation)
    return whole


def _estimates(part: SubFigure, explanation: Explanation) -> None:
    """Spectrograms of estimates, or their mels."""
    _title(part, "Estimate of the clean signal")
    axes = part.subplots(1, len(explanation.estimates), squeeze=False, sharey=True)[0]
    for ax, (number, estimate) in zip(axes, explanation.estimates.items(), strict=True):
        picture, height, label = _spectrogram(estimate)
        top = np.quantile(picture, _TOP)
        extent = (0, explanation.seconds, 0, height)
        options = {"origin": "lower", "aspect": "auto", "extent": extent, "cmap": "magma"}
        ax.imshow(picture, vmin=top - (RANGE_DB if label == "kHz" else 10), vmax=top, **options)
        _name(ax, f"step {number + 1}, log-SNR {explanation.steps[number].log_snr:.1f}")
        ax.set_xlabel("seconds", fontsize=8)
        for phoneme in explanation.phonemes:
            ax.axvline(phoneme.start, color="white", linewidth=0.3)
            middle = (phoneme.start + phoneme.end) / 2
            ax.text(middle, 0.93 * height, phoneme.symbol, color="white", fontsize=7, ha="center")
        if ax is axes[0]:
            ax.set_ylabel(label, fontsize=8)


def _spectrogram(estimate: Audio | Tensor) -> tuple[np.ndarray, float, str]:
    """Levels (bins, frames), the height of the picture, and its unit."""
    if isinstance(estimate, Audio):
        samples = estimate.samples.float().numpy()
        return decibels(samples, estimate.sample_rate), estimate.sample_rate / 2000, "kHz"
    return estimate.numpy(), float(len(estimate)), "mel band"


def _words(part: SubFigure, explanation: Explanation) -> None:
    """Maps over words, means over layers."""
    _title(part, "Cross-attention: what each moment reads of the prompt")
    for ax, step in _levels(part, explanation.steps):
        _map(ax, _mean(step.words).T, (0, explanation.seconds, len(explanation.tokens) - 0.5, -0.5))
        ax.set_yticks(range(len(explanation.tokens)), explanation.tokens)
        ax.set_xlabel("seconds", fontsize=8)
        _name(ax, f"log-SNR {step.log_snr:.1f}")


def _frames(part: SubFigure, explanation: Explanation) -> None:
    """Maps over time, means over layers of the lowest level."""
    _title(part, "Self-attention: what each moment (down) reads of others (across)")
    for ax, step in _levels(part, explanation.steps):
        smallest = min(len(one) for one in step.frames.values())
        lowest = {name: one for name, one in step.frames.items() if len(one) == smallest}
        _map(ax, _mean(lowest), (0, explanation.seconds, explanation.seconds, 0))
        ax.set_xlabel("seconds", fontsize=8)
        _name(ax, f"log-SNR {step.log_snr:.1f}")


def _text(part: SubFigure, explanation: Explanation) -> None:
    """Maps of the text on itself, one for each of at most three layers."""
    _title(part, "Attention within the text: each symbol (down) on others (across)")
    chosen = list(explanation.text_attention.items())[:_LEVELS]
    axes = part.subplots(1, max(len(chosen), 2), squeeze=False)[0]
    for ax in axes[len(chosen) :]:
        ax.set_axis_off()
    size = 8 if len(explanation.text) <= _MANY else 5
    for ax, (name, one) in zip(axes, chosen, strict=False):
        count = len(one)
        _map(ax, one.numpy(), (-0.5, count - 0.5, count - 0.5, -0.5))
        rotation = 90 if max(map(len, explanation.text)) > 2 else 0
        ax.set_xticks(range(count), explanation.text, rotation=rotation, fontsize=size)
        ax.set_yticks(range(count), explanation.text, fontsize=size)
        _name(ax, name)


def _sensitivity(part: SubFigure, explanation: Explanation) -> None:
    """Effect of each condition, and change of the estimate, over noise levels."""
    _title(part, "Over noise levels")
    left, right = part.subplots(1, 2)
    places = range(1, len(explanation.steps) + 1)
    for number, name in enumerate(explanation.steps[0].sensitivity):
        values = [step.sensitivity[name] for step in explanation.steps]
        style = "o:" if "," in name else "o-"  # parts of a condition lie upon it
        left.plot(places, values, style, color=COLORS[number % len(COLORS)], label=name, markersize=3)
    _name(left, "effect of each condition on the estimate, relative")
    if explanation.steps[0].sensitivity:
        left.legend(fontsize=8, frameon=False)
    changes = [np.nan if step.change is None else step.change for step in explanation.steps]
    right.plot(places, changes, "o-", color=COLORS[0], markersize=3)
    _name(right, "change of the estimate since the step before, relative")
    for ax in (left, right):
        shown = shown_steps(len(explanation.steps), _TICKS)
        ax.set_xticks([number + 1 for number in shown], [_level(explanation.steps[number], number) for number in shown])
        ax.set_xlabel("step, log-SNR", fontsize=8)
        ax.set_ylim(bottom=0)


def _level(step: Step, number: int) -> str:
    return f"{number + 1}\n{step.log_snr:.1f}"


def _levels(part: SubFigure, steps: Sequence[Step]) -> list[tuple[Axes, Step]]:
    """Axes for at most three steps, from the first to the last."""
    numbers = shown_steps(len(steps), _LEVELS)
    axes = part.subplots(1, len(numbers), squeeze=False, sharey=True)[0]
    return [(ax, steps[number]) for ax, number in zip(axes, numbers, strict=True)]


def _map(ax: Axes, values: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    ax.imshow(values, aspect="auto", extent=extent, cmap="viridis", vmin=0, interpolation="nearest")


def _mean(maps: Mapping[str, Tensor]) -> np.ndarray:
    """The mean of maps of one shape; else the first one."""
    found = [one.numpy() for one in maps.values()]
    return np.mean([one for one in found if one.shape == found[0].shape], axis=0)


def _title(part: SubFigure, text: str) -> None:
    part.suptitle(text, x=0.01, ha="left", fontsize=11, fontweight="bold")


def _name(ax: Axes, text: str) -> None:
    ax.set_title(text, fontsize=9, loc="left")
    ax.tick_params(labelsize=8, length=3)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
