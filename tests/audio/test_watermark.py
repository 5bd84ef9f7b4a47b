"""The watermark: the same in any chunks, found after what files go through, and not found where there is none."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from audiodiff.audio import watermark
from audiodiff.audio.io import Audio, read, resample, write
from audiodiff.audio.watermark import STRENGTH, Detection, detect, detect_chunks, embed, embed_chunks

RATE = 16000


def sound(seconds, rate=RATE, seed=0, channels=1):
    """Noise whose level varies in time and along frequency by several dB, (C, T)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(channels, round(seconds * rate), generator=generator)
    filtered = torch.nn.functional.conv1d(noise[:, None], torch.tensor([[[0.2, 0.5, 1.0, 0.5, 0.2]]]), padding=2)[:, 0]
    time = torch.arange(filtered.shape[-1]) / rate
    return 0.05 * filtered * (1.5 + torch.sin(2 * torch.pi * 3.1 * time))


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=6),
    channels=st.integers(1, 2),
    rate=st.sampled_from([500, 8000, 11025, 16000]),
)
def test_chunks_are_the_whole(sizes, channels, rate):
    samples = sound(1, 60000, channels=channels)[:, : sum(sizes)]
    pieces = list(embed_chunks(samples.split(sizes, -1), rate))
    whole = embed(samples, rate)
    assert whole.shape == samples.shape and whole.dtype == torch.float32
    assert torch.equal(torch.cat([torch.zeros(channels, 0), *pieces], -1), whole)


def test_chunks_come_while_the_signal_does():
    arrived, left = 0, 0

    def pieces():
        nonlocal arrived
        for piece in sound(20).split(1000, -1):
            arrived += 1000
            yield piece

    for piece in embed_chunks(pieces(), RATE):
        left += piece.shape[-1]
        assert left <= arrived
        assert arrived - left < RATE or arrived == 20 * RATE
    assert left == 20 * RATE


def test_parts_of_a_signal_are_found_together():
    samples = sound(6)
    for start, stop in ((0, 20_000), (31_111, 47_111), (60_000, 96_000)):
        samples[:, start:stop] = embed(samples[:, start:stop], RATE, start)
    alone = max(detect(samples[:, start:stop], RATE).score for start, stop in ((0, 20_000), (31_111, 47_111)))
    assert detect(samples, RATE).detected and detect(samples, RATE).score > alone


def test_samples_without_channels_keep_their_shape():
    assert torch.equal(embed(sound(1)[0], RATE), embed(sound(1), RATE)[0])
    assert list(embed_chunks([], RATE)) == [] and embed(torch.zeros(0), RATE).shape == (0,)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 44100, 48000])
def test_a_mark_is_found_at_every_rate_and_in_stereo(rate):
    marked = embed(sound(4, rate, channels=2), rate)
    assert detect(marked, rate).p_value < 1e-12
    assert detect(marked.mean(0), rate).detected and detect(marked[:1], rate).detected


@pytest.mark.parametrize("start", [1, 777, 16001, 47999])
def test_a_crop_of_three_seconds_is_found_at_any_offset(start):
    marked = embed(sound(8), RATE)[:, start : start + 3 * RATE]
    assert detect(marked, RATE).detected
    noise = torch.randn(marked.shape, generator=torch.Generator().manual_seed(1))
    for other in (0.01 * marked, -3 * marked, marked + 1e-3 * noise):
        assert detect(other, RATE).detected


@pytest.mark.parametrize(("rate", "to_rate"), [(22050, 16000), (16000, 22050), (11025, 16000), (16000, 8000)])
def test_a_mark_survives_resampling(rate, to_rate):
    marked = embed(sound(40, rate), rate)  # so long that a cell would drift
    assert detect(resample(marked, rate, to_rate)[:, 30 * to_rate + 321 :], to_rate).detected


@pytest.mark.parametrize("format", ["wav", "flac", "ogg"])
def test_a_mark_survives_a_file(tmp_path, format):
    path = tmp_path / f"a.{format}"
    write(path, Audio(embed(sound(4), RATE), RATE))
    assert detect(read(path).samples, RATE).p_value < 1e-9


