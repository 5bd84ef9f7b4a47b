"""Channels of a recording as uncorrelated signals, for models of a single channel.

With the covariance matrix of the channels, C = U diag(l) U^T, the components U^T x are uncorrelated and U takes them
back (principal component analysis). A sound panned to one place is one component, wherever it is and even where the
channels are in opposite phase. What makes a recording wide is in the others, at its own level. So a model of mono
signals that regenerates each component leaves places and width as they are.
"""

import torch
from torch import Tensor

_LEAST_POWER = 1e-6  # of all channels; a component below is rounding


def principal_components(waveform: Tensor) -> Tensor:
    """The directions (C, K) of the components of a waveform (C, T), by falling power; K <= C are not silent.

    Orthonormal, with a sum of at least 0 each, so that identical channels have their own polarity.
    """
    signal = waveform.double()
    powers, directions = torch.linalg.eigh(signal @ signal.T / max(signal.shape[-1], 1))
    powers, directions = powers.flip(0), directions.flip(1)
    directions = torch.where(directions.sum(0) < 0, -directions, directions)
    return directions[:, powers > _LEAST_POWER * powers.sum()].to(waveform)
