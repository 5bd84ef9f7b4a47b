"""Each effect does what it states, and a crop stays a function of seed and draw."""

import time
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from audiodiff.audio.io import Audio, write
from audiodiff.data.augmentation import (
    Augmentation,
    Delay,
    Equalization,
    Level,
    Mixing,
    MixingPool,
    Noise,
    Polarity,
    Room,
    Speed,
)
from audiodiff.data.dataset import CropDataset, DrawSampler
from audiodiff.data.manifest import Clip, Manifest

RATE = 16000
ALL = {
    "speed": Speed((0.8, 1.25), 0.7),
    "room": Room(probability=0.5),
    "noise": Noise(probability=0.5),
    "equalization": Equalization(probability=0.5),
    "level": Level(probability=0.5),
    "polarity": Polarity(),
    "delay": Delay((0.001, 0.05)),
    "mixing": Mixing(probability=0.5),
}


def white(seed: int, samples: int = RATE, channels: int | None = None) -> torch.Tensor:
    shape = (samples,) if channels is None else (channels, samples)
    return 0.1 * torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """A tone of 500 Hz at two rates, and noise."""
    folder = tmp_path_factory.mktemp("clips")
    clips = []
    for name, rate in (("tone", 16000), ("high", 24000), ("noise", 16000)):
        time = torch.arange(2 * rate) / rate
        samples = white(1, 2 * rate) if name == "noise" else 0.3 * torch.sin(2 * torch.pi * 500 * time)
        write(folder / f"{name}.flac", Audio(samples, rate))
        clips.append(Clip(name, f"{name}.flac", 2.0, rate, tempo=60.0, caption=f"a {name}"))
    return Manifest(tuple(clips), folder)


def test_a_crop_is_a_function_of_seed_and_draw(manifest):
    one, other = (CropDataset(manifest, RATE, 4000, 3, augmentation=Augmentation(**ALL)) for _ in range(2))
    first = {draw: one[draw]["waveform"] for draw in range(12)}
    assert all(torch.equal(other[draw]["waveform"], first[draw]) for draw in reversed(range(12)))
    another_seed = CropDataset(manifest, RATE, 4000, 4, augmentation=Augmentation(**ALL))
    assert not any(torch.equal(another_seed[draw]["waveform"], first[draw]) for draw in range(12))


def test_resumed_batches_are_those_of_an_unbroken_run(manifest):
    dataset = CropDataset(manifest, RATE, 2000, 7, augmentation=Augmentation(**ALL))

    def batches(start: int, count: int) -> list:
        return list(islice(DataLoader(dataset, batch_size=3, sampler=DrawSampler(start)), count))

    for one, again in zip(batches(0, 4), batches(0, 2) + batches(6, 2), strict=True):
        assert torch.equal(one["waveform"], again["waveform"])


@pytest.mark.parametrize("name", ALL)
def test_each_effect_can_be_switched_off_and_leaves_the_others_as_they_are(manifest, name):
    plain, with_all = CropDataset(manifest, RATE, 4000), Augmentation(**ALL)
    only = CropDataset(manifest, RATE, 4000, augmentation=Augmentation(**{name: ALL[name]}))
    none = CropDataset(manifest, RATE, 4000, augmentation=Augmentation())
    changed = [not torch.equal(only[draw]["waveform"], plain[draw]["waveform"]) for draw in range(20)]
    assert any(changed) and not all(changed)
    assert all(torch.equal(none[draw]["waveform"], plain[draw]["waveform"]) for draw in range(20))
    if name not in ("speed", "mixing"):
        without = Augmentation(**(ALL | {name: None}))
        clip = manifest.clips[0]
        pool = MixingPool(manifest.clips)
        one, other = (
            [each.augment_clip(clip, pool, RATE, (0, 4, draw)) for draw in range(20)] for each in (with_all, without)
        )
        assert one == other


def test_speed_scales_frequencies_within_its_range(manifest):
    dataset = CropDataset(manifest, RATE, 8000, augmentation=Augmentation(speed=Speed((0.8, 1.25), 1.0)))
    factors = []
    for draw in range(24):
        item, clip = dataset[draw], dataset.clip(draw)
        if item["clip"] == "noise":
            continue
        windowed = item["waveform"] * torch.hann_window(8000)
        peak = float(torch.fft.rfft(windowed, n=64000).abs().argmax()) * RATE / 64000
        factors.append(peak / 500)
        recorded = next(one for one in manifest.clips if one.id == clip.id)
        assert peak == pytest.approx(500 * clip.sample_rate / recorded.sample_rate, abs=0.5)
        assert (clip.samples, clip.seconds * clip.tempo) == (recorded.samples, pytest.approx(120))
    assert 0.79 < min(factors) < 0.9 < 1.1 < max(factors) < 1.26


