"""Numbers in American English words, without hyphens: the front end stresses "twenty six" on both words."""

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ("", "", *["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"])
_GROUPS = ("", "thousand", "million", "billion", "trillion")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
LONGEST = 3 * len(_GROUPS)  # digits; longer ones are read digit by digit


def cardinal(number: int) -> str:
    """123 as "one hundred twenty three".

    Args:
        number: from 0 to 10^15 - 1.
    """
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{_ONES[hundreds]} hundred" + (f" {cardinal(rest)}" if rest else "")
    words = []
    for group in _GROUPS:
        number, rest = divmod(number, 1000)
        if rest:
            words.append(f"{cardinal(rest)} {group}".strip())
    return " ".join(reversed(words))


def ordinal(number: int) -> str:
    """123 as "one hundred twenty third"."""
    words = cardinal(number)
    cut = words.rfind(" ") + 1
    last = words[cut:]
    if last in _ORDINALS:
        return words[:cut] + _ORDINALS[last]
    return words[:cut] + (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")


def year(number: int) -> str:
    """1999 as "nineteen ninety nine", 2005 as "two thousand five", 1805 as "eighteen oh five"."""
    century, rest = divmod(number, 100)
    if number < 1000 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def digits(written: str) -> str:
    """Digits one by one; anything else in between is left out."""
    return " ".join(_ONES[int(digit)] for digit in written if digit in "0123456789")


def number(written: str) -> str:
    """A number as written: "1,250", "3.14", "007", "-5"."""
    sign = "minus " if written.startswith("-") else ""
    whole, point, fraction = written.lstrip("-").replace(",", "").partition(".")
    if (len(whole) > 1 and whole.startswith("0")) or len(whole) > LONGEST:
        words = digits(whole)
    else:
        words = cardinal(int(whole)) if whole else ""
    return sign + " ".join(filter(None, [words, f"point {digits(fraction)}" if point else ""]))


def roman(written: str) -> int:
    """The value of a Roman numeral."""
    values = [_ROMAN[letter] for letter in written]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))
