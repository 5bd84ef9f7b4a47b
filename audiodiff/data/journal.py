"""Journal of a synthesized corpus: durations and pitch of the symbols of each clip, and its synthesis time.

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
        self._pitch: dict[str, tuple[float, ...]] = {}
        self._core_seconds: dict[str, float] = {}
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        self._is_cut = not text.endswith("\n") and bool(text)
        for line in text.split("\n"):
            try:
                key, durations, core_seconds, *rest = json.loads(line)
                entry = tuple(map(float, durations)), float(core_seconds), tuple(map(float, *rest or [()]))
            except (ValueError, TypeError, RecursionError):
                continue
            self._durations[str(key)], self._core_seconds[str(key)], self._pitch[str(key)] = entry

    def durations(self, key: str) -> tuple[float, ...]:
        """Durations of a clip's symbols as in `manifest.Clip`, () if they are unknown."""
        return self._durations.get(key, ())

    def pitch(self, key: str) -> tuple[float, ...]:
        """Pitch of a clip's symbols as in `manifest.Clip`, () if it was not stated."""
        return self._pitch.get(key, ())

    def add(self, key: str, durations: tuple[float, ...], core_seconds: float, pitch: tuple[float, ...] = ()) -> None:
        """Append a clip: its durations, seconds of processor time, and its pitch if it is stated."""
        self._durations[key], self._core_seconds[key], self._pitch[key] = durations, core_seconds, pitch
        entry = [key, durations, round(core_seconds, 3), *([pitch] if pitch else [])]
        line = json.dumps(entry, ensure_ascii=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._is_cut else "") + line + "\n")
        self._is_cut = False

    @property
    def core_hours(self) -> float:
        """Processor time of all clips, in hours."""
        return sum(self._core_seconds.values()) / 3600
