"""`SpeechEncoder`: all of an acoustic model that comes before its U-Net."""

import math

from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.prosody import PitchEmbedding, ProsodyPredictor
from audiodiff.nn.text_encoder import FrameDecoder, TextEncoder
from audiodiff.ranges import Positive

MIN_SCALE, MAX_SCALE = 0.1, math.e  # of normalized mels; the least is about 2 dB


class SpeechEncoder(nn.Module):
    """All that comes before the U-Net: text encoder, prosody predictor, frame decoder, and the mel's mean and scale.

    Args:
        symbols: number of symbol ids.
        n_mels: M.
        channels: C of symbols and frames; the network's conditioning channels.
        text_blocks, prosody_blocks, frame_blocks: residual blocks of the parts.
        embedding: width of the speaker embedding, the network's.
        fold: mel frames that are one frame of the process.
    """

    def __init__(
        self,
        symbols: Positive,
        n_mels: Positive,
        channels: Positive = 192,
        text_blocks: Positive = 4,
        prosody_blocks: Positive = 2,
        frame_blocks: Positive = 4,
        embedding: Positive = 128,
        fold: Positive = 2,
    ):
        super().__init__()
        self.symbols, self.n_mels, self.channels, self.embedding, self.fold = symbols, n_mels, channels, embedding, fold
        self.text_blocks, self.prosody_blocks, self.frame_blocks = text_blocks, prosody_blocks, frame_blocks
        self.text = TextEncoder(symbols, channels, text_blocks, embedding=embedding)
        self.prosody = ProsodyPredictor(channels, prosody_blocks, embedding)
        self.pitch = PitchEmbedding(channels)
        self.decoder = FrameDecoder(channels, frame_blocks, embedding, fold)
        self.mean = FrameConv1d(channels, fold * n_mels, 1)
        self.log_scale = FrameConv1d(channels, fold * n_mels, 1)

    def scale(self, frames: Tensor) -> Tensor:
        """Standard deviation (B, fold x M, F) of the normalized mel around its mean, given frames (B, C, F).

        Bounded from below: where the text determines nearly everything, the rest is inaudible.
        """
        return self.log_scale(frames).clamp(math.log(MIN_SCALE), math.log(MAX_SCALE)).exp()
