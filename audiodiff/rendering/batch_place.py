"""The place of a clip in its batch, which decides its last bits.

In floating point a clip depends on the shape of its batch (`rendering.jobs`). So files state their place in theirs, and
to make one again, bit for bit, it is sampled at the same place of a batch of the same shape, whatever the others are.
"""

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from audiodiff.errors import UserError

_LARGEST, _LONGEST = 1 << 12, 1 << 22  # clips and frames: what a file says of itself is anybody's text


@dataclass(frozen=True)
class BatchPlace:
    """A place in a batch.

    Attributes:
        index: from 0 on.
        size: clips of the batch.
        frames: of the longest clip; 0: all are as long.
    """

    index: int
    size: int
    frames: int = 0

    def record(self) -> dict[str, Any]:
        """Entries of a sidecar; none of a batch of one clip."""
        if self.size == 1:
            return {}
        return {"batch": [self.index, self.size, self.frames] if self.frames else [self.index, self.size]}

    @classmethod
    def read(cls, settings: Any, subject: str) -> Self | None:
        """The place that settings state, None for a batch of one clip.

        Raises:
            UserError: it is none.
        """
        found = settings.get("batch")
        if found is None:
            return None
        whole = isinstance(found, list) and len(found) in (2, 3) and all(type(number) is int for number in found)
        if not whole or not 0 <= found[0] < found[1] <= _LARGEST or not all(0 <= one <= _LONGEST for one in found[2:]):
            raise UserError(f"{subject}, batch {found!r:.60}", "is no place in a batch", "leave it out")
        return cls(*found)

    def mels(self, mel: Tensor) -> list[Tensor]:
        """A batch of this shape with a mel (M, F) at this place; the others repeat it, to the longest one's frames."""
        repeats = -(-self.frames // mel.shape[-1])
        longest = mel.repeat(1, max(repeats, 1))[:, : max(self.frames, mel.shape[-1])]
        return [mel if number == self.index else longest for number in range(self.size)]
