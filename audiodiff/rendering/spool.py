"""Clips that come piece by piece, kept on disk until their level is known.

The peak of a clip, to which it is to be brought, is known at its end. Ten minutes of stereo are a hundred megabytes:
they wait in a scratch file, so that memory does not grow with the length.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, Self

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.loudness import peak_gain
from audiodiff.errors import UserError

_BLOCK = 2**20  # values that are read back at once


class Spool:
    """A batch of clips, in scratch files that end with the `with` block.

    Attributes:
        samples: of each clip so far.
        finite: whether all samples were, of each clip.
    """

    def __init__(self):
        self.samples, self.channels = 0, 0
        self._sums = torch.empty(0)
        self._files: list[BinaryIO] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """The spool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the scratch files."""
        self._open.close()

    def add(self, piece: Tensor) -> None:
        """Put the next stretch (B, C, T) behind what there is."""
        clips, channels, samples = piece.shape
        if not self._sums.numel():
            self.channels, self.finite = channels, torch.ones(clips, dtype=torch.bool)
            self._sums = torch.zeros(clips, channels, dtype=torch.float64)
            self._low = torch.full((clips, channels), torch.inf)
            self._high = -self._low
        try:
            while len(self._files) < clips:
                # Without a buffer, which would meet a full disk only when the clip is read back, or closed.
                scratch = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, the stack closes it
                self._files.append(self._open.enter_context(scratch))
            for file, rows in zip(self._files, piece, strict=True):
                _write(file, rows.T.contiguous().numpy().astype(np.float32).tobytes())
        except OSError as error:
            problem = f"takes no more scratch files ({error.strerror or error})"
            raise UserError(_scratch_folder(), problem, "free some space, or name another folder by TMPDIR") from error
        self.samples += samples
        self.finite &= piece.isfinite().all(-1).all(-1)
        if samples:
            self._sums += piece.double().sum(-1)
            self._low, self._high = (
                torch.minimum(self._low, piece.amin(-1)),
                torch.maximum(self._high, piece.amax(-1)),
            )

    def clip(self, number: int, peak: float | None) -> Iterator[Tensor]:
        """One clip (C, T) piece by piece, normalized as by `loudness.normalize_peak`.

        Args:
            number: of the clip.
            peak: level to normalize to; None: not normalized.
        """
        mean = (self._sums[number] / max(self.samples, 1)).float()
        highest = torch.maximum(self._high[number] - mean, mean - self._low[number]).max()
        gain = 1.0 if peak is None else float(peak_gain(highest, peak))
        offset = torch.zeros_like(mean) if peak is None else mean
        file = self._files[number]
        file.seek(0)
        while block := file.read(4 * self.channels * (_BLOCK // self.channels)):
            values = torch.from_numpy(np.frombuffer(block, np.float32).copy()).unflatten(0, (-1, self.channels))
            yield (values.T - offset[:, None]) * gain


def _write(file: BinaryIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]  # an unbuffered file may take a part


def _scratch_folder() -> str:
    """Where scratch files go; where no folder takes any, tempfile cannot say."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "the folder for temporary files"
