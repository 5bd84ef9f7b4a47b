"""Restoration: what is known is returned bit by bit, chunks make no difference, channels, rates, errors."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import audiodiff
from audiodiff.audio.band import highpass
from audiodiff.audio.io import Audio, resample
from audiodiff.errors import UserError
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.pipelines.restorer import Restorer, _at_rate

RATES = [8000, 11025, 16000, 22050, 44100]


@pytest.fixture(scope="module")
def restorer(make_restorer):
    return Restorer(make_restorer())


def speechlike(samples: int, rate: int = 16000, channels: int = 1, seed: int = 0) -> torch.Tensor:
    t = torch.arange(samples) / rate
    voice = sum(torch.sin(2 * math.pi * 130 * k * t) / k for k in range(1, 20)) * torch.sin(11 * t).square()
    hiss = torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))
    return 0.3 * voice / voice.abs().max() + 0.01 * hiss


def test_it_is_importable_from_the_top():
    assert audiodiff.Restorer is Restorer


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(RATES), st.integers(1, 3), st.floats(0.1, 0.8), st.integers(1, 2))
def test_declipping_keeps_every_other_sample_and_its_bounds(restorer, rate, channels, share, steps):
    original = speechlike(rate // 4, rate, channels)
    level = share * float(original.abs().amax())
    recording = original.clamp(-level, level)
    for options in ({}, {"clip_level": level}):
        restored = restorer.restore(Audio(recording, rate), steps, declip=True, **options)
        assert restored.sample_rate == rate and restored.samples.shape == recording.shape
        known = recording.abs() < level - 4e-5
        assert torch.equal(restored.samples[known], recording[known])
        assert (restored.samples >= level - 4e-5)[recording >= level].all()
        assert (restored.samples <= -level + 4e-5)[recording <= -level].all()
        assert (restored.samples.abs() > level + 1e-6).any()  # something was restored


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(RATES), st.integers(1, 3), st.floats(0.02, 0.2), st.floats(0.001, 0.04))
def test_filling_keeps_every_other_sample_and_has_no_click(restorer, rate, channels, start, length):
    recording = speechlike(rate // 4, rate, channels)
    start, stop = (float(f"{end:.12g}") for end in (start, start + length))  # the digits that a gap is written with
    first, last = round(start * rate), round(stop * rate)
    broken = recording.clone()
    broken[:, first:last] = 0
    restored = restorer.restore(Audio(broken, rate), fill=[(start, stop)]).samples
    assert torch.equal(restored[:, :first], recording[:, :first])
    assert torch.equal(restored[:, last:], recording[:, last:])
    step = restored.diff(dim=-1).abs()
    usual = recording.diff(dim=-1).abs().amax()
    assert max(step[:, first - 1].amax(), step[:, last - 1].amax()) < 1.5 * usual


@pytest.mark.parametrize("rate", RATES)
def test_noise_is_removed_in_all_bands_alike(restorer, rate):
    """Above the model's band, with the gain of its upper half: silence below stays what it was."""
    recording = speechlike(rate // 2, rate)
    restored = restorer.restore(Audio(recording, rate), denoise=True).samples
    assert restored.shape == recording.shape and not torch.equal(restored, recording)


@pytest.mark.parametrize("gain", [0.25, 1.0, 3.0])
def test_above_the_band_noise_is_attenuated_as_its_upper_half_is_and_never_amplified(make_restorer, gain):
    """A model that multiplies its whole band by a gain: what it does not see is multiplied by the same, at most 1."""
    restorer = Restorer(make_restorer())
    noisy = torch.randn(1, 44100, generator=torch.Generator().manual_seed(0))
    inside = resample(resample(noisy, 44100, 16000), 16000, 44100)[..., : noisy.shape[-1]]
    found = restorer._attenuate_above(noisy, noisy + (gain - 1) * inside, 44100)
    before, after = (highpass(one, torch.tensor([9000.0]), 44100)[..., 2000:-2000] for one in (noisy, found))
    torch.testing.assert_close(after, min(gain, 1.0) * before, rtol=0, atol=0.1)


def test_chunks_are_those_of_the_whole(restorer):
    recording = speechlike(14000, channels=2)
    recording = recording.clamp(-0.1, 0.1)
    options = RestorationOptions(declip=True, fill=["0.3:0.31", "0.5:0.52"], denoise=True)
    audio = Audio(recording, 16000)
    whole = restorer.restore_recording(audio, options, 5).samples
    pieces = restorer.restore_recording(audio, options, 5, chunk_seconds=0.1).samples
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5)


