"""Audio files as users have them: each is read to its end, or refused in one line that says why."""

import os
import struct
import warnings

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_files import ALL, Odd, by_pyav, decoded, encoded, sound
from scipy.signal import correlate

from audiodiff.audio import io
from audiodiff.audio.io import AudioFile, probe, read, resample_for_flac
from audiodiff.audio.reading import pyav
from audiodiff.audio.reading.folder import files_below, obstacle
from audiodiff.audio.reading.formats import format_of
from audiodiff.errors import UserError

FILES = {odd.name: odd for odd in ALL()}
READABLE = [odd for odd in FILES.values() if not odd.problem]
needs_pyav = pytest.mark.skipif(not pyav.installed(), reason="PyAV is not installed")


@pytest.fixture
def without_pyav(monkeypatch):
    monkeypatch.setattr(pyav, "installed", lambda: False)


@pytest.mark.parametrize("odd", READABLE, ids=lambda odd: odd.name)
def test_is_read_to_its_end(tmp_path, odd, without_pyav):
    path = odd.write(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = read(path).samples.numpy()
    remarks = [str(warning.message) for warning in caught]
    assert [odd.remark in remark for remark in remarks] == [True] * bool(odd.remark), remarks
    if odd.samples is None:
        assert len(samples) == odd.length
    else:
        assert np.array_equal(samples, odd.samples)
    assert probe(path).samples == len(samples)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("odd", READABLE, ids=lambda odd: odd.name)
def test_a_crop_is_the_slice_of_the_whole(tmp_path, odd, without_pyav):
    path = odd.write(tmp_path)
    whole = read(path).samples
    for start, length in ((0, 1000), (1, 5), (7777, 4000), (len(whole) - 300, 200), (len(whole) - 10, 50)):
        piece = read(path, start=start, samples=length).samples
        assert piece.equal(whole[start : start + length]), (start, length)
    with pytest.raises(UserError, match=f"holds {len(whole)} samples, no sample"):
        read(path, start=len(whole))


@pytest.mark.parametrize("odd", [odd for odd in FILES.values() if odd.problem], ids=lambda odd: odd.name)
def test_is_refused_in_one_line(tmp_path, odd, without_pyav, memory_limit):
    path = odd.write(tmp_path)
    with memory_limit(256 << 20), pytest.raises(UserError) as error:
        read(path)
    line = str(error.value)
    assert line.startswith(str(path)) and odd.problem in line and "\n" not in line


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["MP3_MPEG_LAYER_III.mp3", "chained.ogg", "GSM610_states_0.wav", "FLAC_PCM_16.flac"])
def test_consecutive_slices_of_an_open_file(tmp_path, name):
    path = FILES[name].write(tmp_path)
    whole = read(path).samples
    with AudioFile(path) as file:
        pieces = [read(file, start=start, samples=5000).samples for start in range(0, len(whole), 5000)]
        again = read(file, start=100, samples=50).samples
    assert sum(map(len, pieces)) == len(whole)
    assert all(piece.equal(whole[5000 * k :][:5000]) for k, piece in enumerate(pieces))
    assert again.equal(whole[100:150])