def test_the_change_is_as_small_as_stated():
    plain = sound(6)
    change = embed(plain, RATE) - plain
    loudest = 10 ** (STRENGTH / 20) - 1
    assert 0.3 * loudest < change.norm() / plain.norm() < loudest
    assert torch.equal(embed(torch.zeros(2, 5000), RATE), torch.zeros(2, 5000))
    quiet = torch.cat([plain, torch.zeros(1, RATE), plain], -1)  # silence stays silent, but for a window's overlap
    assert not embed(quiet, RATE)[:, 6 * RATE + 640 : 7 * RATE - 640].abs().max() > 1e-12


def test_without_a_mark_nothing_is_found():
    found = [detect(sound(4, seed=seed), RATE).p_value for seed in range(40)]
    assert min(found) > 1e-3
    for silent in (torch.zeros(1, RATE), torch.zeros(1, 0), torch.zeros(10), torch.full((1, RATE), 0.5)):
        assert detect(silent, RATE).p_value > 0.01
    assert detect_chunks([], RATE) == Detection(1.0, 0.0, ())


def test_scores_are_normal_over_signs(monkeypatch):
    """With random signs the correlation at one offset is a sum of random signs, of unit variance, for any signal."""
    evidence = watermark._evidence(embed(sound(6), RATE).double().numpy(), RATE)
    generator, scores = np.random.default_rng(0), []
    for _ in range(1500):
        signs = generator.integers(0, 2, evidence.shape[1:]) * 2 - 1
        scores.append((evidence[1] * signs).sum() / np.linalg.norm(evidence[1]))
    assert kstest(scores, "norm").pvalue > 0.01


def test_the_bound_holds_over_signs(monkeypatch):
    """The highest score over all offsets exceeds what has a bound of 0.1 in at most that share of all sequences."""
    evidence = watermark._evidence(sound(6).double().numpy(), RATE)
    generator, p_values = np.random.default_rng(0), []
    for _ in range(300):
        signs = generator.integers(0, 2, evidence.shape[1:]) * 2.0 - 1
        monkeypatch.setattr(watermark, "_signs", lambda signs=signs: signs)
        p_values.append(watermark._p_value(watermark._score(evidence), 1))
    assert np.mean(np.array(p_values) <= 0.1) <= 0.1


def test_a_part_of_a_long_sound_is_found():
    plain = sound(50)
    mixed = torch.cat([plain[:, : 20 * RATE], embed(plain[:, 20 * RATE :], RATE)], -1)
    found = detect_chunks(mixed.split(7777, -1), RATE)
    assert found == detect(mixed, RATE)
    assert found.detected and [round(start, 1) for start, *_ in found.segments] == [0, 16.6, 33.2, 49.8]
    first, second, third, last = (p_value for *_, p_value in found.segments)
    assert first > 1e-3 and second < 1e-5 and third < 1e-9 and last > 1e-3  # the last one is 0.2 s
    assert found.segments[-1][1] == 50 and str(found).endswith(", in 2 of 4 parts of 16.6 s)")


def test_what_is_not_finite_is_silence():
    marked = embed(sound(6), RATE)
    marked[:, 1000:1003] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    assert detect(marked, RATE).detected
    assert detect(torch.full((1, RATE), torch.nan), RATE).p_value == 1


def test_a_changed_speed_loses_the_mark():
    """As docs/provenance.md states."""
    assert not detect(embed(sound(6), RATE), round(RATE * 1.05)).detected


def test_the_sequence_is_that_of_all_versions():
    assert watermark._signs().shape == (64, 83) and abs(watermark._signs().mean()) < 0.05
    digest = hashlib.sha256(watermark._signs().astype(np.int8).tobytes()).hexdigest()
    assert digest == "a022d15347530d8687a84f3a1a740aae33864136081a5f2a4da0abfb44fd45b4"
