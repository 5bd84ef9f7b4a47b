"""An audio file as a recording of which parts are read."""

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.errors import UserError


class FileRecording:
    """A file as a `Recording`, of which parts are read.

    Args:
        file: open; stays open.
    """

    def __init__(self, file: AudioFile):
        self.file, self.name = file, str(file.path)
        self.sample_rate, self.samples, self.channels = file.sample_rate, file.samples, file.channels
        if not self.samples:
            raise UserError(file.path, "holds no samples", "choose another")

    def read(self, start: int, stop: int) -> Tensor:
        """The samples [start, stop): (C, stop - start).

        Raises:
            UserError: damaged, or not finite.
        """
        blocks = list(self.file.blocks(start, stop - start)) if stop > start else []
        signal = np.concatenate(blocks or [np.zeros((0, self.channels), np.float32)])
        if not np.isfinite(signal).all():
            raise UserError(self.file.path, "holds NaN or infinite samples", "repair the recording")
        return torch.from_numpy(np.ascontiguousarray(signal.T))
