"""Interpolation between noises.

A sampler expects states of the length that standard normal noise has, sqrt(n) in n dimensions, up to a fraction of
about 1 / sqrt(2 n). Of two independent noises the linear mean is shorter by sqrt(2), and what is sampled from it is too
smooth and too quiet. Spherical interpolation goes along the arc between them (Shoemake 1985, "Animating rotation with
quaternion curves"; for the latents of generative models White 2016, arXiv 1609.04468; of diffusion models Song et al.,
"Denoising Diffusion Implicit Models", arXiv 2010.02502, section 5.3).
"""

import torch
from torch import Tensor

_PARALLEL = 1e-4  # radians between directions below which the arc is a straight line


def slerp(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Spherical interpolation of the directions of two batches, and geometric interpolation of their lengths.

    Args:
        first, second: (B, ...) states; each clip is one vector.
        weight: 0 is the first, 1 the second.

    Returns:
        (B, ...) states. Where one of the two is zero, the linear interpolation.
    """
    a, b = first.flatten(1).double(), second.flatten(1).double()
    lengths = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    defined = (lengths[0] > 0) & (lengths[1] > 0)
    a_unit, b_unit = (vector / length.clamp(min=1e-300) for vector, length in zip((a, b), lengths, strict=True))
    # Of nearly parallel vectors the arc cosine keeps few digits; this is exact for any angle (Kahan).
    angle = 2 * torch.atan2((a_unit - b_unit).norm(dim=1, keepdim=True), (a_unit + b_unit).norm(dim=1, keepdim=True))
    sine = angle.sin().clamp(min=1e-300)
    curved = angle.sin() > _PARALLEL
    to_first = torch.where(curved, ((1 - weight) * angle).sin() / sine, 1.0 - weight)
    to_second = torch.where(curved, (weight * angle).sin() / sine, weight)
    length = lengths[0] ** (1 - weight) * lengths[1] ** weight
    arc = length * (to_first * a_unit + to_second * b_unit)
    return torch.where(defined, arc, (1 - weight) * a + weight * b).reshape(first.shape).to(first)
