"""The head of a contrastive pair: from an encoded text to the space of audio vectors, and the scale of similarities.

The scale is the inverse of the softmax temperature. It is learned as its logarithm, from 1 / 0.07 at first, and at most
100, beyond which training is unstable (CLIP, Radford et al. 2021, arXiv 2103.00020, section 2.5).
"""

import math

import torch
from torch import Tensor, nn

from audiodiff.nn.condition import Condition
from audiodiff.ranges import Positive

_INITIAL_TEMPERATURE, _LARGEST_SCALE = 0.07, 100.0


class TextHead(nn.Module):
    """Encoded texts to vectors (B, E).

    Args:
        tokens: D of the tokens of a text.
        sentence: width of its global embedding.
        embedding: E.
    """

    def __init__(self, tokens: Positive, sentence: Positive, embedding: Positive):
        super().__init__()
        self.tokens, self.sentence, self.embedding = tokens, sentence, embedding
        self.project = nn.Linear(tokens + sentence, embedding)
        self.log_scale = nn.Parameter(torch.empty(()))
        nn.init.constant_(self.log_scale, -math.log(_INITIAL_TEMPERATURE))

    def scale(self) -> Tensor:
        """What similarities are multiplied by before the softmax, ()."""
        return self.log_scale.exp().clamp(max=_LARGEST_SCALE)

    def forward(self, condition: Condition) -> Tensor:
        """Project the mean of a text's tokens, and its global embedding."""
        tokens, mask, sentence = condition.tokens, condition.token_mask, condition.global_embedding
        assert tokens is not None and mask is not None and sentence is not None
        valid = mask[..., None].to(tokens.dtype)
        mean = (tokens * valid).sum(1) / valid.sum(1).clamp(min=1)
        return self.project(torch.cat([mean, sentence], dim=1))
