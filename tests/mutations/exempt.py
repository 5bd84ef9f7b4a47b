"""Faults that cannot matter, each with the reason.

A key is (module, text of the line, what is written there): "a number" of the line or an operator. One that stands no
longer in the source is an error, so that the list cannot outlive its reasons.
"""

EXEMPT: dict[tuple[str, str, str], str] = {}
