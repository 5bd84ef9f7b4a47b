"""Spherical interpolation: along the arc at constant speed, with the lengths of noise."""

import math

import pytest
import torch

from audiodiff.diffusion.interpolation import slerp


def vectors(*angles: float) -> torch.Tensor:
    return torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles], dtype=torch.float64)


@pytest.mark.parametrize("angle", [1e-9, 1e-3, 1.0, 3.0])
@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 1.0])
def test_the_angle_grows_with_the_weight(angle, weight):
    torch.testing.assert_close(slerp(vectors(0.3), vectors(0.3 + angle), weight), vectors(0.3 + weight * angle))


def test_lengths_are_interpolated_as_well():
    found = slerp(2 * vectors(0.0), 8 * vectors(1.0), 0.5)
    torch.testing.assert_close(found, 4 * vectors(0.5))


def test_what_is_between_two_noises_has_their_length():
    first, second = torch.randn(2, 3, 2, 4000, generator=torch.Generator().manual_seed(0))
    between = slerp(first, second, 0.5)
    assert between.square().mean().sqrt() == pytest.approx(1, abs=0.02)
    assert ((first + second) / 2).square().mean().sqrt() < 0.75
    torch.testing.assert_close(slerp(first, second, 0.0), first)
    torch.testing.assert_close(slerp(first, second, 1.0), second)


def test_zeros_and_opposites_are_finite():
    zero, one = torch.zeros(1, 4), torch.ones(1, 4)
    torch.testing.assert_close(slerp(zero, one, 0.25), 0.25 * one)
    assert slerp(one, -one, 0.5).isfinite().all()
