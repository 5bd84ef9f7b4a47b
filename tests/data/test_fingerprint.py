import numpy as np
import pytest

from audiodiff.data.fingerprint import SIMILAR, fingerprint, near_duplicates

RATE = 44100


def hit(seed, seconds=0.6, rate=RATE, pitch=300.0):
    """A decaying tone with noise."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * pitch * t) + 0.5 * np.sin(2 * np.pi * 2.7 * pitch * t)
    return np.exp(-8 * t) * (0.3 * tone + 0.1 * random.standard_normal(len(t)))


def cosine(a, b, rate=RATE):
    return float(fingerprint(a, RATE) @ fingerprint(b, rate))


def test_one_sound_at_another_level_length_start_and_number_of_channels_is_a_near_duplicate():
    one = hit(0)
    assert cosine(one, 0.1 * one) > SIMILAR
    assert cosine(one, np.concatenate([np.zeros(RATE // 3), one, np.zeros(RATE)])) > SIMILAR
    assert cosine(one, np.stack([one, one])) > SIMILAR
    assert cosine(one, np.round(one * 2**11) / 2**11) > SIMILAR


def test_another_sound_is_none():
    one = hit(0)
    assert cosine(one, hit(0, pitch=400.0)) < SIMILAR
    assert cosine(one, np.random.default_rng(1).standard_normal(RATE)) < 0.9
    assert cosine(one, one[::-1]) < 0.9


@pytest.mark.parametrize("samples", [np.zeros(1000), np.zeros(0), np.ones(1), hit(0)[:50]])
def test_silence_and_clicks_have_fingerprints(samples):
    found = fingerprint(samples, RATE)
    assert np.isfinite(found).all() and np.linalg.norm(found) < 1.001


def test_all_pairs_of_near_duplicates_are_found_once():
    prints = [fingerprint(hit(seed, pitch=200.0 + 150 * seed), RATE) for seed in range(5)]
    found = near_duplicates([*prints, prints[3], np.zeros_like(prints[0])])
    assert [(place, other) for place, other, _ in found] == [(5, 3)]
    found = near_duplicates([prints[1], prints[0], prints[1], prints[0], prints[1]])
    assert [(place, other) for place, other, _ in found] == [(2, 0), (3, 1), (4, 0), (4, 2)]
    assert near_duplicates([]) == near_duplicates(prints[:1]) == []
