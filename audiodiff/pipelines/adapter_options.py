"""The option of adapters: `DIR`, `DIR:0.8` or `DIR:0.8@-5:3`, several at once.

Nothing heavy is imported here: the command line builds its help from this declaration.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from audiodiff.errors import UserError
from audiodiff.options import Option

if TYPE_CHECKING:
    from audiodiff.models.adapted import AppliedAdapter

MAX_SCALE = 10.0
MAX_ADAPTERS = 16
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf|infinity)"
_INTERVAL = re.compile(rf"(.*)@({_NUMBER})?:({_NUMBER})?", re.IGNORECASE | re.DOTALL)
_SCALE = re.compile(rf"(.*):({_NUMBER})", re.IGNORECASE | re.DOTALL)

OPTION: dict[str, Any] = {
    "kind": "text",
    "help": 'Adapter to apply, as DIR or DIR:SCALE such as my-drum:0.8; "my-drum:0.8@-5:3" between these log-SNRs. '
    "Repeat for several.",
    "label": "Adapters",
    "flag": "--adapter",
    "multiple": True,
}


class AdapterChoice(NamedTuple):
    """An adapter by its folder, its scale, and the log-SNRs between which it is applied."""

    folder: str
    scale: float = 1.0
    interval: tuple[float, float] = (-math.inf, math.inf)


def parse_adapter(text: str) -> AdapterChoice:
    """An adapter as it is written: what follows the last colon and is a number is the scale, and @LOW:HIGH an interval.

    Raises:
        UserError: no folder, a scale that is not finite or beyond `MAX_SCALE`, or an interval whose ends are not in
            order.
    """
    folder, interval, scale = text, (-math.inf, math.inf), 1.0
    if (found := _INTERVAL.fullmatch(folder)) and (found[2] or found[3]):
        folder = found[1]
        interval = float(found[2] or "-inf"), float(found[3] or "inf")
        if not interval[0] <= interval[1]:
            raise UserError(f"adapter {text!r:.80}", "has no interval after @", "write the lower end first: DIR@-5:3")
    if found := _SCALE.fullmatch(folder):
        folder, scale = found[1], float(found[2])
        if not abs(scale) <= MAX_SCALE:
            fix = f"use {-MAX_SCALE:g} to {MAX_SCALE:g}, such as DIR:0.8"
            raise UserError(f"adapter {text!r:.80}", f"has the scale {scale:g}", fix)
    if not folder.strip():
        raise UserError(f"adapter {text!r:.80}", "names no folder", "write DIR or DIR:0.8")
    return AdapterChoice(folder, scale, interval)


def load_adapters(given: Any) -> "tuple[AppliedAdapter, ...]":
    """The adapters of a request: of texts and paths without their numbers, which are read once the base is known.

    Raises:
        UserError: not a list of these, too many, as `parse_adapter`, or a folder that is no adapter.
    """
    if isinstance(given, str | Path) or not isinstance(given, Iterable):
        raise UserError(f"adapters {given!r:.60}", "expected a list", f"pass [{str(given)!r:.60}]")
    wanted = tuple(given)
    if len(wanted) > MAX_ADAPTERS:
        raise UserError(f"{len(wanted)} adapters", "too many", f"use at most {MAX_ADAPTERS}, or merge some")
    if not wanted:
        return ()
    from audiodiff.models import adapter
    from audiodiff.models.adapted import AppliedAdapter

    found = []
    for one in wanted:
        if isinstance(one, AppliedAdapter):
            found.append(one)
            continue
        if not isinstance(one, str | Path):
            raise UserError(f"adapter {one!r:.60}", "expected a folder", 'write "DIR:0.8"')
        text = Option("text", "").check("adapter", str(one))
        choice = parse_adapter(text) if isinstance(one, str) else AdapterChoice(text)
        found.append(AppliedAdapter(adapter.inspect(choice.folder), choice.scale, choice.interval))
    return tuple(found)
