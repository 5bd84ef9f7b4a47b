"""Arrays of others are read within bounds, or refused in one line."""

import zipfile

import numpy as np
import pytest
import torch

from audiodiff.audio.mel import array as mel_array
from audiodiff.audio.mel.array import read_array
from audiodiff.errors import UserError

CLAIM = b"{'descr': '<f4', 'fortran_order': False, 'shape': (80, 1099511627776)}"
HUGE = b"\x93NUMPY\x01\x00\x76\x00" + CLAIM.ljust(118)


def huge_member(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mel.npy", HUGE + bytes(960))


def bomb(path):
    np.savez_compressed(path, mel=np.zeros((80, 10_000)))


def expanded(path):
    torch.save(torch.zeros(1).expand(80, 1 << 40), path)


def words(path):
    torch.save({"mel": ["a", "b"]}, path)


@pytest.mark.parametrize(
    ("name", "make", "problem"),
    [
        ("a.npz", huge_member, "its header"),
        ("b.npz", bomb, "unpacks to more than"),
        ("c.pt", expanded, "too many"),
        ("d.pt", words, "no array of real numbers"),
        ("e.npz", lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "cannot be read"),
        ("f.pt", lambda path: path.write_bytes(b"\x80\x02}q\x00."), "cannot be read"),
    ],
)
def test_malicious_archives_are_refused(tmp_path, memory_limit, monkeypatch, name, make, problem):
    monkeypatch.setattr(mel_array, "MAX_BYTES", 1 << 20)
    make(tmp_path / name)
    with memory_limit(512 << 20), pytest.raises(UserError) as error:
        read_array(tmp_path / name)
    line = str(error.value)
    assert line.startswith(str(tmp_path / name)) and problem in line and "\n" not in line


def test_archives_of_arrays_are_read(tmp_path):
    mel = np.arange(240, dtype=np.float32).reshape(80, 3)
    np.savez_compressed(tmp_path / "a.npz", other=mel[:2], mel=np.asfortranarray(mel))
    torch.save({"mel": torch.from_numpy(mel)}, tmp_path / "a.pt")
    for name in ("a.npz", "a.pt"):
        array, spec = read_array(tmp_path / name)
        assert np.array_equal(array, mel) and spec is None
