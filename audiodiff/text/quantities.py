"""Numbers with a currency or a unit, as they are spoken."""

import re
from collections.abc import Callable, Iterable

from audiodiff.text.number_words import cardinal, number
from audiodiff.text.readings import CURRENCIES, MAGNITUDES, UNITS

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"


def alternatives(words: Iterable[str]) -> str:
    """A pattern for any of some words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_SIGNS = alternatives(CURRENCIES)
_AMOUNT = rf"(?P<amount>{NUMBER})(?:\s?(?P<magnitude>{alternatives(MAGNITUDES)})(?!\w))?"


def _plural(written: str, singular: str, plural: str) -> str:
    return singular if written.lstrip("-") in ("1", "1.0") else plural


def _money(found: re.Match) -> str:
    sign, written, magnitude = found["sign"], found["amount"].replace(",", ""), found["magnitude"]
    one, many, cent, cents = CURRENCIES[sign]
    minus = "minus " if found["minus"] else ""
    if found["end"]:
        return f"{minus}{number(written)} to {number(found['end'])}{_magnitude(found['end_magnitude'])} {many}"
    if magnitude:
        return f"{minus}{number(written)}{_magnitude(magnitude)} {many}"
    whole, _, fraction = written.partition(".")
    if len(fraction) != 2:
        return f"{minus}{number(written)} {_plural(written, one, many)}"
    parts = []
    if int(whole or 0) or not int(fraction):
        parts.append(f"{number(whole or '0')} {_plural(whole, one, many)}")
    if int(fraction):
        parts.append(f"{cardinal(int(fraction))} {_plural(str(int(fraction)), cent, cents)}")
    return minus + " and ".join(parts)


def _magnitude(written: str | None) -> str:
    return f" {MAGNITUDES[written]}" if written else ""


def _after(found: re.Match) -> str:
    one, many, *_ = CURRENCIES[found["sign"]]
    return f"{number(found['amount'])}{_magnitude(found['magnitude'])} {_plural(found['amount'], one, many)}"


def _unit(found: re.Match) -> str:
    one, many = UNITS[found["unit"]]
    written = found["last"] or found["first"]
    words = number(found["first"]) + (f" to {number(found['last'])}" if found["last"] else "")
    if found["joint"] == "-" and not found["last"]:
        return f"{words} {one}"  # a 5-km run
    minus = "minus " if found["minus"] else ""
    return f"{minus}{words} {one if written in ('1', '1.0') and not found['last'] else many}"


def _feet(found: re.Match) -> str:
    inches = f" {number(found[2])}" if found[2] else ""
    return f"{number(found[1])} foot{inches}" if inches else f"{number(found[1])} feet"


QUANTITY_RULES: tuple[tuple[re.Pattern, Callable[[re.Match], str]], ...] = (
    (
        re.compile(
            rf"(?P<minus>(?<![\w.])[-−])?(?<!\w)(?:US|C|A)?(?P<sign>{_SIGNS})\s?{_AMOUNT}"
            rf"(?:\s?[-–]\s?(?:{_SIGNS})?(?P<end>{NUMBER})(?:\s?(?P<end_magnitude>{alternatives(MAGNITUDES)})(?!\w))?)?"
        ),
        _money,
    ),
    (re.compile(rf"(?<![\w.]){_AMOUNT}\s?(?P<sign>{_SIGNS})(?!\w)"), _after),
    (re.compile(rf"(?<![\w.])(?P<amount>{NUMBER})\s?¢"), lambda m: f"{number(m[1])} {_plural(m[1], 'cent', 'cents')}"),
    (re.compile(r"(?<![\w.])(\d{1,2})['′] ?(\d{1,2})(?:\"|″|'')(?!\w)"), _feet),
    (
        re.compile(
            rf"(?P<minus>(?<![\w.)])[-−])?(?<![\w.,])(?P<first>{NUMBER})(?:\s?(?:[-–]|to)\s?(?P<last>{NUMBER}))?"
            rf"(?P<joint>\s?|-)(?P<unit>{alternatives(UNITS)})(?![\w²³/])"
        ),
        _unit,
    ),
    (
        re.compile(rf"(?<![\w.])({NUMBER})\s?({alternatives(m for m in MAGNITUDES if len(m) > 2)})\b"),
        lambda m: f"{number(m[1])} {m[2]}",
    ),
    (re.compile(rf"(?<![\w.])({NUMBER})([kK])\b"), lambda m: f"{number(m[1])} {'thousand' if m[2] == 'k' else 'K'}"),
)
