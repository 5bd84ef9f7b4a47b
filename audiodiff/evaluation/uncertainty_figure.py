"""Figure of a spread over seeds: mean log-mel, its deviation, and curves in a band of one standard deviation."""

import io
from collections.abc import Mapping

import numpy as np

from audiodiff.evaluation.figures import INK, png_uri

RANGE_DB = 80.0
_LEAST_DB = 2.0  # upper end of the colors of the deviation, unless this quantile of it is above
_QUANTILE = 0.995
_LABELS = {"level": "level, dB", "pitch": "semitones", "pesq": "PESQ-WB", "mr_stft": "MR-STFT"}


def figure(
    mel: np.ndarray,
    deviation: np.ndarray,
    metrics: Mapping[str, np.ndarray],
    frame_seconds: float,
    segment_seconds: float,
    width: float = 11.0,
) -> str:
    """Draw a clip as a transparent PNG, a data URI.

    Args:
        mel: mean log-mel (M, F) in dB.
        deviation: over seeds (M, F) in dB.
        metrics: by name, (seeds, segments).
        frame_seconds: from frame to frame.
        segment_seconds: of a segment.
        width: of the figure in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    whole = Figure(figsize=(width, 4.4 + 1.1 * len(metrics)), layout="constrained")
    heights = [1.6, 1.6, 1.2, *[1.1] * len(metrics)]
    axes = whole.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    seconds = mel.shape[1] * frame_seconds
    extent = (0, seconds, 0, len(mel))
    top = mel.max()
    shown = {"origin": "lower", "aspect": "auto", "extent": extent}
    axes[0].imshow(mel, cmap="magma", vmin=top - RANGE_DB, vmax=top, **shown)
    most = max(_LEAST_DB, float(np.quantile(deviation, _QUANTILE)))
    image = axes[1].imshow(deviation, cmap="viridis", vmin=0, vmax=most, **shown)
    bar = whole.colorbar(image, ax=axes[1], pad=0.01)
    bar.set_label("deviation, dB", color=INK, fontsize=8)
    bar.ax.tick_params(colors=INK, labelsize=8)
    times = (np.arange(mel.shape[1]) + 0.5) * frame_seconds
    _band(axes[2], times, mel.mean(0), deviation.mean(0))
    for ax, text in zip(axes, ("mel band", "mel band", "mel, dB", *(_LABELS[name] for name in metrics)), strict=True):
        ax.set_ylabel(text, color=INK, fontsize=8)
        ax.tick_params(colors=INK, labelsize=8, length=3)
        for spine in ax.spines.values():
            spine.set_visible(False)
    for ax, values in zip(axes[3:], metrics.values(), strict=True):
        edges = np.minimum(np.arange(values.shape[1] + 1) * segment_seconds, seconds)
        known = np.isfinite(values).all(0)
        mean = np.where(known, values.mean(0), np.nan)
        _band(ax, edges, np.append(mean, mean[-1:]), np.append(values.std(0, ddof=1), 0), step="post")
    axes[-1].set_xlabel("seconds", color=INK, fontsize=8)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"savefig.transparent": True}):
        whole.savefig(buffer, format="png", dpi=90)
    return png_uri(buffer.getvalue())


def _band(ax, times: np.ndarray, mean: np.ndarray, deviation: np.ndarray, step: str | None = None) -> None:
    ax.fill_between(times, mean - deviation, mean + deviation, step=step, alpha=0.35, color="#2a7ab9", linewidth=0)
    ax.plot(times, mean, drawstyle="steps-post" if step else "default", color="#2a7ab9", linewidth=1)
