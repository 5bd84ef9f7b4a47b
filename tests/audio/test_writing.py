"""What a file holds of the samples that were written, by format, bit depth and dither."""

import math
import time
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio import io, writing
from audiodiff.audio.ogg import _multiply, _power, _reduce, fix_serial
from audiodiff.audio.writing import Encoding, write, write_chunks
from audiodiff.errors import UserError

NOISE = torch.rand(2, 9000, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9


@pytest.mark.parametrize(
    ("format", "depth", "step"),
    [("wav", "16", 2**-15), ("wav", "24", 2**-23), ("flac", "16", 2**-15), ("flac", "24", 2**-23), ("wav", "32f", 0)],
)
def test_samples_are_rounded_to_the_nearest_step(tmp_path, format, depth, step):
    path = tmp_path / f"a.{format}"
    write(path, io.Audio(NOISE, 8000), encoding=Encoding(depth))
    found = torch.from_numpy(soundfile.read(path)[0].T)
    if not step:
        assert torch.equal(found.float(), NOISE)
    else:
        assert torch.equal(found, (NOISE.double() / step).round() * step)


def test_floating_point_holds_peaks_above_full_scale_without_a_warning(tmp_path, recwarn):
    write(tmp_path / "a.wav", io.Audio(torch.tensor([0.0, 1.5, -2.0]), 8000), encoding=Encoding("32f"))
    assert soundfile.read(tmp_path / "a.wav")[0].tolist() == [0, 1.5, -2] and not recwarn.list


@pytest.mark.parametrize("level", [0.0, 0.25, 0.5, 0.9])
def test_dither_makes_the_error_independent_of_the_level(tmp_path, level):
    """The error has mean 0 and a variance of a quarter of a squared step, at every level between steps."""
    write(
        tmp_path / "a.wav", io.Audio(torch.full((200_000,), (100 + level) / 2**15), 8000), encoding=Encoding("16", True)
    )
    error = soundfile.read(tmp_path / "a.wav")[0] * 2**15 - (100 + level)
    assert abs(error.mean()) < 5 * 0.5 / math.sqrt(200_000)
    assert error.var() == pytest.approx(0.25, rel=0.02)


@pytest.mark.parametrize("encoding", [Encoding(), Encoding("24"), Encoding("16", True), Encoding("32f", True)])
@pytest.mark.parametrize("cuts", [[1, 4000], [3000, 6000, 8999]])
def test_pieces_are_the_whole(tmp_path, encoding, cuts):
    pieces = [NOISE[:, start:stop] for start, stop in pairwise([0, *cuts, 9000])]
    write_chunks(tmp_path / "pieces.wav", pieces, 8000, encoding)
    write(tmp_path / "whole.wav", io.Audio(NOISE, 8000), encoding=encoding)
    assert (tmp_path / "pieces.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


def test_ogg_is_the_same_bytes_every_time(tmp_path):
    for name in ("a.ogg", "b.ogg"):
        write(tmp_path / name, io.Audio(NOISE, 16000))
        time.sleep(1.1)  # the encoder's serial number depends on the clock
    assert (tmp_path / "a.ogg").read_bytes() == (tmp_path / "b.ogg").read_bytes()
    assert len(soundfile.read(tmp_path / "a.ogg")[0]) == 9000  # libogg drops pages with a wrong checksum


def test_an_hour_of_ogg_does_not_overflow_the_encoders_stack(tmp_path):
    write(tmp_path / "long.ogg", io.Audio(torch.zeros(3_000_000), 8000))
    assert soundfile.info(tmp_path / "long.ogg").frames == 3_000_000


@given(st.binary(min_size=1, max_size=80), st.integers(0, 60))
def test_the_checksum_of_a_difference_is_that_of_its_bytes_and_zeros(content, zeros):
    def checksum(data: bytes) -> int:
        register = 0
        for byte in data:
            register ^= byte << 24
            for _ in range(8):
                register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
        return register

    fast = _multiply(_reduce(int.from_bytes(content, "big") << 32), _power(8 * zeros))
    assert fast == checksum(content + bytes(zeros))


@settings(max_examples=5, deadline=None)
@given(serial=st.integers(0, 2**32 - 1))
def test_any_serial_number_reads_back(tmp_path_factory, serial):
    path = tmp_path_factory.mktemp("ogg") / "a.ogg"
    write(path, io.Audio(NOISE, 16000))
    before = soundfile.read(path)[0]
    fix_serial(path, serial)
    assert np.array_equal(soundfile.read(path)[0], before)
    assert path.read_bytes()[14:18] == serial.to_bytes(4, "little")


@pytest.mark.parametrize(("format", "depth"), [("flac", "32f"), ("ogg", "24"), ("ogg", "32f")])
def test_a_depth_that_a_format_lacks_is_one_line(tmp_path, format, depth):
    with pytest.raises(UserError, match=f"bit_depth {depth}: is none of {format}; "):
        write(tmp_path / f"a.{format}", io.Audio(NOISE, 8000), encoding=Encoding(depth))
    assert not list(tmp_path.iterdir())


def test_formats_and_depths_are_those_of_the_options():
    assert writing.FORMATS == ("wav", "flac", "ogg") and writing.BIT_DEPTHS == ("16", "24", "32f")
