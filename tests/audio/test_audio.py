"""`Audio` takes what other libraries load, and says in one line what it does not take."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import Audio, read, write
from audiodiff.errors import UserError

SHAPES = st.sampled_from([(7,), (1, 7), (2, 7), (3, 2, 7), (1, 1, 7)])
CONTAINERS = {
    "tensor": torch.from_numpy,
    "trained": lambda array: torch.from_numpy(array).float().requires_grad_(),
    "array": lambda array: array,
    "read-only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "reversed": lambda array: array[..., ::-1][..., ::-1],
    "list": lambda array: array.tolist(),
}


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    container=st.sampled_from(list(CONTAINERS)),
    rate=st.sampled_from([16000, np.int64(16000), 16e3, torch.tensor(16000), np.float32(16000)]),
)
def test_any_real_array_becomes_float32(shape, dtype, container, rate):
    values = np.linspace(-1, 1, int(np.prod(shape))).astype(dtype).reshape(shape)
    with warnings.catch_warnings(action="error"):
        audio = Audio(CONTAINERS[container](values), rate)
    assert audio.samples.dtype == torch.float32 and not audio.samples.requires_grad
    np.testing.assert_array_equal(audio.samples.numpy(), values.astype(np.float32))
    assert audio.sample_rate == 16000 and type(audio.sample_rate) is int
    assert audio.seconds == 7 / 16000 and audio.channels == (1 if len(shape) == 1 else shape[-2])


@settings(max_examples=30, deadline=None)
@given(
    level=st.floats(-1, 0.99),
    dtype=st.sampled_from([np.uint8, np.int16, np.int32]),
    container=st.sampled_from([torch.from_numpy, np.asarray]),
)
def test_integers_are_scaled_by_the_full_scale_of_their_type(level, dtype, container):
    bits = np.dtype(dtype).itemsize * 8
    middle = 128 if dtype is np.uint8 else 0
    steps = np.full((1, 3), round(level * 2 ** (bits - 1)) + middle).astype(dtype)
    with pytest.warns(UserWarning, match=rf"int{bits} samples are divided by {2 ** (bits - 1)}"):
        audio = Audio(container(steps), 8000)
    np.testing.assert_allclose(audio.samples, level, atol=2.0 ** (1 - bits) + 1e-7)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros(5, np.int64), "torch.int64 samples have no full scale"),
        ([0, 1, 0], "torch.int64 samples have no full scale"),
        (np.zeros(5, np.complex64), "holds torch.complex64"),
        (np.zeros(5, bool), "holds torch.bool"),
        (np.float32(0.5), "is a single number"),
        ([[0.0, 0.1], [0.2]], "is not an array of numbers"),
        (["a", "b"], "is not an array of numbers"),
        (None, "is not an array of numbers"),
        (np.array([0.1, np.nan]), "holds NaN or infinite samples"),
        (torch.tensor([[0.1, -np.inf], [0.0, np.inf]]), "holds NaN or infinite samples"),
        (torch.tensor([1e300], dtype=torch.float64), "holds NaN or infinite samples"),
        (np.zeros((48000, 2)), "time is the last axis; transpose it"),
        (np.zeros((4, 48000, 1)), "time is the last axis; transpose it"),
        (np.zeros((1, 1, 1, 8)), r"has shape \(1, 1, 1, 8\)"),
    ],
)
def test_samples_that_are_refused(samples, words):
    with pytest.raises(UserError, match=f"^audio: .*{words}") as caught:
        Audio(samples, 16000)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(shape=st.lists(st.integers(0, 20), max_size=5).map(tuple))
def test_shapes_are_accepted_or_refused_in_one_line(shape):
    try:
        audio = Audio(np.zeros(shape), 1000)
    except UserError as error:
        assert error.subject == "audio" and error.fix and "\n" not in str(error)
        assert not 1 <= len(shape) <= 3 or shape[-1] <= 8 < shape[-2]
    else:
        assert tuple(audio.samples.shape) == shape and audio.seconds == shape[-1] / 1000
        assert repr(audio).startswith("Audio(")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((22050,), "Audio(0.500 s, 44100 Hz, 1 channel, peak 0.250)"),
        ((1, 22050), "Audio(0.500 s, 44100 Hz, 1 channel, peak 0.250)"),
        ((2, 22050), "Audio(0.500 s, 44100 Hz, 2 channels, peak 0.250)"),
        ((3, 2, 22050), "Audio(3 clips, 0.500 s, 44100 Hz, 2 channels, peak 0.250)"),
        ((2, 0), "Audio(0.000 s, 44100 Hz, 2 channels, peak 0.000)"),
    ],
)
def test_repr_tells_duration_rate_channels_and_peak(shape, expected):
    assert repr(Audio(np.full(shape, -0.25), 44100)) == expected


@pytest.mark.parametrize("rate", [0, -16000, 22050.5, np.nan, np.inf, None, "16000", "high", np.array([8000, 16000])])
def test_rates_that_are_refused(rate):
    with pytest.raises(UserError, match=r"^sample rate .*(expected an integer|at least 1)"):
        Audio(torch.zeros(5), rate)


@pytest.mark.parametrize("shape", [(50,), (1, 50), (2, 50), (1, 2, 50), (1, 1, 50)])
def test_one_signal_is_written(tmp_path, shape):
    write(tmp_path / "a.wav", Audio(np.full(shape, 0.25), 8000))
    channels = 1 if len(shape) == 1 else shape[-2]
    found = read(tmp_path / "a.wav", channels=channels)
    assert found.samples.shape == (channels, 50) and bool((found.samples == 0.25).all())


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 50), "write each clip to a file of its own"),
        ((2, 2, 50), "write each clip to a file of its own"),
        ((4, 1, 50), "write each clip to a file of its own"),
    ],
)
def test_several_signals_are_not_written_to_one_file(tmp_path, shape, words):
    with pytest.raises(UserError, match=words) as caught:
        write(tmp_path / "a.wav", Audio(np.zeros(shape), 8000))
    assert str(tmp_path / "a.wav") in str(caught.value) and not list(tmp_path.iterdir())


def test_a_rate_that_a_format_lacks_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be written at 1000000 Hz"):
        write(tmp_path / "a.flac", Audio(np.zeros(50), 1_000_000))
