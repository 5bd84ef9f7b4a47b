"""What `bench/watermark.py` does to sound, and how it counts."""

import numpy as np
import pytest
import torch
import watermark as bench
from watermark_attacks import ATTACKS, encode

from audiodiff.audio import watermark

SOUND = 0.1 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_keeps_the_sound(name):
    changed, rate = ATTACKS[name](SOUND, 16000)
    assert changed.ndim == 2 and changed.isfinite().all()
    assert changed.shape[-1] / rate == pytest.approx(2, abs=0.15)
    level = changed.square().mean().sqrt() / SOUND.square().mean().sqrt()
    assert 0.05 < level < 2.1


@pytest.mark.parametrize(("codec", "bits"), [("mp3", 64), ("mp3", 128), ("opus", 64), ("opus", 128)])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_bit_rates_are_those_of_the_names(codec, bits, rate):
    samples = 0.1 * torch.randn(2, 4 * rate, generator=torch.Generator().manual_seed(0))
    content, _ = encode(samples, rate, codec, bits)
    assert len(content) * 8 / 4 / 1000 == pytest.approx(bits, rel=0.06)


def test_other_sequences_are_scored_as_that_of_the_package():
    evidence = watermark._evidence(watermark.embed(SOUND, 16000).double().numpy(), 16000)
    (score,) = bench._scores(evidence, np.fft.rfft(watermark._signs())[None])
    assert score == pytest.approx(watermark._score(evidence)) and score > 6


def test_shares_have_intervals():
    assert bench._share(0, 100) == "0.0 [0.0, 3.6]"
    assert bench._share(90, 100) == "90.0 [82.6, 94.5]"
    assert bench._share(1, 10_000) == "0.010 [0.002, 0.057]"