@pytest.mark.parametrize("format", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64", "NIST", "VOC"])
def test_unfinished_headers_of_killed_programs(tmp_path, format, without_pyav):
    path = tmp_path / f"killed.{'sph' if format == 'NIST' else format.lower()}"
    with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16", format=format) as file:
        file.write(sound())
        file.flush()
        left = path.read_bytes()
    path.write_bytes(left)
    whole = decoded(encoded("WAV"))
    whole = whole[:-1] if format == "VOC" else whole  # whose last byte libsndfile takes for the end's mark
    assert np.array_equal(read(path).samples.numpy(), whole)


@pytest.mark.parametrize("stated", ["wrapped", "unknown", "zero"])
def test_wav_beyond_4_gib(tmp_path, stated):
    content = encoded("WAV")
    at = content.index(b"data") + 4
    bytes_ = (1 << 32) + 2 * len(sound())
    size = {"wrapped": bytes_ & 0xFFFFFFFF, "unknown": 0xFFFFFFFF, "zero": 0}[stated]
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(content[:4] + struct.pack("<I", size) + content[8:at] + struct.pack("<I", size))
        file.seek(1 << 32, os.SEEK_CUR)
        file.write(content[at + 4 :])
    assert probe(path).samples == bytes_ // 2
    assert np.array_equal(read(path, start=1 << 31).samples.numpy(), decoded(content))


def test_voc_beyond_16_mib(tmp_path):
    """Its length has 24 bits."""
    samples = np.resize(sound(), 9_000_000)
    whole = encoded("VOC", samples=samples)
    path = Odd("long.voc", whole + b"TAG" + b"\xff\x7f" * 400).write(tmp_path)
    with pytest.warns(UserWarning, match="803 bytes after"):
        found = read(path, start=8_990_000).samples.numpy()
    assert np.array_equal(found, decoded(encoded("WAV", samples=samples[8_990_000:])))


def test_audio_above_the_size_limit_is_refused(tmp_path, monkeypatch):
    path = Odd("a.wav", encoded("WAV")).write(tmp_path)
    monkeypatch.setattr(io, "MAX_SAMPLES", 20000)
    assert len(read(path, samples=20000).samples) == 20000
    with pytest.raises(UserError, match="is longer than can be read at once"):
        read(path)
    with pytest.raises(UserError, match="is longer than can be read at once"):  # it would be, resampled
        read(path, 48000, samples=10000)


@pytest.mark.parametrize(
    ("content", "suffix", "words"),
    [
        (
            b"\0\0\0\x20ftypM4A " + bytes(99),
            ".mp3",
            "is MPEG-4, not MP3, which needs PyAV; install it (`pip",
        ),
        (b"\x1a\x45\xdf\xa3" + bytes(99), ".mkv", "is Matroska, which needs PyAV"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(99), ".wma", "is Windows Media, which needs PyAV"),
        (b"\xff\xf1\x50\x80" + bytes(99), ".aac", "is AAC, which needs PyAV"),
        (b"RIFF" + bytes(4) + b"AVI " + bytes(99), ".wav", "is AVI, not WAV, which needs PyAV"),
        (b"RIFF\x40\0\0\0WAVEfmt \x10\0\0\0\x50\x20" + bytes(60), ".wav", "is WAV, which libsndfile does not read"),
    ],
)
def test_formats_that_need_pyav_name_it(tmp_path, without_pyav, content, suffix, words):
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(UserError) as error:
        read(tmp_path / f"a{suffix}")
    assert words in str(error.value)


CONTAINERS = {
    "a.m4a": ("ipod", "aac"),
    "a.mp4": ("mp4", "aac"),
    "a.mov": ("mov", "aac"),
    "a.mkv": ("matroska", "aac"),
    "a.mka": ("matroska", "ac3"),
    "a.wma": ("asf", "wmav2"),
    "a.aac": ("adts", "aac"),
    "misnamed.mp3": ("ipod", "aac"),
}


@needs_pyav
@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_read_through_pyav(tmp_path, name):
    format, codec = CONTAINERS[name]
    path = by_pyav(tmp_path / name, format, codec, sound())
    whole = read(path).samples
    assert probe(path).samples == len(whole) and abs(len(whole) - len(sound())) < 5000
    middle = sound()[4000:20000]
    at = correlate(whole.numpy(), middle, "valid").argmax()
    assert np.square(whole.numpy()[at : at + len(middle)] - middle).mean() < 0.1 * np.square(middle).mean()
    assert read(path, start=9000, samples=5000).samples.equal(whole[9000:14000])


@needs_pyav
def test_about_how_long_a_container_is_costs_no_decoding(tmp_path, monkeypatch):
    path = by_pyav(tmp_path / "a.m4a", "ipod", "aac", sound())
    monkeypatch.setattr(pyav.PyavDecoder, "read", None)
    with AudioFile(path) as file:
        assert abs(file.seconds - len(sound()) / 44100) < 0.1


@needs_pyav
def test_reasons_are_words(tmp_path):
    (tmp_path / "a.flac").write_bytes(encoded("FLAC")[:60])
    with pytest.raises(UserError, match=r"a\.flac: is FLAC, which libsndfile does not read \("):
        read(tmp_path / "a.flac")
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(99))
    with pytest.raises(UserError, match=r"a\.m4a: is not readable as MPEG-4 \(Invalid data found [a-z ]+\)$"):
        read(tmp_path / "a.m4a")


@needs_pyav
def test_pyav_reads_no_more_channels_than_there_are(tmp_path):
    for count in (1, 2, 8, 9, 40):
        whole = np.stack([sound(k) for k in range(count)], 1)
        path = Odd("a.wav", encoded("WAV", "FLOAT", whole)).write(tmp_path)
        if count > 8:
            with pytest.raises(UserError, match=f"has {count} channels"):
                pyav.PyavDecoder(path, format_of(path))
        else:
            decoder = pyav.PyavDecoder(path, format_of(path))
            blocks = []
            while len(block := decoder.read(5000)):
                blocks.append(block)
            assert np.array_equal(np.concatenate(blocks), whole)