def test_room_decays_by_60_dB_in_its_reverberation_time():
    for number, seconds in enumerate((0.1, 0.3, 0.7)):
        room = Room((seconds, seconds), (6.0, 6.0), probability=1.0)
        response = room.response(RATE, np.random.default_rng(number)).double()
        assert float(response[1:].square().sum()) == pytest.approx(10**-0.6, rel=1e-4)
        tail = response[1 + int(response[1:].abs().argmax()) :]
        energy = 10 * tail.square().flip(0).cumsum(0).flip(0).log10()  # Schroeder's backward integration
        first, last = int((energy < energy[0] - 5).float().argmax()), int((energy < energy[0] - 25).float().argmax())
        assert 3 * (last - first) / RATE == pytest.approx(seconds, rel=0.25)


def test_noise_has_its_ratio_and_slope():
    signal = white(0, 4 * RATE)
    noise = Noise((20.0, 20.0), (-3.0, -3.0)).apply(signal, RATE, np.random.default_rng(0)) - signal
    assert 10 * float((signal.square().mean() / noise.square().mean()).log10()) == pytest.approx(20, abs=0.01)
    power = torch.fft.rfft(noise).abs().square()
    octaves = [power[int(f * 4) : int(2 * f * 4)].mean().log10() * 10 for f in (250, 500, 1000, 2000, 4000)]
    assert np.diff(octaves) == pytest.approx(-3, abs=0.5)


def test_equalization_is_smooth_and_as_strong_as_stated():
    impulse = torch.zeros(RATE)
    impulse[RATE // 2] = 1.0
    gains = []
    for number in range(40):
        out = Equalization(5.0).apply(impulse, RATE, np.random.default_rng(number))
        gain = 20 * torch.fft.rfft(out).abs().log10().numpy()
        octaves = np.diff(np.log2(np.arange(100, 8000)))
        assert np.abs(np.diff(gain[100:8000]) / octaves).max() < 5 * 6  # dB per octave: a few standard deviations
        gains.append(gain[[80, 160, 320, 640, 1280, 2560, 5120]])
    relative = np.stack(gains) - np.mean(gains, axis=1, keepdims=True)  # the mean power of the crop stays
    assert 4 < relative.std() < 6


def test_level_and_polarity_have_their_statistics():
    signal = white(3)
    changed = [Level((-20.0, 6.0), 1.0)(signal, RATE, np.random.default_rng(n)) for n in range(200)]
    gains = np.array(
        [20 * np.log10(float(one.square().mean().sqrt() / signal.square().mean().sqrt())) for one in changed]
    )
    assert gains.min() > -20.01 and gains.max() < 6.01 and abs(gains.mean() + 7) < 1.5
    assert float(Level((20.0, 20.0), 1.0)(signal, RATE, np.random.default_rng(0)).abs().max()) == pytest.approx(1.0)
    flipped = [bool(torch.equal(Polarity()(signal, RATE, np.random.default_rng(n)), -signal)) for n in range(200)]
    assert 70 < sum(flipped) < 130


@settings(max_examples=30, deadline=None)
@given(
    samples=st.integers(1, 3000),
    channels=st.sampled_from([None, 1, 2]),
    seed=st.integers(0, 2**32),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 10.0]),
)
def test_any_waveform_keeps_its_shape_and_stays_finite(samples, channels, seed, scale):
    always = {name: type(effect)() for name, effect in ALL.items() if name not in ("speed", "delay")}
    for effect in always.values():
        effect.probability = 1.0
    waveform = scale * white(seed, samples, channels)
    out = Augmentation(**always)(waveform, RATE, (seed, 4, 0))
    assert out.shape == waveform.shape and out.dtype == torch.float32
    assert out.isfinite().all()
    assert bool(out.any()) == bool(waveform.any())  # silence stays silence
    if channels == 2:  # all channels alike: what is the same stays the same
        same = Augmentation(**always)(waveform[:1].expand(2, -1), RATE, (seed, 4, 0))
        assert torch.allclose(same[0], same[1], atol=1e-6)


def test_bounds_that_fall_are_named():
    with pytest.raises(ValueError, match=r"decibels=\[3, -3\] must not fall"):
        Level((3, -3))


