"""Plot of a benchmark: for every block, a panel for each metric over the number of steps, and one over speed.

Series (`table.series`) are lines with their intervals as bands; named settings are stars; systems without steps are
horizontal lines. The range of the axes is that of the network and the ground truth: a system far outside (such as
noise) is not drawn. The last panel has the first metric over speed: where more of one costs more of the other.
"""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from audiodiff.evaluation.record import Block, Record, Row
from audiodiff.evaluation.speech_metrics import ALL_METRICS
from audiodiff.evaluation.table import DEVICES, compared, ordered, series
from audiodiff.files import atomic_write

COLUMNS = 5
WIDTH, HEIGHT = 3.1, 2.5  # inches per panel
LEGEND = 6  # entries in a line
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


def _styles(block: Block) -> dict[str, dict]:
    """Color and marker of each series."""
    names = list(series(block))
    shades = colormaps["viridis"](np.linspace(0, 0.9, max(len(names), 2)))
    colors = COLORS if len(names) <= len(COLORS) and not any("," in name for name in names) else shades
    return {name: {"color": colors[i], "marker": MARKERS[i % len(MARKERS)]} for i, name in enumerate(names)}


def _settings(block: Block) -> dict[str, Row]:
    """Rows of named settings, by their labels."""
    return {row.label: row for row in ordered(block) if row.setting}


def _quality(ax: Axes, block: Block, metric: str) -> None:
    ends, styles = [], _styles(block)
    for name, rows in series(block).items():
        rows = [row for row in rows if metric in row.scores]
        intervals, steps = [block.interval(row, metric) for row in rows], [row.steps for row in rows]
        means, low, high = (np.array([getattr(one, end) for one in intervals]) for end in ("mean", "low", "high"))
        ax.fill_between(steps, low, high, color=styles[name]["color"], alpha=0.12, linewidth=0)
        ax.plot(steps, means, markersize=4, label=name, **styles[name])
        ends += [*low, *high]
    for i, (label, row) in enumerate(_settings(block).items()):
        if metric in row.scores:
            mean = block.interval(row, metric).mean
            ax.plot([row.steps], [mean], linestyle="", label=label, zorder=5, **_star(i))
            ends.append(mean)
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
    _over_steps(ax, block)
    _style(ax, f"{described.label}{unit}", f"steps ({target})")


def _star(index: int) -> dict:
    """The marker of the settings' i-th."""
    color = COLORS[(len(COLORS) - 2 - index) % len(COLORS)]
    return {"marker": "*", "markersize": 11, "color": color, "markeredgecolor": "white", "markeredgewidth": 0.6}


def _speed(ax: Axes, block: Block) -> None:
    metric, styles = compared(block), _styles(block)
    for kind, line in zip(DEVICES, ("-", "--"), strict=True):
        for name, rows in series(block).items():
            _over_speed(ax, block, rows, kind, linestyle=line, markersize=4, **styles[name])
        for i, row in enumerate(_settings(block).values()):
            _over_speed(ax, block, [row], kind, linestyle="", zorder=5, **_star(i))
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    _style(ax, f"{metric.label} over speed", "times real time (CPU solid, GPU dashed)")


def _over_speed(ax: Axes, block: Block, rows: list[Row], kind: str, **style) -> None:
    metric = compared(block).name
    timed = [row for row in rows if kind in row.speed and metric in row.scores]
    means = [block.interval(row, metric).mean for row in timed]
    ax.plot([1 / row.speed[kind].median for row in timed], means, **style)


def _over_steps(ax: Axes, block: Block) -> None:
    steps = sorted({row.steps for row in block.rows.values() if row.steps})
    ax.set_xscale("log")
    ax.set_xticks(steps, [str(count) for count in steps])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


def _style(ax: Axes, title: str, label: str) -> None:
    ax.set_title(title, fontsize=10, loc="left")
    ax.set_xlabel(label, fontsize=8)
    ax.tick_params(labelsize=8, length=3)
    ax.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _legend(part: object, axes: np.ndarray) -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    part.legend(handles, labels, loc="outside upper right", ncols=min(len(labels), LEGEND), fontsize=9, frameon=False)
