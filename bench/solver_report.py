"""The numbers of `solvers.py` as a page, as JSON and as a plot.

A sampler's number for a budget is the geometric mean over problems of its median error. Its mode flips are the mean
over the mixtures. What is claimed of `recommended` is stated, and judged by the same numbers.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from audiodiff.files import atomic_write, write_text

OURS = "audiodiff"
RECOMMENDED = f"{OURS} recommended"
# k-diffusion's DPM++ 2M on its karras grid: the most common ones.
COMMON = "diffusers EDM-DPM++2M karras"
TIE = 0.02
COMMON_FACTOR, COMMON_FROM, STRICTLY_BETTER = 8, 10, 3
BAND = 5


@dataclass(frozen=True)
class Record:
    """One sampler on one problem.

    Args:
        sampler: its row's name.
        problem: kind/seed.
        budget: number of steps requested.
        nfe: network evaluations, counted.
        median: see `solver_problems.Errors`.
        rms: likewise.
        flips: likewise; percent.
    """

    sampler: str
    problem: str
    budget: int
    nfe: int
    median: float
    rms: float
    flips: float


@dataclass
class Row:
    """A sampler over all problems; each by budget."""

    name: str
    medians: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    rms: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    flips: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    nfe: dict[int, int] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether the sampler is of this package."""
        return self.name.startswith(OURS)

    def error(self, budget: int) -> float:
        """Geometric mean of the medians; infinite where it was not run or diverged."""
        return geometric_mean(self.medians[budget])


def geometric_mean(values: list[float]) -> float:
    """Infinite for none and for any that is not finite."""
    if not values or not all(math.isfinite(value) for value in values):
        return math.inf
    return math.exp(sum(math.log(max(value, 1e-300)) for value in values) / len(values))


def rows(records: Iterable[Record]) -> dict[str, Row]:
    """Records by sampler."""
    found: dict[str, Row] = {}
    for record in records:
        row = found.setdefault(record.sampler, Row(record.sampler))
        row.medians[record.budget].append(record.median)
        row.rms[record.budget].append(record.rms)
        row.flips[record.budget].append(record.flips)
        row.nfe[record.budget] = record.nfe
    return found


def ranked_peers(found: dict[str, Row], budget: int) -> list[Row]:
    """The peers at a budget, the most accurate first."""
    return sorted((row for row in found.values() if not row.ours), key=lambda row: row.error(budget))


@dataclass(frozen=True)
class Comparison:
    """`recommended` at one budget.

    Args:
        budget: nfe.
        error: of `recommended`.
        peer: name of the best peer.
        best: its error.
        common: the error of DPM++ 2M karras.
    """

    budget: int
    error: float
    peer: str
    best: float
    common: float

    @property
    def ratio(self) -> float:
        """To the best peer; below 1 is better."""
        return self.error / self.best

    @property
    def tie(self) -> bool:
        """As accurate as the best peer, within 2 percent."""
        return abs(self.ratio - 1) <= TIE


def compare(found: dict[str, Row], budgets: list[int]) -> list[Comparison]:
    """`recommended` beside the best peer of every budget."""
    made = []
    for budget in budgets:
        best = ranked_peers(found, budget)[0]
        error, common = found[RECOMMENDED].error(budget), found[COMMON].error(budget)
        made.append(Comparison(budget, error, best.name, best.error(budget), common))
    return made


def verdicts(comparisons: list[Comparison]) -> list[str]:
    """The aims, each with whether it holds."""

    def verdict(aim: str, failures: list[int]) -> str:
        return f"- {aim}: " + ("**holds**" if not failures else f"**fails** at {', '.join(map(str, failures))} nfe")

    worse = [c.budget for c in comparisons if not c.ratio <= 1 + TIE]
    better = [c.budget for c in comparisons if c.ratio < 1 - TIE]
    near = [c.budget for c in comparisons if c.budget >= COMMON_FROM and not c.common >= COMMON_FACTOR * c.error]
    count = f"- strictly better at {STRICTLY_BETTER} budgets or more: at {len(better)}, "
    return [
        verdict("recommended is at or below the best peer at every budget (a tie within 2 % counts)", worse),
        count + ("**holds**" if len(better) >= STRICTLY_BETTER else "**fails**"),
        verdict(f"at least {COMMON_FACTOR}x below DPM++ 2M karras from {COMMON_FROM} steps on", near),
    ]