def test_delay_moves_the_sound_by_whole_samples_and_keeps_the_length():
    signal = white(3, channels=2)
    later = Delay((0.01, 0.01)).apply(signal, RATE, np.random.default_rng(0))
    assert torch.equal(later[:, 160:], signal[:, :-160]) and not later[:, :160].any() and later.shape == signal.shape
    short = signal[:, :100]
    assert not Delay((1.0, 1.0)).apply(short, RATE, np.random.default_rng(0)).any()


def test_mixing_adds_another_clip_at_its_level_and_names_both(manifest):
    mixing = Mixing((-6.0, -6.0), 1.0)
    dataset = CropDataset(manifest, RATE, 4000, from_start=True, augmentation=Augmentation(mixing=mixing))
    plain = CropDataset(manifest, RATE, 4000, from_start=True)
    recorded = {clip.caption: plain[draw]["waveform"] for draw in range(6) for clip in [plain.clip(draw)]}
    seen = set()
    for draw in range(40):
        names = set(dataset.clip(draw).caption.split(" and "))
        host = dataset.recorded(draw).caption
        (other,) = names - {host}
        added = dataset[draw]["waveform"].double() - recorded[host].double()
        ratio = 10 * (added.square().mean() / recorded[host].double().square().mean()).log10()
        assert float(ratio) == pytest.approx(-6, abs=1e-3)
        assert torch.corrcoef(torch.stack([added, recorded[other].double()]))[0, 1] > 0.9999
        seen.add((host, other))
    assert len(seen) == 6  # either of each pair


def test_mixing_leaves_clips_alone_that_have_no_caption_or_no_partner():
    clips = [Clip("short", "s", 1.0, RATE, caption="tick"), Clip("long", "l", 2.0, RATE, caption="tock")]
    mixing, pool, random = Mixing(probability=1.0), MixingPool(clips), np.random.default_rng(0)
    assert mixing.partner(clips[0], pool, random) is None  # the other one is longer
    assert mixing.partner(clips[1], pool, random) is clips[0]
    assert mixing.partner(Clip("mute", "m", 9.0, RATE), pool, random) is None
    assert mixing.partner(clips[1], MixingPool([Clip("mute", "m", 1.0, RATE)]), random) is None


clip_lists = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["", "tick", "tock", "boom"])), max_size=12)


@settings(max_examples=60, deadline=None)
@given(clip_lists, st.integers(1, 5), st.sampled_from(["tick", "tock", "hiss"]), st.randoms())
def test_any_fitting_clip_is_mixed_in_equally_often_in_any_order_of_the_clips(described, seconds, caption, shuffle):
    clips = [Clip(f"clip {n}", "p", float(length), RATE, caption=text) for n, (length, text) in enumerate(described)]
    clip = Clip("host", "h", float(seconds), RATE, caption=caption)
    fitting = {one.id for one in clips if one.caption not in ("", caption) and one.seconds <= seconds}
    shuffled = shuffle.sample(clips, len(clips))
    pools = MixingPool(clips), MixingPool(shuffled)
    one, other = ([pool.draw(clip, np.random.default_rng(seed)) for seed in range(8)] for pool in pools)
    assert one == other
    assert all(found is None if not fitting else found.id in fitting for found in one)
    numbers = iter(range(len(fitting)))  # each of the numbers that the generator may draw
    counter = SimpleNamespace(integers=lambda count: next(numbers))
    assert {pools[0].draw(clip, counter).id for _ in fitting} == fitting


def test_drawing_a_partner_does_not_search_all_clips():
    """Twice a hundred draws from 20,000 clips: a search of all of them takes seconds."""
    clips = [Clip(f"{n}", "p", 1 + n % 7, RATE, caption=f"sound {n % 50}") for n in range(20000)]
    pool, random = MixingPool(clips), np.random.default_rng(0)
    started = time.process_time()
    assert all(pool.draw(clips[n], random).caption != clips[n].caption for n in range(200))
    assert time.process_time() - started < 0.3


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 9))
def test_mixtures_of_any_lengths_are_finite_and_as_long_as_the_first(samples, other, seed):
    effects = Augmentation(delay=Delay(), mixing=Mixing(probability=1.0))
    found = effects(white(seed, samples), RATE, (seed,), white(seed + 1, other))
    assert found.shape == (samples,) and bool(found.isfinite().all())
    silent = effects(torch.zeros(samples), RATE, (seed,), torch.zeros(other))
    assert not silent.any()
