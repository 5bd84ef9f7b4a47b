"""Upsampling: the known band is kept, chunks make no difference, channels, cutoffs, errors."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import audiodiff
from audiodiff.audio.band import KNOWN, lowpass
from audiodiff.audio.io import Audio, resample
from audiodiff.errors import UserError
from audiodiff.pipelines.options import UpsamplingOptions
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.upsampler import Upsampler


def noise(samples: int, channels: int = 1, level: float = 0.1, seed: int = 0) -> torch.Tensor:
    return level * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def upsampler(make_upsampler):
    return Upsampler(make_upsampler())


def test_it_is_importable_from_the_top():
    assert audiodiff.Upsampler is Upsampler


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from([4000, 6000, 8000, 11025, 12000, 15999]),
    st.integers(1, 3),
    st.integers(4000, 6000),
    st.sampled_from([1e-3, 0.1, 1.0]),
    st.integers(1, 3),
)
def test_the_known_band_is_returned_as_it_was(upsampler, rate, channels, samples, level, steps):
    recording = noise(samples * rate // 16000, channels, level)
    output = upsampler.upsample(Audio(recording, rate), steps)
    expected = resample(torch.nn.functional.pad(recording, (0, rate)), rate, 16000)
    expected = expected[:, : output.samples.shape[-1]]
    assert output.sample_rate == 16000 and output.samples.shape[0] == channels
    new = output.samples - expected
    below = torch.full((channels,), KNOWN * rate / 2)  # nothing that is added reaches below
    inner = slice(1500, -1500)  # where the recording ends its bands are cut off
    assert lowpass(new, below, 16000)[:, inner].abs().max() < 2e-6 * max(float(new.abs().max()), level)
    assert new.abs().max() > 1e-6  # the upper band is generated


def test_chunks_are_those_of_the_whole(upsampler):
    recording, options = noise(8500, 2), UpsamplingOptions()
    whole = torch.cat(list(upsampler.stream([recording], 8500, 8000, options, 5, chunk_seconds=10)), -1)
    pieces = list(upsampler.stream(recording.split(700, -1), 8500, 8000, options, 5, chunk_seconds=0.2))
    assert len(pieces) > 4
    torch.testing.assert_close(torch.cat(pieces, -1), whole, rtol=0, atol=1e-5)


def test_equal_channels_stay_equal_and_others_are_those_alone(upsampler):
    one, other = noise(1000, seed=1), noise(1000, seed=2)
    both = upsampler.upsample(Audio(torch.cat([one, one, other]), 8000), seed=3).samples
    assert torch.equal(both[0], both[1])
    torch.testing.assert_close(upsampler.upsample(Audio(other[0], 8000), seed=3).samples, both[2], rtol=0, atol=1e-5)


def test_another_seed_changes_only_the_new_band(upsampler):
    recording = Audio(noise(2000)[0], 8000)
    first, second = (upsampler.upsample(recording, seed=seed).samples for seed in (0, 1))
    change = (first - second)[None]
    assert change.abs().max() > 1e-4
    low = lowpass(change, torch.tensor([KNOWN * 4000]), 16000)
    assert low[:, 600:-600].abs().max() < 2e-6 * change.abs().max()


@pytest.mark.parametrize("rate", [16000, 22050])
def test_a_cutoff_completes_recordings_of_any_rate(upsampler, rate):
    recording = Audio(noise(3000)[0], rate)
    output = upsampler.upsample(recording, cutoff=4000).samples
    expected = resample(torch.nn.functional.pad(recording.samples, (0, rate)), rate, 16000)[None]
    known = torch.tensor([KNOWN**2 * 4000])
    inner = slice(600, output.shape[-1] - 600)
    error = lowpass(output[None], known, 16000) - lowpass(expected, known, 16000)[:, : output.shape[-1]]
    assert error[:, inner].abs().max() < 1e-5


def test_progress_covers_all_chunks(upsampler):
    seen: list[Progress] = []
    stream = upsampler.stream([noise(4000)], 4000, 8000, UpsamplingOptions(steps=2), 0, seen.append, chunk_seconds=0.2)
    chunks = len(list(stream))
    assert [progress.done for progress in seen] == list(range(1, 2 * chunks + 1))
    assert {progress.total for progress in seen} == {2 * chunks}


@pytest.mark.parametrize(
    ("audio", "options", "subject", "problem"),
    [
        (Audio(noise(4000), 16000), {}, "audio", "not below the model's 16000 Hz"),
        (Audio(noise(4000), 44100), {}, "audio", "not below"),
        (Audio(noise(4000), 1500), {}, "audio", "is at 1500 Hz"),
        (Audio(noise(100), 8000), {}, "audio", "holds 100 samples"),
        (Audio(torch.zeros(4000), 8000), {}, "audio", "silent"),
        (Audio(noise(4000)[None], 8000), {}, "audio", "several"),
        (Audio(noise(4000), 8000), {"cutoff": 4001}, "audio", "end at 4001 Hz"),
        (Audio(noise(4000), 44100), {"cutoff": 8000}, "audio", "end at 8000 Hz"),
        (Audio(noise(4000), 8000), {"cutoff": -1}, "cutoff -1", ""),
        (Audio(noise(4000), 8000), {"cutoff": float("nan")}, "cutoff", ""),
        (Audio(noise(4000), 8000), {"steps": 0}, "steps 0", ""),
        (Audio(noise(4000), 8000), {"sampler": "magic"}, "sampler", "unknown"),
    ],
)
def test_mistakes_are_one_line(upsampler, audio, options, subject, problem):
    with pytest.raises(UserError) as caught:
        upsampler.upsample(audio, **options)
    line = str(caught.value)
    assert caught.value.subject.startswith(subject) and problem in line and "\n" not in line and caught.value.fix


def test_cutoffs_of_no_training_are_said_and_rates_that_are_too_low_refused(make_upsampler):
    model = make_upsampler()
    trained, unknown = Upsampler(model, training={"cutoffs": [3000.0, 7500.0]}), Upsampler(model)
    with pytest.warns(UserWarning, match="its band ends at 2000 Hz, this model was trained with 3000 to 7500 Hz"):
        trained.upsample(Audio(noise(1000), 4000), 1)
    with warnings.catch_warnings(action="error"):
        trained.upsample(Audio(noise(1000), 8000), 1)
        unknown.upsample(Audio(noise(1000), 4000), 1)
    lowest = 2 * model.lowest_cutoff
    with pytest.raises(UserError, match=rf"audio: is at 1000 Hz; this model completes recordings of {lowest:g} Hz"):
        unknown.upsample(Audio(noise(1000), 1000), 1)
