"""The degraded clips of `bench/restoration.py`, and what restores them without a model."""

import math

import pytest
import torch
from restoration_cases import BASELINES, RATE, Case, clipped, cubic, linear_prediction, wiener, with_gaps

CLIP = (0.3 * torch.sin(2 * math.pi * 150 * torch.arange(RATE) / RATE)).float()


def test_gaps_are_where_the_clip_is_audible_and_filled_there_alone():
    half = CLIP * (torch.arange(RATE) < RATE // 2)
    case = with_gaps(half, 0.02, number=3)
    assert case.gaps and all(stop - start == 320 and start < RATE // 2 for start, stop in case.gaps)
    assert not case.signal[case.region].any() and torch.equal(case.signal[~case.region], half[~case.region])
    filled = linear_prediction(case)
    assert torch.equal(filled[~case.region], half[~case.region])
    assert (filled - half).norm() < 0.1 * (case.signal - half).norm()


def test_cubic_interpolation_keeps_known_samples_and_reaches_the_level():
    case = clipped(CLIP, 0.8)
    restored, cut = cubic(case), case.signal.abs() >= case.level
    assert case.region.all() and torch.equal(restored[~cut], CLIP[~cut])
    assert (restored[cut].abs() >= case.level).all()
    assert (restored - CLIP).norm() < 0.3 * (case.signal - CLIP).norm()


def test_the_wiener_filter_reduces_steady_noise():
    swell = CLIP * (torch.arange(RATE) > RATE // 2)
    noisy = swell + 0.05 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    assert (wiener(Case(noisy)) - swell).norm() < 0.6 * (noisy - swell).norm()


@pytest.mark.parametrize("kind", BASELINES)
def test_every_kind_has_a_baseline(kind):
    assert BASELINES[kind]
