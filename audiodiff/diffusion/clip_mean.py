"""Means over each clip of a batch, whatever else is in the batch."""

import torch
from torch import Tensor


def clip_mean(values: Tensor, samples: Tensor | None = None) -> Tensor:
    """Mean of values (B, ..., T) over all but the batch, and over the first `samples` (B,) positions only: (B,)."""
    if samples is None:
        return values.flatten(1).mean(1)
    counts = samples.to(values.device).reshape(-1, *(1,) * (values.ndim - 1))
    valid = (torch.arange(values.shape[-1], device=values.device) < counts).expand_as(values)
    return (values * valid).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)
