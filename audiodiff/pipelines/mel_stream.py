"""`MelStream`: a mel that arrives in pieces of any length, cut into chunks of fixed length, and the audio made of them.

What a chunk becomes depends on the frames alone and not on how they arrive: a subclass computes whenever `first_chunk`
frames, and then every `chunk` frames more, are there, and never looks beyond them.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.errors import UserError
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.inputs import mel_tensor


class MelStream(Iterator[Audio]):
    """Iterator over the audio of mel chunks.

    Args:
        model: the vocoder model, on its device.
        mel_chunks: consecutive log-mels (M, F_i); empty ones are skipped.
        chunk: frames per computation.
        look_ahead: frames that the first computation waits for besides.

    Attributes:
        halo: samples of look-ahead: how much mel must follow a sample before it is final.

    Raises:
        UserError: a chunk below 1; during iteration an invalid mel chunk (after the audio of earlier ones), or no
            frames at all.
    """

    halo: int

    def __init__(self, model: VocoderModel, mel_chunks: Iterable[Tensor], chunk: int, look_ahead: int = 0):
        if chunk < 1:
            raise UserError(f"chunk {chunk}", "is below 1", "give a number of frames, such as 8")
        self.model, self.chunk, self.first_chunk = model, chunk, chunk + look_ahead
        self.hop, self.device = model.mel_spec.hop_length, model.analysis.window.device
        # The mel that is still needed, from frame `first` on.
        self.mel, self.first = torch.empty(model.mel_spec.n_mels, 0, device=self.device), 0
        self._chunks = self._run(mel_chunks)

    def __next__(self) -> Audio:
        """The next audio chunk (T_i,), a number of whole frames."""
        return next(self._chunks)

    def _run(self, mel_chunks: Iterable[Tensor]) -> Iterator[Audio]:
        waiting, frames, size = self.mel.cpu(), 0, self.first_chunk
        for number, mel in enumerate(mel_chunks):
            try:
                mel = mel_tensor(mel, self.model.mel_spec, f"mel chunk {number}", empty=True)
            except UserError:
                if frames:
                    yield from self._advance(waiting, last=True)
                raise
            waiting, frames = torch.cat([waiting, mel.cpu()], -1), frames + mel.shape[-1]
            while waiting.shape[-1] >= size:
                piece, waiting = waiting.split([size, waiting.shape[-1] - size], -1)
                size = self.chunk
                yield from self._advance(piece, last=False)
        if not frames:
            raise UserError("mel chunks", "contain no frames", "give at least one frame")
        yield from self._advance(waiting, last=True)

    @abstractmethod
    def _advance(self, mel: Tensor, last: bool) -> list[Audio]:
        """The audio that is final with the next frames (M, F), of which `last` are the last."""

    def _append(self, mel: Tensor) -> int:
        """Append frames (M, F); the number of frames so far."""
        self.mel = torch.cat([self.mel, mel.to(self.device)], -1)
        return self.first + self.mel.shape[-1]

    def _keep_from(self, frame: int) -> None:
        """Drop the frames before this one."""
        # A copy: a view would hold the memory of the whole tensor.
        self.mel, self.first = self.mel[:, frame - self.first :].clone(), frame

    def _frames(self, start: int, samples: int) -> Tensor:
        """The log-mel (1, M, F) of a segment that starts at sample `start`."""
        first = start // self.hop - self.first
        return self.mel[None, :, first : first + samples // self.hop]
