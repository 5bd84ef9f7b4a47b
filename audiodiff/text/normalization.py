"""Text in words: numbers, dates, times, money, units, addresses, as American English speaks them.

Rules run in order, the most specific first, each a pattern and what it is replaced with; what a rule leaves, later
rules see. The last rules read whatever digits and symbols are left, so the result has none. The tables are in
`readings`.
"""

import re
from collections.abc import Callable

from audiodiff.text.addresses import ADDRESS_RULES, PHONE_RULES
from audiodiff.text.dates import DATE_RULES
from audiodiff.text.number_words import cardinal, digits, number, ordinal, roman, year
from audiodiff.text.quantities import NUMBER, QUANTITY_RULES, alternatives
from audiodiff.text.readings import ABBREVIATIONS, MONARCHS, NUMBERED, STREETS, SYMBOLS, TITLES
from audiodiff.text.traced import TracedText

Rule = tuple[re.Pattern, Callable[[re.Match], str]]

# Up to 99; each half may be absent, not both: the lookbehind refuses the empty numeral before "Lady" or "C".
_ROMAN = r"(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?<=[IVXLC])"
_FRACTIONS = {2: "half", 3: "third", 4: "quarter"}


def _abbreviation(found: re.Match) -> str:
    return ABBREVIATIONS[found[0]] + _period(found)


def _street(found: re.Match) -> str:
    return f"{found[1]} {STREETS[found[2]]}{_period(found)}"


def _period(found: re.Match) -> str:
    """The period of an abbreviation that also ends its sentence."""
    last = not found.string[found.end() :].strip("\"”') ")
    return "." if last and found[0].endswith(".") else ""


def _roman_ordinal(found: re.Match) -> str:
    return f"{found[1]} the {ordinal(roman(found[2]))}"


def _fraction(found: re.Match) -> str:
    whole, above, below = found["whole"], int(found["above"]), int(found["below"])
    if not above > 0 or not 1 < below <= 100 or (above, below) in ((24, 7), (9, 11)):
        return f"{number(found['above'])} {number(found['below'])}"
    name = _FRACTIONS.get(below) or ordinal(below)
    plural = "" if above == 1 else "s"
    words = f"{cardinal(above)} {'halve' if name == 'half' and plural else name}{plural}"
    return f"{number(whole)} and {words}" if whole else words


def _version(found: re.Match) -> str:
    parts = found[0].split(".")
    joint = " dot " if len(parts) > 3 else " point "
    return joint.join(number(part) if len(part) < 3 or joint == " point " else digits(part) for part in parts)


def _year_or_number(found: re.Match) -> str:
    value = int(found[0])
    return year(value) if 1100 <= value <= 2099 else cardinal(value)


def _range(found: re.Match) -> str:
    first, last = found["first"], found["last"]
    if found["dash"] != found["dash"].strip() and float(first.replace(",", "")) > float(last.replace(",", "")):
        return f"{number(first)} minus {number(last)}"
    return " to ".join(
        year(int(end)) if re.fullmatch(r"1[1-9]\d\d|20\d\d", end) else number(end) for end in (first, last)
    )


def _symbol(found: re.Match) -> str:
    word = SYMBOLS[found[0]]
    return word if word in (",", "(", ")") else f" {word} "


