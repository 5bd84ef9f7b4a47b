"""Faults in the weight tables of the presets: one entry of one row, whoever asks for the table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

CALLS = 6
FIELDS = ("carry", "weights", "feature", "noise")
# A change no greater than this is none: entries that should be 0 are so up to rounding.
ROUNDING = 1e-12


class TableFault(NamedTuple):
    """One entry of a preset's table, changed."""

    preset: str
    row: int
    field: str
    place: int
    """Position within the field."""
    change: str
    """moved, negated or exchanged (with the next entry of the field)."""

    home = "samplers/test_tables.py"

    @property
    def module(self) -> str:
        """Faults of a preset are tried together."""
        return f"table of {self.preset}"

    def __str__(self) -> str:
        return f"{self.preset}: {self.field}[{self.place}] of row {self.row} {self.change}"

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Every table of this preset's sampler, on any grid, has the fault."""
        from audiodiff.diffusion.samplers.presets import build

        reference = build(self.preset, CALLS)
        kind, own = type(reference), type(reference).steps

        def steps(sampler, schedule, grid):
            table = own(sampler, schedule, grid)
            if _choices(sampler) == _choices(reference) and self.row < len(table):
                table[self.row] = self.in_row(table[self.row])
            return table

        kind.steps = steps
        try:
            yield
        finally:
            kind.steps = own

    def in_row(self, row):
        """The row with the fault; unchanged where it has no such entry."""
        values = entries(row, self.field)
        if self.place >= len(values):
            return row
        values = CHANGES[self.change](values, self.place)
        return row._replace(**{self.field: values[0] if self.field == "noise" else tuple(values)})


def _moved(values: list[float], i: int) -> list[float]:
    return [*values[:i], values[i] * 1.001 + 1e-6, *values[i + 1 :]]


def _negated(values: list[float], i: int) -> list[float]:
    return [*values[:i], -values[i], *values[i + 1 :]]


def _exchanged(values: list[float], i: int) -> list[float]:
    j = (i + 1) % len(values)
    values = list(values)
    values[i], values[j] = values[j], values[i]
    return values


CHANGES: dict[str, Callable[[list[float], int], list[float]]] = {
    "moved": _moved,
    "negated": _negated,
    "exchanged": _exchanged,
}


def entries(row, field: str) -> list[float]:
    """The numbers of one field of a row."""
    value = getattr(row, field)
    return [value] if field == "noise" else list(value)


def faults() -> list[TableFault]:
    """Every fault of every preset's table at six calls on the cosine schedule that changes a number."""
    from audiodiff.diffusion.samplers.presets import PRESETS, build
    from audiodiff.diffusion.schedules.schedule import Cosine

    found: list[TableFault] = []
    seen: list[dict] = []
    for preset in PRESETS:
        sampler = build(preset, CALLS)
        choices = _choices(sampler)
        # A learned variance stands in no table, and a second name for the same sampler adds no table.
        if choices in seen or choices.get("variance") == "learned":
            continue
        seen.append(choices)
        for row, step in enumerate(sampler.steps(Cosine(), sampler.default_grid(Cosine(), 1.0))):
            for field in FIELDS:
                values = entries(step, field)
                found += [
                    TableFault(preset, row, field, place, change)
                    for place in range(len(values))
                    for change, of in CHANGES.items()
                    if max(abs(a - b) for a, b in zip(of(values, place), values, strict=True)) > ROUNDING
                ]
    return found


def _choices(sampler) -> dict:
    """What makes a sampler this preset: its kind and arguments, but for the budget and the grid."""
    return {"kind": type(sampler)} | {k: v for k, v in vars(sampler).items() if k not in ("nfe", "grid")}
