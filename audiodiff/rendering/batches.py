"""Batches that do not depend on what an interrupted run has finished.

In floating point a clip depends on the shape of its batch: the last bit of one in some thousand 16-bit samples does. So
a list is cut into batches as a whole, finished clips included, and a batch of which any clip is missing is sampled
whole, though only what is missing is written. Whenever a run is stopped, the same command then writes the bytes that an
uninterrupted one would have written. A clip that fails in every run costs its
batch in every run.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Clip(Protocol):
    """One clip of a list of work.

    Attributes:
        missing: whether it is still to be written.
    """

    missing: bool


ClipT = TypeVar("ClipT", bound=Clip)


def unfinished_batches(clips: Sequence[ClipT], size: int) -> list[Sequence[ClipT]]:
    """The batches of at most `size` of the whole list, in order, that have a missing clip."""
    batches = (clips[start : start + size] for start in range(0, len(clips), size))
    return [batch for batch in batches if any(clip.missing for clip in batch)]
