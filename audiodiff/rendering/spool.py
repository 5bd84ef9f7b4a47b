"""Clips that arrive in chunks, buffered on disk until their peak is known.

The peak of a clip is known at its end. Ten minutes of stereo take a hundred megabytes: they are buffered in a scratch
file, so that memory does not grow with the length.
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

_BLOCK = 2**20  # values read back at a time


class Spool:
    """A batch of clips in scratch files, which the end of the `with` block deletes.

    Attributes:
        samples: samples per clip so far.
        channels: of each clip.
        finite: for each clip, whether all samples so far are finite.
    """

    def __init__(self):
        self.samples, self.channels = 0, 0
        self._sums = torch.empty(0)
        self._files: list[BinaryIO] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Return the spool."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the scratch files."""
        self._open.close()

    def add(self, chunk: Tensor) -> None:
        """Append the next chunk (B, C, T)."""
        clips, channels, samples = chunk.shape
        if not self._sums.numel():
            self.channels, self.finite = channels, torch.ones(clips, dtype=torch.bool)
            self._sums = torch.zeros(clips, channels, dtype=torch.float64)
            self._low = torch.full((clips, channels), torch.inf)
            self._high = -self._low
        try:
            while len(self._files) < clips:
                # Unbuffered: a buffer would meet a full disk only when the clip is read back or closed.
                scratch = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, the stack closes it
                self._files.append(self._open.enter_context(scratch))
            for file, rows in zip(self._files, chunk, strict=True):
                _write(file, rows.T.contiguous().numpy().astype(np.float32).tobytes())
        except OSError as error:
            problem = f"has no space for scratch files ({error.strerror or error})"
            raise UserError(_scratch_folder(), problem, "free some space, or set TMPDIR to another folder") from error
        self.samples += samples
        self.finite &= chunk.isfinite().all(-1).all(-1)
        if samples:
            self._sums += chunk.double().sum(-1)
            self._low, self._high = (
                torch.minimum(self._low, chunk.amin(-1)),
                torch.maximum(self._high, chunk.amax(-1)),
            )

    def clip(self, number: int, peak: float | None) -> Iterator[Tensor]:
        """One clip (C, T) in chunks, normalized as by `loudness.normalize_peak`.

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
    """Folder of scratch files; tempfile raises where no folder takes any."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "the folder for temporary files"
