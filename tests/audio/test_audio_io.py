import errno
import math
import subprocess
import sys
import warnings

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio import writing
from audiodiff.audio.io import EXTENSIONS, Audio, probe, read, resample, write
from audiodiff.errors import UserError


def refused(path, **piece) -> str:
    """The one line with which `path` is refused."""
    with pytest.raises(UserError) as error:
        read(path, **piece)
    line = str(error.value)
    assert line.startswith(str(path)) and "\n" not in line
    return line


def sine(hertz: float, sample_rate: int, samples: int) -> torch.Tensor:
    return (0.5 * torch.sin(2 * math.pi * hertz * torch.arange(samples, dtype=torch.float64) / sample_rate)).float()


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 3000),
    rate=st.sampled_from([8000, 16000, 22050, 44100, 48000]),
    suffix=st.sampled_from([".wav", ".flac"]),
    seed=st.integers(0, 99),
)
def test_written_audio_is_read_back_within_16_bits(tmp_path_factory, samples, rate, suffix, seed):
    path = tmp_path_factory.mktemp("io") / f"new/folder/a{suffix}"
    clip = torch.rand(samples, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    write(path, Audio(clip, rate))
    audio = read(path)
    assert audio.sample_rate == rate and audio.samples.dtype == torch.float32
    torch.testing.assert_close(audio.samples, clip, rtol=0, atol=1.01 / 32768)
    info = probe(path)
    assert (info.samples, info.sample_rate, info.channels) == (samples, rate, 1)
    assert info.seconds == audio.seconds == samples / rate
    assert soundfile.info(path).subtype == "PCM_16"
    assert [other.name for other in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", ".aif", ".ogg", ".opus", ".mp3"])
def test_every_format_is_read_downmixed_and_by_pieces(tmp_path, suffix, speech):
    left, right = speech(1.5, 44100, 0), speech(1.5, 44100, 1)
    path = tmp_path / f"stereo{suffix.upper()}"
    # soundfile does not know all suffixes; Opus has no 44.1 kHz
    format, subtype = {".aif": ("AIFF", None), ".opus": ("OGG", "OPUS")}.get(suffix, (None, None))
    rate = 48000 if suffix == ".opus" else 44100
    soundfile.write(path, torch.stack([left, right], 1).numpy(), rate, format=format, subtype=subtype)
    with warnings.catch_warnings(action="error"):
        whole = read(path)
    assert abs(len(whole.samples) - len(left)) < 2400
    mixed = (left + right) / 2
    lossless = suffix not in (".ogg", ".opus", ".mp3")
    error = (whole.samples[: len(left)] - mixed[: len(whole.samples)]).square().mean() / mixed.square().mean()
    assert error < (1e-6 if lossless else 0.05)
    piece = read(path, start=20000, samples=5000)
    torch.testing.assert_close(piece.samples, whole.samples[20000:25000], rtol=0, atol=0)
    assert len(read(path, start=len(whole.samples) - 10, samples=50).samples) == 10


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 2500), samples=st.none() | st.integers(1, 2500))
def test_a_piece_equals_the_slice(tmp_path_factory, start, samples):
    path = tmp_path_factory.getbasetemp() / "ramp.wav"
    ramp = (torch.arange(2000) - 1000) / 1024
    write(path, Audio(ramp, 8000))
    if start >= 2000:
        assert "no sample" in refused(path, start=start, samples=samples)
    else:
        end = None if samples is None else start + samples
        assert torch.equal(read(path, start=start, samples=samples).samples, ramp[start:end])


def test_only_the_piece_is_decoded(tmp_path, monkeypatch):
    write(tmp_path / "long.wav", Audio(torch.zeros(100_000), 8000))
    decoded = []
    original = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames=-1, **options: decoded.append(frames) or original(self, frames, **options),
    )
    read(tmp_path / "long.wav", start=50_000, samples=10)
    assert decoded == [10]


def test_resampling_keeps_a_tone(tmp_path):
    for source, target in ((44100, 16000), (16000, 22050), (48000, 16000), (44101, 16000)):
        out = resample(sine(440, source, source), source, target)
        assert abs(len(out) - target) <= 1
        middle = slice(target // 10, -target // 10)
        torch.testing.assert_close(out[middle], sine(440, target, len(out))[middle], rtol=0, atol=1e-3)
    alias = resample(sine(12000, 44100, 44100), 44100, 16000)
    assert alias[1600:-1600].abs().max() < 1e-3
    batch = torch.randn(2, 3, 4410)
    assert resample(batch, 44100, 16000).shape == (2, 3, 1600)
    assert resample(batch, 16000, 16000) is batch
    write(tmp_path / "a.wav", Audio(sine(440, 44100, 44100), 44100))
    audio = read(tmp_path / "a.wav", sample_rate=16000)
    assert audio.sample_rate == 16000 and len(audio.samples) == 16000


def test_eight_channels_at_192_khz_are_mixed_and_resampled_with_one_warning(tmp_path):
    path = tmp_path / "studio.wav"
    tone = sine(300, 192000, 96000)
    soundfile.write(path, torch.stack([tone * k / 4.5 for k in range(1, 9)], 1).numpy(), 192000)
    with pytest.warns(UserWarning, match="8 channels at 192000 Hz") as caught:
        audio = read(path, sample_rate=16000)
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    assert audio.sample_rate == 16000 and audio.seconds == 0.5
    torch.testing.assert_close(audio.samples[800:-800], sine(300, 16000, 8000)[800:-800], rtol=0, atol=2e-3)


def test_files_that_hold_no_audio(tmp_path):
    assert "no such file" in refused(tmp_path / "none.wav")
    (tmp_path / "folder.wav").mkdir()
    assert "folder" in refused(tmp_path / "folder.wav")
    for suffix in EXTENSIONS:
        empty, text = tmp_path / f"empty{suffix}", tmp_path / f"text{suffix}"
        empty.touch()
        text.write_text("this is no sound\n" * 500)
        assert "empty" in refused(empty)
        assert "not readable audio" in refused(text)
        with pytest.raises(UserError, match="not readable audio"):
            probe(text)
    (tmp_path / "notes.txt").write_text("text")
    assert ".flac" in refused(tmp_path / "notes.txt")
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16000)
    assert "holds 0 samples" in refused(tmp_path / "nothing.wav")