def test_equal_channels_stay_equal_and_others_are_those_alone(restorer):
    one, other = speechlike(3000, seed=1), speechlike(3000, seed=2)
    loud = max(float(one.abs().max()), float(other.abs().max()))
    one, other = (signal / signal.abs().max() * loud for signal in (one, other))
    both = restorer.restore(Audio(torch.cat([one, one, other]), 16000), denoise=True, seed=3).samples
    assert torch.equal(both[0], both[1])
    alone = restorer.restore(Audio(other[0], 16000), denoise=True, seed=3).samples
    torch.testing.assert_close(alone, both[2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("gain", [0.001, 0.1, 20.0])
def test_the_level_of_a_recording_does_not_matter(restorer, gain):
    recording = speechlike(4000)
    expected = restorer.restore(Audio(recording, 16000), denoise=True).samples
    found = restorer.restore(Audio(gain * recording, 16000), denoise=True).samples
    torch.testing.assert_close(found / gain, expected, rtol=0, atol=1e-5)


def test_all_at_once_is_one_after_the_other(restorer):
    recording = speechlike(6000).clamp(-0.15, 0.15)
    recording[:, 1600:1760] = 0
    together = restorer.restore(Audio(recording, 16000), declip=True, fill=[(0.1, 0.11)], denoise=True)
    declipped = restorer.restore(Audio(recording, 16000), declip=True)
    filled = restorer.restore(declipped, fill=["0.1:0.11"])
    assert torch.equal(restorer.restore(filled, denoise=True).samples, together.samples)


def test_gaps_that_overlap_are_one_and_ends_may_be_left_out(restorer):
    recording = Audio(speechlike(4000), 16000)
    joined = restorer.restore(recording, fill=["0.1:0.12", "0.11:0.13"]).samples
    assert torch.equal(joined, restorer.restore(recording, fill=[(0.1, 0.13)]).samples)
    assert torch.equal(restorer.restore(recording, fill=[":0.01"]).samples[:, 160:], recording.samples[:, 160:])
    assert torch.equal(restorer.restore(recording, fill=["0.24:"]).samples[:, :3840], recording.samples[:, :3840])


def test_progress_covers_all_stages_and_chunks(restorer):
    seen: list[Progress] = []
    recording = Audio(speechlike(6000).clamp(-0.1, 0.1), 16000)
    restorer.restore(recording, 2, declip=True, denoise=True, callback=seen.append)
    assert [progress.done for progress in seen] == [1, 2, 3, 4] and {progress.total for progress in seen} == {4}


@pytest.mark.parametrize(
    ("options", "subject", "problem"),
    [
        ({}, "restore", "nothing to do"),
        ({"declip": True}, "audio", "no clipping was found"),
        ({"declip": True, "clip_level": 5}, "audio", "no sample reaches the clip level 5"),
        ({"declip": True, "clip_level": -1}, "clip_level -1", ""),
        ({"declip": True, "clip_level": math.nan}, "clip_level", ""),
        ({"clip_level": 0.5, "denoise": True}, "clip_level 0.5", "takes effect with declip only"),
        ({"fill": ["0.1:7"]}, "gap 0.1:7", "is not within audio, which ends at 0.25 s"),
        ({"fill": ["8:9"]}, "gap 8:9", "is not within"),
        ({"fill": ["0.2:0.1"]}, "gap 0.2:0.1", "ends before it starts"),
        ({"fill": ["0.1:0.1"]}, "gap 0.1:0.1", "is empty"),
        ({"fill": ["-1:0.1"]}, "gap -1:0.1", "begins below 0"),
        ({"fill": ["soon"]}, "gap soon", "is no interval"),
        ({"fill": [":"]}, "gap :", "is the whole recording"),
        ({"fill": ["0.1:0.10001"]}, "gap 0.1:0.10001", "holds no sample at 16000 Hz"),
        ({"fill": [":0.2", "0.1:"]}, "gap :0.2, 0.1:", "is the whole recording"),
        ({"fill": 0.3}, "fill 0.3", "expected a list"),
        ({"fill": (0.1, 0.2)}, "gap 0.1", "is no interval"),
        ({"fill": np.array(0.2)}, "fill 0.2", "expected a list"),
        ({"fill": [None]}, "gap None", "is no interval"),
        ({"fill": [[0.1, 0.2, 0.3]]}, "gap [0.1, 0.2, 0.3]", "has 3 ends"),
        ({"denoise": True, "steps": 0}, "steps 0", ""),
        ({"denoise": True, "steps": 10**30}, "steps 1000", "out of range"),
        ({"denoise": True, "sampler": "magic"}, "sampler", "unknown"),
    ],
)
def test_mistakes_are_one_line(restorer, options, subject, problem):
    with pytest.raises(UserError) as caught:
        restorer.restore(Audio(speechlike(4000), 16000), **options)
    line = str(caught.value)
    assert caught.value.subject.startswith(subject) and problem in line and "\n" not in line
    assert caught.value.fix or not problem


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 0), (1, 319)])
def test_what_holds_too_little_is_one_line(restorer, shape):
    with pytest.raises(UserError, match=f"audio: holds {shape[-1]} samples; give at least 0.02 s"):
        restorer.restore(Audio(torch.ones(shape), 16000), denoise=True)


