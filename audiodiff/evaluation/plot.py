"""Plot of a benchmark: for every block, a panel for each metric and one for speed, over the number of steps.

Samplers are lines with their intervals as bands; systems without steps are horizontal lines. The range of the axes is
that of the samplers and the ground truth: a system far outside (such as noise) is not drawn.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from audiodiff.evaluation.record import Block, Record, Row
from audiodiff.evaluation.speech_metrics import ALL_METRICS
from audiodiff.evaluation.table import DEVICES, ordered
from audiodiff.files import atomic_write

COLUMNS = 5
WIDTH, HEIGHT = 3.1, 2.5  # inches per panel
COLORS = ("#0b62b5", "#d1571b", "#118a5a", "#8d3fa8", "#b8324f", "#7a6a00")
MARKERS = "osD^vP"
LEVELS = {
    "ground_truth": ("#222222", "-"),
    "griffin_lim": ("#888888", "--"),
    "world": ("#888888", ":"),
    "noise_consistency": ("#888888", "-."),
}
MARGIN = 1.5  # horizontal lines within so many ranges of the samplers and the ground truth are drawn


def draw(record: Record, path: Path) -> None:
    """Save the plot as PNG."""
    with atomic_write(path) as temporary:
        figure(record).savefig(temporary, format="png", dpi=110)


def figure(record: Record) -> Figure:
    """Draw the plot."""
    blocks = record.shown
    panels = [len(block.metrics) + 1 for block in blocks]
    rows = [-(-count // COLUMNS) for count in panels]
    whole = Figure(figsize=(COLUMNS * WIDTH, sum(HEIGHT * count + 0.9 for count in rows)), layout="constrained")
    parts = whole.subfigures(len(blocks), 1, squeeze=False, height_ratios=[HEIGHT * count + 0.9 for count in rows])
    for part, block, count in zip(parts[:, 0], blocks, rows, strict=True):
        title = f"{block.name}: {len(block.clips)} clips, {block.seconds / 60:.1f} minutes"
        part.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        axes = part.subplots(count, COLUMNS, squeeze=False).ravel()
        for ax, metric in zip(axes, block.metrics, strict=False):
            _quality(ax, block, metric)
        _speed(axes[len(block.metrics)], block)
        for ax in axes[len(block.metrics) + 1 :]:
            ax.set_axis_off()
        _legend(part, axes[: len(block.metrics) + 1])
    return whole


def _samplers(block: Block) -> dict[str, list[Row]]:
    rows = [row for row in ordered(block) if row.steps]
    return {name: [row for row in rows if row.sampler == name] for name in dict.fromkeys(row.sampler for row in rows)}


def _quality(ax: Axes, block: Block, metric: str) -> None:
    ends = []
    for i, (sampler, rows) in enumerate(_samplers(block).items()):
        rows = [row for row in rows if metric in row.scores]
        intervals = [block.interval(row, metric) for row in rows]
        steps, color = [row.steps for row in rows], COLORS[i % len(COLORS)]
        means, low, high = (np.array([getattr(one, name) for one in intervals]) for name in ("mean", "low", "high"))
        ax.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
        ax.plot(steps, means, color=color, marker=MARKERS[i % len(MARKERS)], markersize=4, label=sampler)
        ends += [*low, *high]
    levels = {name: block.interval(block.rows[name], metric).mean for name in LEVELS if name in block.rows}
    core = np.array([*ends, levels.get("ground_truth", np.nan)])
    core = core[np.isfinite(core)]
    for name, level in levels.items():
        visible = core.min() - MARGIN * np.ptp(core) <= level <= core.max() + MARGIN * np.ptp(core)
        color, style = LEVELS[name]
        ax.plot([], [], color=color, linestyle=style, label=block.rows[name].label)
        if visible:
            ax.axhline(level, color=color, linestyle=style, linewidth=1.2, zorder=1)
    described = ALL_METRICS[metric]
    target = "as in the recordings" if described.better == "reference" else f"{described.better} is better"
    unit = f", {described.unit}" if described.unit else ""
    _style(ax, block, f"{described.label}{unit}", target)


def _speed(ax: Axes, block: Block) -> None:
    for i, rows in enumerate(_samplers(block).values()):
        for kind, style in zip(DEVICES, ("-", "--"), strict=True):
            timed = [row for row in rows if kind in row.speed]
            speeds = [1 / row.speed[kind].median for row in timed]
            marker = MARKERS[i % len(MARKERS)]
            ax.plot([row.steps for row in timed], speeds, style, color=COLORS[i % len(COLORS)], marker=marker, ms=4)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}")
    _style(ax, block, "Speed, times real time", "CPU solid, GPU dashed")


def _style(ax: Axes, block: Block, title: str, note: str) -> None:
    steps = sorted({row.steps for row in block.rows.values() if row.steps})
    ax.set_xscale("log")
    ax.set_xticks(steps, [str(count) for count in steps])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_title(title, fontsize=10, loc="left")
    ax.set_xlabel(f"steps ({note})", fontsize=8)
    ax.tick_params(labelsize=8, length=3)
    ax.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _legend(part: object, axes: np.ndarray) -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    part.legend(handles, labels, loc="upper right", ncols=len(labels), fontsize=9, frameon=False)