@settings(max_examples=25, deadline=None)
@given(content=st.binary(min_size=1, max_size=300), suffix=st.sampled_from(EXTENSIONS))
def test_random_bytes_never_escape_as_anything_else(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"random{suffix}"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("suffix", [".flac", ".mp3"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 40000), 16000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "truncated" in refused(path)
    if suffix == ".flac":
        assert "truncated" in refused(path, start=35000, samples=100)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_samples_are_refused_when_reading_and_writing(tmp_path, bad):
    samples = np.zeros(1000, dtype=np.float32)
    samples[500] = bad
    soundfile.write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    assert "NaN or infinite" in refused(tmp_path / "bad.wav")
    assert len(read(tmp_path / "bad.wav", samples=400).samples) == 400
    with pytest.raises(UserError, match="NaN or infinite"):
        write(tmp_path / "out.wav", Audio(torch.from_numpy(samples), 16000))
    assert not (tmp_path / "out.wav").exists()


def test_peaks_above_one_are_clipped_with_a_warning(tmp_path):
    path = tmp_path / "loud.flac"
    with pytest.warns(UserWarning, match=r"peak 1\.50"):
        write(path, Audio(torch.tensor([0.5, -1.5, 1.2]), 16000))
    assert read(path).samples.tolist() == [0.5, -1.0, 32767 / 32768]


def test_format_overrides_suffix_and_unknown_formats_are_refused(tmp_path):
    write(tmp_path / "a.bin", Audio(torch.zeros(10), 16000), format="flac")
    assert soundfile.info(tmp_path / "a.bin").format == "FLAC"
    for name in ("a.mp3", "a", "a.txt"):
        with pytest.raises(UserError, match=r"use \.wav, \.flac or \.ogg"):
            write(tmp_path / name, Audio(torch.zeros(10), 16000))
    with pytest.raises(ValueError, match="one signal"):
        write(tmp_path / "a.wav", Audio(torch.zeros(3, 10), 16000))


def test_a_full_disk_and_a_path_below_a_file(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    write(path, Audio(torch.ones(10) / 2, 16000))
    before = path.read_bytes()

    class Full(writing.Disk):
        def write(self, content):
            self.error = OSError(errno.ENOSPC, "No space left on device")
            return len(content)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "Disk", Full)
        with pytest.raises(UserError, match="No space left"):
            write(path, Audio(torch.zeros(10), 16000))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(UserError, match="cannot be written"):
        write(path / "b.wav", Audio(torch.zeros(10), 16000))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([".wav", ".flac"]), st.integers(1, 2), st.integers(100, 3000), st.integers(0, 9))
def test_channels_argument(tmp_path_factory, suffix, channels, samples, seed):
    path = tmp_path_factory.mktemp("io") / f"a{suffix}"
    clip = torch.rand(channels, samples, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    write(path, Audio(clip, 8000))
    assert probe(path).channels == channels
    both, one, mono = (read(path, channels=count).samples for count in (2, 1, None))
    torch.testing.assert_close(both, clip.expand(2, -1), rtol=0, atol=1.01 / 32768)
    torch.testing.assert_close(mono, both.mean(0))
    assert torch.equal(one, mono[None])
    assert torch.equal(read(path, start=10, samples=50, channels=2).samples, both[:, 10:60])
    assert torch.equal(read(path, 16000, channels=2).samples, resample(both, 8000, 16000))


def test_more_channels_than_two_are_mixed(tmp_path):
    data = torch.rand(6, 500)
    soundfile.write(tmp_path / "a.wav", data.T.numpy(), 8000, "FLOAT")
    with pytest.warns(UserWarning, match="6 channels"):
        both = read(tmp_path / "a.wav", channels=2).samples
    torch.testing.assert_close(both, data.mean(0).expand(2, -1))


def test_nonsense_pieces_are_programming_errors(tmp_path):
    for piece in ({"start": -1}, {"samples": 0}):
        with pytest.raises(ValueError, match="slice"):
            read(tmp_path / "a.wav", **piece)


def test_duration_of_audio():
    assert Audio(torch.zeros(3, 8000), 16000).seconds == 0.5


@pytest.mark.parametrize("shape", [(1,), (1001,), (2, 7), (2, 1, 4000)])
@pytest.mark.parametrize("rates", [(24000, 16000), (16000, 24000), (44100, 12345)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resampling_is_librosas_bit_for_bit(shape, rates, dtype):
    samples = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    wanted = librosa.resample(samples.numpy(), orig_sr=rates[0], target_sr=rates[1], res_type="soxr_hq")
    found = resample(samples, *rates)
    assert found.dtype == dtype and np.array_equal(found.numpy(), wanted)


def test_resampling_imports_nothing_that_compiles():
    code = "import sys, torch; from audiodiff.audio.io import resample; resample(torch.ones(9), 2, 3)"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'numba' not in sys.modules"], check=True)
