"""Tempo asked for and measured: rows of clips whose tempo is known."""

import numpy as np
import pytest
import torch
from tempo import SLOWEST, Row, generate, recordings

from audiodiff.audio.io import Audio, write
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.pipelines.audio_generator import AudioGenerator

RATE = 8000


def clicks(tempo: float, seconds: float = 12.0) -> np.ndarray:
    random, wave = np.random.default_rng(0), np.zeros((1, round(seconds * RATE)))
    for number in range(int(seconds * tempo / 60)):
        burst = np.exp(-np.arange(400) / 50) * random.standard_normal(400)
        start = round(number * 60 / tempo * RATE)
        wave[0, start : start + 400] += burst[: wave.shape[1] - start]
    return wave


def test_right_tempi_octave_errors_and_others_are_told_apart():
    row = Row.measure([100, 50, 200, 77, 300], (clicks(100) for _ in range(5)), RATE)
    assert row.ratios == [1.0, 2.0, 0.5, None, 1 / 3]
    cells = row.format()
    assert cells[0].startswith("20 %") and cells[1].startswith("80 %") and cells[2:6] == ["1", "1", "0", "1"]
    assert float(cells[6]) > 0.7 and int(cells[7].removesuffix(" ms")) < 25


def test_a_silent_clip_is_wrong():
    row = Row.measure([100.0, 100.0], [np.zeros((1, 12 * RATE)), clicks(100)], RATE)
    assert row.ratios == [None, 1.0] and np.isnan(row.estimated[0])


def test_clips_have_their_tempi_and_labels_in_turn(make_music):
    generator = AudioGenerator(make_music(1, ("kick", "snare"), ("tempo",)))
    torch.nn.init.normal_(generator.model.denoiser.network.unet.conv_out.weight)
    options = {"steps": 2, "guidance_scale": 1.0}
    asked = list(generate(generator, [80.0, 80.0, 120.0], ["kick", "snare"], 3, **options))
    again = list(generate(generator, [80.0, 90.0, 120.0], ["kick", "snare"], 3, **options))
    unasked = list(generate(generator, [None] * 3, [], 3, **options))
    assert [clip.shape[0] for clip in asked] == [1, 1, 1]
    assert np.array_equal(asked[0], again[0]) and not np.array_equal(asked[1], again[1])
    assert not any(np.array_equal(*pair) for pair in zip(asked, unasked, strict=True))


def test_recordings_are_held_out_long_enough_and_of_known_tempo(make_music, tmp_path):
    generator = AudioGenerator(make_music(1, (), ("tempo",)))
    seconds = 1.5 * generator.model.samples / generator.sample_rate
    clips = []
    for name, split, tempo, length in (
        ("a", "test", 90.0, seconds),
        ("b", "train", 90.0, seconds),
        ("c", "validation", 0.0, seconds),
        ("d", "test", SLOWEST - 1, seconds),
        ("e", "test", 90.0, seconds / 3),
    ):
        write(tmp_path / f"{name}.wav", Audio(torch.randn(round(length * RATE)).clamp(-1, 1), RATE))
        clips.append(Clip(name, f"{name}.wav", length, RATE, split=split, tempo=tempo))
    known, segments = recordings(generator, Manifest(tuple(clips), tmp_path), 10)
    assert known == [90.0] and [clip.shape[-1] for clip in segments] == [generator.model.samples]


def test_the_number_of_clips_may_be_limited(make_music, tmp_path):
    generator = AudioGenerator(make_music(1, (), ("tempo",)))
    with pytest.raises(StopIteration):
        next(recordings(generator, Manifest((), tmp_path), 0)[1])
