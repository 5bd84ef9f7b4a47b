"""Phone labels in the form of EST and XWaves: a header up to a line `#`, then `END COLOR LABEL` a line, in seconds."""

from itertools import groupby
from pathlib import Path

from audiodiff.errors import UserError
from audiodiff.text import russian

SILENCE = russian.SILENCE


def read_labels(path: Path) -> list[tuple[float, str]]:
    """End in seconds and label of each phone, in order.

    Raises:
        UserError: it cannot be read, a line is malformed, or times go back.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})") from error
    found: list[tuple[float, str]] = []
    start = lines.index("#") + 1 if "#" in lines else 0
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip():
            continue
        cells = line.split()
        try:
            end, label = float(cells[0]), cells[2]
        except (ValueError, IndexError):
            raise UserError(f"{path}, line {number}", "is not `END COLOR LABEL`", "check the file") from None
        if not (found[-1][0] if found else 0) <= end < float("inf"):
            raise UserError(f"{path}, line {number}", f"ends at {end:g} s, before its predecessor", "check the file")
        found.append((end, label))
    return found


def russian_phonemes(labels: list[tuple[float, str]], seconds: float) -> tuple[str, tuple[float, ...]]:
    """Phonemes and durations, as in `manifest.Clip`, of a recording of `seconds`; silences in a row are one symbol.

    Labels beyond the recording's end are cut off there.

    Raises:
        UserError: an unknown label.
    """
    starts = [0.0, *(end for end, _ in labels)]
    parts = [(label, max(0.0, min(end, seconds) - start)) for (end, label), start in zip(labels, starts, strict=False)]
    merged = [(label, sum(duration for _, duration in group)) for label, group in _runs(parts)]
    before = merged.pop(0)[1] if merged and merged[0][0] == SILENCE else 0.0
    if merged and merged[-1][0] == SILENCE:
        merged.pop()
    spoken = before + sum(duration for _, duration in merged)
    durations = (before, *(duration for _, duration in merged), max(0.0, seconds - spoken))
    return russian.from_labels(label for label, _ in merged), tuple(round(one, 6) for one in durations)


def _runs(parts: list[tuple[str, float]]) -> list[tuple[str, list[tuple[str, float]]]]:
    """Silences in a row together, every other part by itself."""
    keys = (part[0] if part[0] == SILENCE else str(number) for number, part in enumerate(parts))
    groups = groupby(zip(keys, parts, strict=True), key=lambda pair: pair[0])
    found = [[part for _, part in group] for _, group in groups]
    return [(group[0][0], group) for group in found]
