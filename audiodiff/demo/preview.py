"""How often a request shows what forms: rarely enough that sampling is hardly slower."""

import time
from collections.abc import Callable
from typing import Any

from audiodiff.demo.clip_list import forming
from audiodiff.pipelines.pipeline import Progress

SHARE = 0.2  # of the time of a request that its previews take at most
PAUSE = 0.2  # seconds between two of them at least


class Preview:
    """Values of a `ClipList` for the steps of one request; None where a step is not shown.

    Args:
        audible: send the sound, too.
        clock: in seconds.
    """

    def __init__(self, audible: bool = False, clock: Callable[[], float] = time.monotonic):
        self.audible, self.clock = audible, clock
        self._next = 0.0

    def __call__(self, progress: Progress) -> dict[str, Any] | None:
        """The value for a step, within the callback of the sampler; the last step is not shown: the result follows."""
        started = self.clock()
        if started < self._next or progress.done >= progress.total:
            return None
        shown = forming(progress, self.audible)
        ended = self.clock()
        self._next = ended + max(PAUSE, (ended - started) * (1 - SHARE) / SHARE)
        return shown