_RULES: tuple[Rule, ...] = (
    *ADDRESS_RULES,
    *DATE_RULES,
    *PHONE_RULES,
    *QUANTITY_RULES,
    (
        re.compile(rf"\b({NUMBERED}|{NUMBERED.lower()}) (?!I [a-z])({_ROMAN})\b(?!['.]\w)"),
        lambda m: f"{m[1]} {cardinal(roman(m[2]))}",
    ),
    (re.compile(rf"\b((?:King|Queen|Pope|Emperor|Tsar) \w+) ({_ROMAN})\b(?!['.]\w)"), _roman_ordinal),
    (re.compile(rf"\b({MONARCHS}) (?!I\b)({_ROMAN})\b(?!['.]\w)"), _roman_ordinal),
    (
        re.compile(r"\b([A-Z][a-z]+) ((?=[VX]?I|IV|IX)(?:X{0,3})(?:IX|IV|V?I{2,3}|VI))\b(?!['.]\w)"),
        lambda m: f"{m[1]} {cardinal(roman(m[2]))}",
    ),
    # An address ends with the abbreviation that before a name is a title: "Main St." and "St. Mary".
    (re.compile(rf"\b([A-Z][a-z]+) ({alternatives(STREETS)})\.(?! ?[A-Z][a-z])"), _street),
    (re.compile(rf"\b({alternatives(TITLES)})\.? (?=[A-Z])"), lambda m: f"{TITLES[m[1]]} "),
    (re.compile(r"\b(Nos?)\. ?(?=\d)"), lambda m: "number " if m[1] == "No" else "numbers "),
    (re.compile(r"\bp\. ?(?=\d)"), lambda m: "page "),
    (re.compile(rf"(?<![\w.])(?:{alternatives(ABBREVIATIONS)})(?!\w)"), _abbreviation),
    (re.compile(r"(?<!\w)#(?=\d)"), lambda m: "number "),
    (re.compile(r"(?<![\w.,])(?:(?P<whole>\d+) )?(?P<above>\d{1,3})/(?P<below>\d{1,3})(?![\w/]|\.\d)"), _fraction),
    (re.compile(rf"(?<![\w.,-])(?P<first>{NUMBER})(?P<dash>\s?[-–]\s?)(?P<last>{NUMBER})(?![\w-]|[.,]\d)"), _range),
    (re.compile(r"(?<![\w.,:])(\d{1,3}):(\d{1,3})(?![\w:])"), lambda m: f"{number(m[1])} to {number(m[2])}"),
    (re.compile(r"(?<![\w.])\d+(?:\.\d+){2,}(?!\w)"), _version),
    (re.compile(r"(?<=\d) ?[x×] ?(?=\d)"), lambda m: " by "),
    (re.compile(r"(?<=\d)x\b"), lambda m: " times"),
    (re.compile(r"(?<=[\d)a-z]) ?\* ?(?=\d)"), lambda m: " times "),
    (re.compile(r"\b(\d[\d,]*)(?:st|nd|rd|th)\b"), lambda m: ordinal(int(m[1].replace(",", "")[:15]))),
    (re.compile(r"(?<=[A-Za-z])-(?=\d)"), lambda m: " "),
    (re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"), lambda m: " "),
    (
        re.compile(
            r"(?<![\w.,-])(?:1[1-9]|20)\d\d(?![\w,.]|-\d)(?! ?[$%€£])|(?<![\w.,-])(?:1[1-9]|20)\d\d(?=[.,](?!\d))"
        ),
        _year_or_number,
    ),
    (re.compile(rf"(?<![\w.])-?{NUMBER}|\.\d+|\d+"), lambda m: f" {number(m[0])} "),
    (re.compile(r"(?<=\w)/(?=\w)"), lambda m: " slash "),
    (re.compile(r"-{2,}| [-–] "), lambda m: " — "),
    (re.compile(r"\.{3,}"), lambda m: "…"),
    (re.compile("|".join(map(re.escape, SYMBOLS))), _symbol),
    (re.compile(r"\s+"), lambda m: " "),
    (re.compile(r" (?=[,.;:!?)…”])|(?<=[(“]) "), lambda m: ""),
    (re.compile(r",(?:,| ,)+"), lambda m: ","),
)


def normalize(text: str) -> str:
    """A text with words for everything that is not one.

    Punctuation stays; digits and symbols that are spoken do not.
    """
    return normalize_traced(TracedText.of(text)).text


def normalize_traced(text: TracedText) -> TracedText:
    """As `normalize`, with what every character of it stands for."""
    for pattern, replacement in _RULES:
        text = text.sub(pattern, replacement)
    return text.strip()