@needs_pyav
def test_containers_that_were_cut_off_are_refused(tmp_path):
    long = np.concatenate([sound(k) for k in range(6)])
    matroska = by_pyav(tmp_path / "a.mkv", "matroska", "aac", long)
    assert len(read(matroska).samples) >= len(long)
    matroska.write_bytes(matroska.read_bytes()[: matroska.stat().st_size // 2])
    with pytest.raises(UserError, match="is truncated"):
        read(matroska)
    path = by_pyav(tmp_path / "a.m4a", "ipod", "aac", long)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="MPEG-4"):  # what describes the samples stands at the end
        read(path)
    mdat, moov = content.index(b"mdat") - 4, content.index(b"moov") - 4
    moved = bytearray(content[:mdat] + content[moov:] + content[mdat:moov])
    shift = len(content) - moov
    at = moved.index(b"stco") + 8
    for k in range(struct.unpack_from(">I", moved, at)[0]):
        place = at + 4 + 4 * k
        struct.pack_into(">I", moved, place, struct.unpack_from(">I", moved, place)[0] + shift)
    path.write_bytes(moved)
    assert len(read(path).samples) >= len(long)
    path.write_bytes(moved[: len(moved) * 2 // 3])
    with pytest.raises(UserError, match="is truncated"):
        read(path)


SPOILED = [FILES[name] for name in FILES if name.startswith(("WAV_PCM_16", "WAV_GSM", "AIFF_PCM_16", "CAF_PCM_16"))]
SPOILED += [odd for odd in FILES.values() if odd.name.startswith(("W64_PCM_16", "AU_PCM_16", "VOC_PCM_16", "NIST_PCM"))]
SPOILED += [FILES[name] for name in ("FLAC_PCM_16.flac", "chained.ogg", "chained.opus", "MP3_MPEG_LAYER_III.mp3")]


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=250, deadline=None)
@given(
    odd=st.sampled_from(SPOILED),
    changes=st.lists(st.tuples(st.integers(0, 200), st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))),
    keep=st.none() | st.integers(1, 3000),
)
def test_a_damaged_header_is_refused_or_read_within_bounds(tmp_path_factory, memory_limit, odd, changes, keep):
    content = bytearray(odd.content[:keep])
    for at, value in changes[:8]:
        content[at % len(content)] = value
    path = Odd(odd.name, bytes(content)).write(tmp_path_factory.getbasetemp())
    with memory_limit(1 << 30):
        try:
            samples = read(path, samples=100_000).samples
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert 0 < len(samples) <= 100_000


def test_a_rate_that_no_audio_has_is_refused(tmp_path):
    """Resampled, a few bytes of it would fill the memory."""
    path = Odd("slow.wav", encoded("WAV", rate=1)).write(tmp_path)
    with pytest.raises(UserError, match="is at 1 Hz"):
        probe(path)


@needs_pyav
@pytest.mark.parametrize("name", ["a.m4a", "a.mkv", "a.wma"])
def test_a_damaged_container_is_refused_or_read_within_bounds(tmp_path, memory_limit, name):
    content = by_pyav(tmp_path / name, *CONTAINERS[name], sound()).read_bytes()
    random = np.random.default_rng(0)
    with memory_limit(1 << 30):
        for _ in range(60):
            damaged = np.frombuffer(content, np.uint8).copy()
            damaged[random.integers(0, len(content), 6)] = random.choice([0, 1, 127, 128, 255], 6)
            path = Odd(name, damaged[: random.integers(1, 2 * len(content))].tobytes()).write(tmp_path)
            try:
                assert len(read(path, samples=100_000).samples) <= 100_000
            except UserError as error:
                assert str(error).startswith(str(path)) and "\n" not in str(error)


def test_invalid_file_names(tmp_path):
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    for name, words in {
        "a\0b.wav": "not a valid file name",
        "x" * 300 + ".wav": "cannot be read",
        "two\nlines.wav": "no such file",
        "loop.wav": "cannot be read",
        "gone.wav": "is a link to nothing",
        "pipe.wav": "is not a file that can be read more than once",
    }.items():
        with pytest.raises(UserError) as error:
            read(tmp_path / name)
        assert words in str(error.value) and "\n" not in str(error.value)


def test_folders_are_searched_once_through_links(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    for path in (root / "b/one.wav", other / "two.wav", root / "b/notes.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "a_link_to_b").symlink_to(root / "b")  # found under its own path, as if the link were not there
    (root / "c").symlink_to(other)
    (root / "d").symlink_to(other)
    (other / "back").symlink_to(root)
    (root / "b/gone.wav").symlink_to(root / "nothing")
    (root / "b/self").symlink_to(root / "b/self")
    os.mkfifo(root / "b/pipe.wav")
    for name in (".hidden.wav", ".hidden/three.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    found = files_below(root, {".wav"})
    assert [path.relative_to(root).as_posix() for path in found] == ["b/gone.wav", "b/one.wav", "c/two.wav"]
    assert [obstacle(path) for path in found] == ["is a link to nothing", "", ""]


def test_rates_that_flac_cannot_have_are_resampled(tmp_path):
    for rate, stored in ((48000, 48000), (65535, 65535), (655350, 655350), (100001, 100000), (768000, 655350)):
        tone = 0.5 * np.sin(np.arange(rate // 20) * 2 * np.pi * 1000 / rate)
        io.write(tmp_path / "a.flac", resample_for_flac(io.Audio(tone, rate)))
        with warnings.catch_warnings(action="ignore"):
            again = read(tmp_path / "a.flac")
        assert again.sample_rate == stored and abs(again.seconds - 0.05) < 1e-4
        spectrum = np.abs(np.fft.rfft(again.samples.numpy() * np.hanning(len(again.samples))))
        assert abs(spectrum.argmax() / again.seconds - 1000) < 20