def test_gaps_may_be_arrays(restorer):
    recording = Audio(speechlike(4000), 16000)
    expected = restorer.restore(recording, fill=["0.1:0.11", "0.2:0.21"]).samples
    gaps = np.array([[0.1, 0.11], [0.2, 0.21]])
    assert torch.equal(restorer.restore(recording, fill=gaps).samples, expected)
    assert torch.equal(restorer.restore(recording, fill=list(gaps)).samples, expected)


def test_what_is_in_a_gap_decides_nothing(restorer):
    clipped = speechlike(6000).clamp(-0.15, 0.15)
    loud, quiet = clipped.clone(), clipped.clone()
    loud[:, 1600:1760], quiet[:, 1600:1760] = 0.9, 0.0
    options: dict = {"declip": True, "fill": ["0.1:0.11"], "denoise": True}
    found = [restorer.restore(Audio(one, 16000), **options).samples for one in (loud, quiet)]
    assert torch.equal(*found)
    declipped = restorer.restore(Audio(loud, 16000), declip=True, fill=["0.1:0.11"]).samples
    assert (declipped[:, 2000:].abs() > 0.151).any()
    with pytest.raises(UserError, match="is silent outside of its gaps"):
        restorer.restore(Audio(torch.cat([torch.ones(1, 400), torch.zeros(1, 4000)], -1), 16000), fill=[":0.025"])


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_places_far_from_the_start_are_exact(rate):
    """Above 2^24 single precision has no odd integers: a flag half an hour into a file is at its own sample."""
    samples = 25 * 60 * rate + 12345
    flags = torch.zeros(1, samples)
    places = torch.tensor([10, samples // 2 + 7, samples - 20])
    flags[:, places] = torch.tensor([1.0, -1.0, 1.0])
    target = 16000
    found = _at_rate(flags, rate, target, math.ceil(samples * target / rate))
    expected = [round(Fraction(int(place) * target, rate)) for place in places]
    assert found.nonzero()[:, 1].tolist() == expected
    assert found[0, expected].tolist() == [1.0, -1.0, 1.0]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([*RATES, 48000, 96000]), st.lists(st.integers(0, 999), min_size=1, max_size=5, unique=True))
def test_no_flag_is_lost_at_another_rate(rate, places):
    """Neither at a lower rate, where several samples become one, nor at a higher one, where each is repeated."""
    flags = torch.zeros(2, 1000)
    flags[0, places] = 1
    flags[1, places] = -1
    found = _at_rate(flags, rate, 16000, math.ceil(1000 * 16000 / rate))
    assert torch.equal(found[0], -found[1]) and set(found.unique().tolist()) <= {-1.0, 0.0, 1.0}
    for place in places:
        nearest = min(round(place * 16000 / rate), found.shape[-1] - 1)
        assert found[0, max(nearest - 1, 0) : nearest + 2].any()


def test_short_tops_above_the_rate_of_the_model_are_restored(make_restorer):
    """Tops of one sample at 48 kHz, of which each third falls on a sample of the model: it is shown all of them."""
    model = make_restorer()
    seen: list[torch.Tensor] = []
    embed = model.embed
    model.embed = lambda guess, free, saturation: (seen.append(saturation), embed(guess, free, saturation))[1]
    recording = 0.1 * speechlike(4800, 48000)
    tops = torch.arange(101, 4700, 100)  # of every residue modulo 3
    recording[:, tops] = 0.5
    Restorer(model).restore(Audio(recording, 48000), declip=True)
    assert int(torch.cat(seen, -1)[0].sum()) == len(tops)


def test_gaps_of_no_training_are_said(make_restorer):
    restorer, recording = Restorer(make_restorer(), training={"longest_gap": 0.05}), Audio(speechlike(4000), 16000)
    with pytest.warns(UserWarning, match=r"a gap of 0.1 s, this model was trained with up to 0.05 s"):
        restorer.restore(recording, fill=["0.1:0.2"])
    with warnings.catch_warnings(action="error"):
        restorer.restore(recording, fill=["0.1:0.15"])