def number(value: float) -> str:
    """Three digits, or that it diverged."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.4f}" if value >= 0.01 else f"{value:.2e}"


def comparison_table(comparisons: list[Comparison]) -> str:
    """`recommended` beside the best peers, as Markdown."""
    lines = [
        "| nfe | recommended | best peer | its error | ratio | DPM++ 2M karras | ratio |",
        "|--:|--:|---|--:|--:|--:|--:|",
    ]
    for c in comparisons:
        ratio = f"{c.ratio:.2f}" + (" (tie)" if c.tie else "")
        lines.append(
            f"| {c.budget} | {number(c.error)} | {c.peer} | {number(c.best)} | {ratio} | {number(c.common)} "
            f"| {c.error / c.common:.3f} |"
        )
    return "\n".join(lines)


def error_table(found: dict[str, Row], budgets: list[int]) -> str:
    """Every sampler's errors, ours first, as Markdown; actual nfe in brackets where they are not the budget."""
    lines = [f"| sampler | {' | '.join(map(str, budgets))} |", "|---|" + "--:|" * len(budgets)]
    for row in sorted(found.values(), key=lambda row: not row.ours):
        cells = []
        for budget in budgets:
            made = row.nfe.get(budget, budget)
            cells.append(number(row.error(budget)) + (f" [{made}]" if made != budget else ""))
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tail_table(found: dict[str, Row], budgets: list[int]) -> str:
    """Every sampler's mode flips and its rms error, as Markdown."""
    shown = [budget for budget in budgets if budget in (5, 10, 20, 50)] or budgets
    lines = [
        f"| sampler | {' | '.join(f'flips % @{b}' for b in shown)} | {' | '.join(f'rms @{b}' for b in shown)} |",
        "|---|" + "--:|" * (2 * len(shown)),
    ]
    for row in sorted(found.values(), key=lambda row: not row.ours):
        flips = [[f for f in row.flips[budget] if math.isfinite(f)] for budget in shown]
        cells = [f"{sum(f) / len(f):.1f}" if f else "-" for f in flips]
        cells += [number(geometric_mean(row.rms[budget])) for budget in shown]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page(found: dict[str, Row], budgets: list[int], heading: str) -> str:
    """The whole page, as Markdown, under a heading that says how it was measured."""
    comparisons = compare(found, budgets)
    parts = [
        "# Error of samplers against steps",
        heading,
        "## Recommended and the best peer",
        "Geometric mean over the problems of the median error; data has standard deviation 1.",
        comparison_table(comparisons),
        "\n".join(verdicts(comparisons)),
        "![error against nfe](solvers.png)",
        "## All samplers",
        'In brackets: nfe made, where the budget cannot be met. "-": diverged, or needs more nfe.',
        error_table(found, budgets),
        "## Mode flips and rms",
        "A flip is a sample that ends in another component of the mixture than the exact solution; the mean over the "
        "mixtures. Rms: over samples and dimensions, geometric mean over the problems; flips dominate it.",
        tail_table(found, budgets),
    ]
    return "\n\n".join(parts) + "\n"


def plot(found: dict[str, Row], budgets: list[int], path: Path) -> None:
    """Error against nfe: our samplers, the best peers as a band, and the most common ones."""
    figure, axes = plt.subplots(figsize=(8, 5.5), layout="constrained")
    axes.set_prop_cycle(color=plt.get_cmap("tab20").colors)
    peers = [[row.error(budget) for row in ranked_peers(found, budget)[:BAND]] for budget in budgets]
    axes.fill_between(
        budgets, [p[0] for p in peers], [p[-1] for p in peers], color="0.8", label=f"best {BAND} peers of each budget"
    )
    axes.plot(budgets, [p[0] for p in peers], "k--", linewidth=1, label="best peer of each budget")
    axes.plot(budgets, [found[COMMON].error(b) for b in budgets], "k:", label="DPM++ 2M karras")
    for row in found.values():
        if row.ours and row.name != RECOMMENDED:
            known = [budget for budget in budgets if math.isfinite(row.error(budget))]
            axes.plot(known, [row.error(b) for b in known], linewidth=1, marker=".", label=row.name.split(" ", 1)[1])
    axes.plot(budgets, [found[RECOMMENDED].error(b) for b in budgets], "r", linewidth=2.5, label="recommended")
    axes.set(xscale="log", yscale="log", xlabel="network nfe", ylabel="median error (data: 1)")
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.minorticks_off()
    # Above, a sampler has found nothing.
    axes.set_ylim(top=1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=3, loc="lower left")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    plt.close(figure)


def write(records: list[Record], budgets: list[int], heading: str, environment: dict, folder: Path) -> str:
    """Writes solvers.md, solvers.json and solvers.png; returns the page."""
    found = rows(records)
    text = page(found, budgets, heading)
    samplers: dict[str, dict] = {}
    for record in records:
        kept = samplers.setdefault(record.sampler, {}).setdefault(record.problem, {})
        values = (record.median, record.rms, record.flips)
        kept[record.budget] = [record.nfe, *(float(f"{v:.4g}") if math.isfinite(v) else None for v in values)]
    settled = {
        "environment": environment,
        "budgets": budgets,
        "columns": ["nfe", "median", "rms", "flips"],
        "comparison": [{**vars(c), "ratio": c.ratio} for c in compare(found, budgets)],
        "samplers": samplers,
    }
    write_text(folder / "solvers.md", text)
    write_text(folder / "solvers.json", json.dumps(settled, separators=(",", ":")) + "\n")
    plot(found, budgets, folder / "solvers.png")
    return text
