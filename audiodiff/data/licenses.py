"""Terms of the licenses of recordings, which also apply to models that were trained on them.

Statements are read as the corpora write them: a name of a license, maybe with its holder in parentheses,
"CC-BY-SA-3.0 (2003-2010, Allison Smith)"; several are separated by "; ". Reading them errs on the side of caution: of
"GPL-2 or MIT" the terms of both are listed, and a statement that names no known license has unknown terms. This is a
summary for model cards, not legal advice.
"""

import re
from dataclasses import dataclass, fields
from functools import reduce
from operator import or_

_LABELS = {
    "attribution": "attribution",
    "share_alike": "share-alike",
    "copyleft": "copyleft (GPL)",
    "noncommercial": "non-commercial",
    "no_derivatives": "no derivatives",
    "unknown": "unknown",
}


@dataclass(frozen=True)
class Terms:
    """The conditions of one license or of several.

    Attributes:
        attribution: name the holders, or keep their notice (CC-BY, MIT, BSD, Apache, GPL).
        share_alike: adaptations carry the same license (CC-BY-SA, ODbL, Free Art License).
        copyleft: derived works carry the same license and come with their source (GPL, LGPL, AGPL, MPL, GFDL).
        noncommercial: no commercial use (CC-*-NC).
        no_derivatives: no adaptations (CC-*-ND).
        unknown: a license is missing or not recognized.
    """

    attribution: bool = False
    share_alike: bool = False
    copyleft: bool = False
    noncommercial: bool = False
    no_derivatives: bool = False
    unknown: bool = False

    def __or__(self, other: "Terms") -> "Terms":
        """The terms of both."""
        return Terms(*(getattr(self, field.name) or getattr(other, field.name) for field in fields(self)))

    def __str__(self) -> str:
        """The conditions in words, "none" if there are none."""
        return ", ".join(self.names) or "none"

    @property
    def names(self) -> tuple[str, ...]:
        """The conditions, one by one."""
        return tuple(label for name, label in _LABELS.items() if getattr(self, name))

    @property
    def restricted(self) -> bool:
        """Whether there are conditions beyond attribution, or unknown ones."""
        return self not in (Terms(), Terms(attribution=True))


_NOTICE = Terms(attribution=True)
# Whatever matches adds its terms. Creative Commons' licenses are named by their elements, in any order.
_CC = r"\b(?:CC|CREATIVE COMMONS)\b(?![ -]?(?:0|ZERO)).*"
_LICENSES = {
    re.compile(pattern): terms
    for pattern, terms in (
        (r"\bCC[ -]?0\b|COMMONS ZERO|PUBLIC.DOMAIN|\bUNLICENSE\b|\bWTFPL\b|\b0BSD\b", Terms()),
        (_CC + r"(?:\bBY\b|ATTRIBUTION)", _NOTICE),
        (_CC + r"(?:\bSA\b|SHARE.?ALIKE)", Terms(share_alike=True)),
        (_CC + r"(?:\bNC\b|NON.?COMMERCIAL)", Terms(noncommercial=True)),
        (_CC + r"(?:\bND\b|NO.?DERIV)", Terms(no_derivatives=True)),
        (r"\b[AL]?GPL|GENERAL PUBLIC|\bGFDL|\bMPL\b|\bEUPL\b", Terms(attribution=True, copyleft=True)),
        (r"\bODBL\b|\bFREE.ART\b|ART.LIBRE", Terms(attribution=True, share_alike=True)),
        (r"\bMIT\b|\bEXPAT\b|\bBSD\b|\bAPACHE\b|\bISC\b|\bZLIB\b|\bARTISTIC\b|\bO(?:DC|GA).BY\b", _NOTICE),
    )
}
# Names that packages write in several ways, in the way of SPDX.
_SPELLINGS = {
    re.compile(r"\bApache(?: Software)?(?: License)?,?[ -]*(?:version |v)?2(?:\.0)?(?![\w.+-])", re.I): "Apache-2.0",
    re.compile(r"\b(?:The )?MIT License\b", re.I): "MIT",
}
_DATA_COLUMN = re.compile(r"licen[cs]e", re.IGNORECASE)
_DATA_LINE = re.compile(r"^Data licen[cs]es: (.+)$", re.MULTILINE)


def license_terms(*statements: str) -> Terms:
    """The terms of all these statements together; without any, they are unknown."""
    return reduce(or_, (_terms(name) for statement in statements or ("",) for name in _split(statement)))


def license_names(*statements: str) -> tuple[str, ...]:
    """The licenses in these statements, without their holders, sorted, each once."""
    return tuple(sorted({name for statement in statements for name in _split(spdx(statement)) if name}))


def spdx(statement: str) -> str:
    """A statement with the identifiers of SPDX for the licenses that are spelled in several ways."""
    for pattern, identifier in _SPELLINGS.items():
        statement = pattern.sub(identifier, statement)
    return statement


def card_licenses(card: str) -> tuple[str, ...]:
    """The statements in a model card: the license column of its data table, else its line `Data licenses: ...`.

    Args:
        card: Markdown, of this version or an earlier one.
    """
    heads, rows = data_table(card)
    column = next((place for place, head in enumerate(heads) if _DATA_COLUMN.fullmatch(head)), None)
    if column is not None:
        return tuple(row[column] for row in rows)
    line = _DATA_LINE.search(card)
    return (line[1],) if line else ()


def data_table(card: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a model card's data table, the one that has a column of licenses; empty without one."""
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in card.split("\n") if "|" in line]
    for number, heads in enumerate(lines):
        if any(_DATA_COLUMN.fullmatch(head) for head in heads):
            rows = lines[number + 2 :]
            return heads, rows[: next((n for n, row in enumerate(rows) if len(row) != len(heads)), len(rows))]
    return [], []


def _split(statement: str) -> list[str]:
    """The licenses of a statement, without parentheses, which may be nested."""
    flat, depth = [], 0
    for letter in statement:
        depth += letter == "("
        if depth == 0:
            flat.append(letter)
        depth = max(depth - (letter == ")"), 0)
    return [" ".join(name.split()) for name in "".join(flat).split("; ")]


def _terms(name: str) -> Terms:
    found = [terms for pattern, terms in _LICENSES.items() if pattern.search(name.upper())]
    return reduce(or_, found) if found else Terms(unknown=True)
