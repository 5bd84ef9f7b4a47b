"""What synthesizing each clip of a corpus found out: the durations of its symbols, and the time it took.

One line of JSON a clip, appended before its file is written, so that an interrupted preparation goes on where it
stopped. A line that was cut off is ignored, and its clip is synthesized again.
"""

import json
from pathlib import Path

NAME = "durations.jsonl"


class Journal:
    """The journal in a corpus's folder.

    Args:
        folder: of the corpus.
    """

    def __init__(self, folder: Path):
        self.path = folder / NAME
        self._durations: dict[str, tuple[float, ...]] = {}
        self._core_seconds: dict[str, float] = {}
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        self._is_cut = not text.endswith("\n") and bool(text)
        for line in text.split("\n"):
            try:
                key, durations, core_seconds = json.loads(line)
                entry = str(key), tuple(map(float, durations)), float(core_seconds)
            except (ValueError, TypeError, RecursionError):
                continue
            self._durations[entry[0]], self._core_seconds[entry[0]] = entry[1:]

    def durations(self, key: str) -> tuple[float, ...]:
        """Durations of a clip's symbols as in `manifest.Clip`, () if they are unknown."""
        return self._durations.get(key, ())

    def add(self, key: str, durations: tuple[float, ...], core_seconds: float) -> None:
        """Append a clip: its durations, and seconds of processor time."""
        self._durations[key], self._core_seconds[key] = durations, core_seconds
        line = json.dumps([key, durations, round(core_seconds, 3)], ensure_ascii=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._is_cut else "") + line + "\n")
        self._is_cut = False

    @property
    def core_hours(self) -> float:
        """Processor time of all clips, in hours."""
        return sum(self._core_seconds.values()) / 3600
