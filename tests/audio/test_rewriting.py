"""A rewritten file has every sample of its source but those that are replaced, in the same encoding."""

import signal

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio import writing
from audiodiff.audio.io import Audio
from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.audio.rewriting import Replacement, default_suffix, encoding_for, rewrite
from audiodiff.errors import UserError

RATE = 11025


def noise(samples: int = 3000, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (samples, channels))


def rewritten(source, target, *replacements) -> int:
    with AudioFile(source) as file:
        return rewrite(file, target, replacements, encoding_for(file, target))


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        *((".wav", name) for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
        *((".flac", name) for name in ("PCM_16", "PCM_24")),
        (".aiff", "PCM_16"),
    ],
)
def test_every_encoding_is_kept(tmp_path, suffix, subtype, channels):
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    soundfile.write(source, noise(channels=channels), RATE, subtype)
    part = torch.linspace(-1, 1, 500).expand(channels, -1)
    assert rewritten(source, target, Replacement(1000, 1500, part)) == 3000
    infos = [soundfile.info(path) for path in (source, target)]
    for name in ("format", "subtype", "samplerate", "channels", "frames"):
        assert getattr(infos[0], name) == getattr(infos[1], name)
    before, after = (soundfile.read(path, dtype="float64", always_2d=True)[0] for path in (source, target))
    assert np.array_equal(before[:1000], after[:1000]) and np.array_equal(before[1500:], after[1500:])
    step = 0.05 if "LAW" in subtype else 2 ** -(7 if "8" in subtype else 15)
    np.testing.assert_allclose(after[1000:1500], part.T, rtol=0, atol=step)


@pytest.mark.parametrize(("subtype", "flac"), [("PCM_U8", "PCM_S8"), ("ULAW", "PCM_16"), ("PCM_24", "PCM_24")])
def test_flac_takes_the_smallest_encoding_that_holds_the_samples(tmp_path, subtype, flac):
    source, target = tmp_path / "a.wav", tmp_path / "b.flac"
    soundfile.write(source, noise(channels=1), RATE, subtype)
    part = torch.zeros(1, 500)
    rewritten(source, target, Replacement(1000, 1500, part))
    before, after = (soundfile.read(path, dtype="float64")[0] for path in (source, target))
    assert soundfile.info(target).subtype == flac
    assert np.array_equal(before[:1000], after[:1000]) and np.array_equal(before[1500:], after[1500:])


def test_what_flac_does_not_hold_is_said(tmp_path):
    for name, subtype, channels, message in (
        ("float", "FLOAT", 1, "FLAC does not hold the samples"),
        ("wide", "PCM_32", 1, "FLAC does not hold the samples"),
        ("many", "PCM_16", 9, "FLAC holds 8 channels, not 9; use .wav"),
    ):
        source = tmp_path / f"{name}.wav"
        soundfile.write(source, noise(channels=channels), RATE, subtype)
        with pytest.raises(UserError, match=message):
            rewritten(source, tmp_path / "b.flac")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(-400, 3400), min_size=2, max_size=6, unique=True))
def test_any_parts_are_replaced(tmp_path_factory, ends):
    folder = tmp_path_factory.mktemp("rewriting")
    ends = sorted(ends)[: len(ends) // 2 * 2]
    soundfile.write(folder / "a.wav", noise(channels=1), RATE)
    before = soundfile.read(folder / "a.wav")[0]
    parts = [Replacement(a, b, torch.full((1, b - a), 0.25)) for a, b in zip(ends[::2], ends[1::2], strict=True)]
    parts = [part for part in parts if part.start < 3000 and part.stop > 0]
    count = rewritten(folder / "a.wav", folder / "b.wav", *parts)
    after = soundfile.read(folder / "b.wav")[0]
    left = max(-parts[0].start, 0) if parts else 0
    right = max(parts[-1].stop - 3000, 0) if parts else 0
    expected = np.concatenate([np.zeros(left), before, np.zeros(right)])
    for start, stop, _ in parts:
        expected[left + start : left + stop] = 0.25
    assert count == len(after) and np.array_equal(after, expected)


def test_what_loses_samples_is_written_as_it_is_decoded(tmp_path):
    soundfile.write(tmp_path / "a.ogg", 0.5 * noise(9000), RATE)
    with AudioFile(tmp_path / "a.ogg") as file:
        assert default_suffix(file) == ".wav"
        before = np.concatenate(list(file.blocks()))
        with pytest.raises(UserError, match=r"b.ogg: 'ogg' is not a format that keeps every sample; use .wav"):
            encoding_for(file, tmp_path / "b.ogg")
        with pytest.raises(UserError, match=r"b.flac: FLAC does not hold .*FLOAT"):
            encoding_for(file, tmp_path / "b.flac")
    rewritten(tmp_path / "a.ogg", tmp_path / "b.wav", Replacement(10, 20, torch.zeros(2, 10)))
    after = soundfile.read(tmp_path / "b.wav", dtype="float32")[0]
    before[10:20] = 0
    assert np.array_equal(before, after) and soundfile.info(tmp_path / "b.wav").subtype == "FLOAT"


def test_peaks_are_clipped_with_a_warning(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(100, 1), RATE)
    with pytest.warns(UserWarning, match=r"peak 2.00 is above full scale"):
        rewritten(tmp_path / "a.wav", tmp_path / "b.wav", Replacement(10, 20, torch.full((1, 10), 2.0)))
    assert soundfile.read(tmp_path / "b.wav", dtype="int16")[0][10:20].tolist() == [32767] * 10


def test_a_full_disk_leaves_nothing(tmp_path, limit_files):
    soundfile.write(tmp_path / "a.wav", noise(100_000, 1), RATE)
    with limit_files(10_000), pytest.raises(UserError, match="cannot be written"):
        rewritten(tmp_path / "a.wav", tmp_path / "b.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.fixture
def interruptible():
    """Python's handler of SIGINT, which a shell may leave ignored in its background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("replacing", [True, False])
def test_an_interruption_while_libsndfile_calls_back_is_not_lost(tmp_path, monkeypatch, replacing):
    """A handler that raises within the callback does it in vain: cffi swallows it, and the file is written."""
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(source, noise(), RATE, "PCM_16")
    write, calls = writing.Disk.write, []

    def interrupted(disk, content):
        calls.append(content)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return write(disk, content)

    monkeypatch.setattr(writing.Disk, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        if replacing:
            rewritten(source, target)
        else:
            writing.write(target, Audio(torch.zeros(9000), RATE))
    assert not target.exists() and len(calls) >= 2
