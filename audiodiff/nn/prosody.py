"""Prosody of a text: duration and pitch of each symbol, predicted from the encoded text.

Durations are predicted as logarithms, pitch as its logarithm relative to 200 Hz besides a logit of voicing. The pitch
of the recording, in training, or the predicted one is added to the encoded symbols (Lancucki 2021, FastPitch, arXiv
2006.06873), so that a change of it changes the speech.
"""

import torch
from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import ResidualBlock, apply_mask
from audiodiff.ranges import Positive

_REFERENCE_HZ = 200.0
_LOG_SCALE = 0.3  # standard deviation of log F0, about, of several speakers
_MIN_DURATION = 0.3  # frames
_MAX_LOG_RATIO = 2.0  # beyond, the loss of a far too short duration grows in proportion to its logarithm


class ProsodyPredictor(nn.Module):
    """Predicts log durations and pitch of symbols.

    Args:
        channels: C of the encoded text.
        blocks: residual blocks.
        embedding: width of the speaker embedding.
    """

    def __init__(self, channels: Positive, blocks: Positive, embedding: Positive):
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels, embedding, 0, 2 ** (k % 2)) for k in range(blocks))
        self.conv_out = FrameConv1d(channels, 3, 1)

    def forward(self, hidden: Tensor, mask: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict.

        Args:
            hidden: (B, C, N) encoded text.
            mask: (B, 1, N).
            speaker: (B, embedding).

        Returns:
            Log durations in frames, normalized log pitch and logits of voicing, (B, N) each.
        """
        for block in self.blocks:
            hidden = block(hidden, speaker, None, mask)
        duration, pitch, voicing = apply_mask(self.conv_out(nn.functional.silu(hidden)), mask).unbind(1)
        return duration + 1.5, pitch, voicing

    def loss(
        self, prediction: tuple[Tensor, Tensor, Tensor], mask: Tensor, durations: Tensor, pitch: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Deviance of durations; mean square error of log pitch where voiced, with the cross-entropy of voicing.

        The deviance of a gamma distribution, y / m - 1 - log(y / m), is half the square error of logarithms where y is
        near m, but its least is at the mean, not at the geometric mean: speech is not hurried where durations vary.

        Args:
            prediction: of `forward`.
            mask: (B, 1, N).
            durations: (B, N) frames.
            pitch: (B, N) Hz, 0 where unvoiced.

        Returns:
            Two losses (B,), means over the symbols of each text.
        """
        log_duration, log_pitch, voicing = prediction
        valid, voiced = mask[:, 0], (pitch > 0).to(log_pitch)
        count = valid.sum(1).clamp(min=1)
        log_ratio = durations.clamp(min=_MIN_DURATION).log() - log_duration
        ratio = log_ratio.clamp(max=_MAX_LOG_RATIO).exp() * (1 + (log_ratio - _MAX_LOG_RATIO).clamp(min=0))
        duration_error = 2 * (ratio - 1 - log_ratio)
        pitch_error = (log_pitch - normalize_pitch(pitch)).square() * voiced
        voicing_error = nn.functional.binary_cross_entropy_with_logits(voicing, voiced, reduction="none")
        total = (duration_error * valid).sum(1) / count, ((pitch_error + voicing_error) * valid).sum(1) / count
        return total


class PitchEmbedding(nn.Module):
    """Pitch of symbols (B, N) in Hz, 0 where unvoiced, to vectors (B, channels, N)."""

    def __init__(self, channels: Positive):
        super().__init__()
        self.project = FrameConv1d(2, channels, 3, padding=1)

    def forward(self, pitch: Tensor, mask: Tensor) -> Tensor:
        """Embed."""
        features = torch.stack([normalize_pitch(pitch), (pitch > 0).to(pitch)], dim=1)
        return self.project(apply_mask(features, mask))


def normalize_pitch(pitch: Tensor) -> Tensor:
    """Normalized log pitch of Hz; 0 where unvoiced."""
    return torch.where(pitch > 0, (pitch.clamp(min=1.0) / _REFERENCE_HZ).log() / _LOG_SCALE, 0.0)


def restore_pitch(normalized: Tensor) -> Tensor:
    """Hz of normalized log pitch."""
    return (normalized * _LOG_SCALE).exp() * _REFERENCE_HZ
