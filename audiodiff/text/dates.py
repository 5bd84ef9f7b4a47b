"""Dates, years and times of day, as they are spoken."""

import re
from collections.abc import Callable

from audiodiff.text.number_words import cardinal, ordinal, year
from audiodiff.text.readings import MONTHS, WEEKDAYS

_NAMES = {name[:3].lower(): name for name in MONTHS}
_MONTH = "|".join([*MONTHS, *(f"{name[:3]}\\." for name in MONTHS if name != "May"), "Sept\\.?"]) + (
    "|" + "|".join(rf"{name[:3]}(?= \d)" for name in MONTHS)
)
_SHORT = {f"{name[:length]}.": name for name in WEEKDAYS for length in (3, 4, 5)}
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"


def _spoken(month: int | str, day: int, written_year: str | None) -> str:
    name = MONTHS[month - 1] if isinstance(month, int) else _NAMES[month[:3].lower()]
    return f"{name} {ordinal(day)}" + (f", {year(int(written_year))}" if written_year else "")


def _iso(found: re.Match) -> str:
    month, day = int(found["month"]), int(found["day"])
    return _spoken(month, day, found["year"]) if 1 <= month <= 12 and 1 <= day <= 31 else found[0]


def _numeric(found: re.Match) -> str:
    month, day, written = int(found["month"]), int(found["day"]), found["year"]
    if month > 12:  # day first
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return found[0]
    if len(written) == 2:
        written = ("19" if int(written) > 50 else "20") + written
    return _spoken(month, day, written)


def _month_day(found: re.Match) -> str:
    day = int(found["day"])
    if not 1 <= day <= 31:
        return found[0]
    if found["last"]:
        words = f"{_spoken(found['month'], day, None)} to {ordinal(int(found['last']))}"
        return words + (f", {year(int(found['year']))}" if found["year"] else "")
    return _spoken(found["month"], day, found["year"])


def _day_month(found: re.Match) -> str:
    day = int(found["day"])
    if not 1 <= day <= 31:
        return found[0]
    words = f"the {ordinal(day)} of {_NAMES[found['month'][:3].lower()]}"
    return words + (f", {year(int(found['year']))}" if found["year"] else "")


def _month_year(found: re.Match) -> str:
    return f"{_NAMES[found['month'][:3].lower()]} {year(int(found['year']))}"


def _decade(found: re.Match) -> str:
    words = year(int(found[1]))
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _clock(found: re.Match) -> str:
    hour, minute, second, half = int(found["hour"]), int(found["minute"]), found["second"], found["half"]
    if hour > 24 or minute > 59 or int(second or 0) > 59:
        return found[0]
    words = cardinal(hour)
    if minute:
        words += f" {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif not half and not second:
        words += " o'clock" if 0 < hour <= 12 else " hundred"
    if second:
        words += f" and {cardinal(int(second))} second{'' if int(second) == 1 else 's'}"
    return words + _half(found)


def _hour(found: re.Match) -> str:
    hour = int(found["hour"])
    return cardinal(hour) + _half(found) if 1 <= hour <= 12 else found[0]


def _half(found: re.Match) -> str:
    # Letters with periods are spelled; the last one also ends a sentence.
    return f" {found['half'].upper()}.M." if found["half"] else ""


_HALF = r"\s?(?P<half>[aApP])\.?[mM]\b\.?"
_HOUR_OF_DAY = r"\d{1,2}(?::\d\d|\s?[aApP]\.?[mM]\b)"
DATE_RULES: tuple[tuple[re.Pattern, Callable[[re.Match], str]], ...] = (
    (
        re.compile(rf"(?<![\d-]){_YEAR}-(?P<month>\d\d)-(?P<day>\d\d)(?![\d-])(?:T(?=\d\d:))?"),
        lambda m: _iso(m) + (" " if m[0].endswith("T") else ""),
    ),
    (re.compile(r"(?<![\d/])(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}|\d\d)(?![\d/])"), _numeric),
    (re.compile(rf"\b(?:[Tt]he )?{_DAY}(?: of)? (?P<month>{_MONTH})(?!\w)(?:,? {_YEAR}\b)?(?! ?[\d:])"), _day_month),
    (
        re.compile(rf"\b(?P<month>{_MONTH})(?!\w) {_DAY}(?:[-–](?P<last>\d{{1,2}}))?\b(?![:%]|,\d)(?:,? {_YEAR}\b)?"),
        _month_day,
    ),
    (re.compile(rf"\b(?P<month>{_MONTH})(?!\w),? {_YEAR}\b"), _month_year),
    (re.compile(rf"\b({'|'.join(map(re.escape, _SHORT))})(?=,? (?:[A-Z\d]|the\b))"), lambda m: _SHORT[m[0]]),
    (re.compile(r"(?<!\w)((?:1[1-9]|20)\d0)s\b"), _decade),
    (re.compile(r"(?<!\w)'?([2-9]0)s\b"), _decade),
    (re.compile(r"(?<![\w.,:-])'(\d\d)\b(?!')"), lambda m: ("oh " if m[1] < "10" else "") + cardinal(int(m[1]))),
    (re.compile(rf"(?<![\w.,:-])({_HOUR_OF_DAY}(?:{_HALF})?)\s?[-–]\s?(?=\d)"), lambda m: f"{m[1]} to "),
    (re.compile(rf"(?<![\w.,:-])(\d{{1,2}})\s?[-–]\s?(?={_HOUR_OF_DAY})"), lambda m: f"{m[1]} to "),
    (
        re.compile(rf"(?<![\w.,:])(?P<hour>\d{{1,2}}):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:{_HALF})?(?![\d:])"),
        _clock,
    ),
    (re.compile(rf"(?<![\w.,:])(?P<hour>\d{{1,2}}){_HALF}(?!\w)"), _hour),
)
