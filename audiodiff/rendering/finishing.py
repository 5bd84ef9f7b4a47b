"""Finishing: what happens to a clip between its synthesis and its file: loudness, sample rate, watermark."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import soxr
import torch
from torch import Tensor

from audiodiff.audio.loudness import LoudnessMeter
from audiodiff.audio.watermark import embed_chunks
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.spool import Spool


def finish(pieces: Iterable[Tensor], sample_rate: int, files: FileOptions) -> tuple[Iterable[Tensor], int]:
    """A clip (C, T_i), piece by piece, as it is to be written, and its sample rate.

    Args:
        pieces: of the clip.
        sample_rate: of the pieces, in Hz.
        files: what is requested.
    """
    if files.loudness is not None:
        pieces = normalize_loudness(pieces, sample_rate, files.loudness)
    if files.sample_rate not in (None, sample_rate):
        pieces, sample_rate = resample_pieces(pieces, sample_rate, files.sample_rate), files.sample_rate
    return embed_chunks(pieces, sample_rate) if files.watermark else pieces, sample_rate


def normalize_loudness(pieces: Iterable[Tensor], sample_rate: int, target: float) -> Iterator[Tensor]:
    """Scale a clip to a loudness in LUFS, or as far as its peak stays within full scale; silence stays as it is.

    The clip is buffered on disk, since its gain is known at its end.
    """
    with Spool() as spool:
        meter = None
        for piece in pieces:
            meter = meter or LoudnessMeter(len(piece), sample_rate)
            meter.add(piece)
            spool.add(piece[None])
        if meter is None:
            return
        wanted = 10 ** ((target - meter.lufs) / 20) if np.isfinite(meter.lufs) else 1.0
        gain = min(wanted, 1 / meter.peak) if meter.peak else 1.0
        yield from (piece * gain for piece in spool.clip(0, None))


def resample_pieces(pieces: Iterable[Tensor], from_rate: int, to_rate: int) -> Iterator[Tensor]:
    """Resample a clip (C, T_i), piece by piece, as `audio.io.resample` does as a whole."""
    stream, waiting = None, None
    for piece in chain(pieces, [None]):
        if waiting is not None:
            stream = stream or soxr.ResampleStream(from_rate, to_rate, len(waiting), quality="HQ")
            samples = stream.resample_chunk(waiting.T.contiguous().numpy(), last=piece is None)
            yield torch.from_numpy(np.ascontiguousarray(samples.T))
        waiting = piece
