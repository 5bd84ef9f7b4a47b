"""What a disk refuses is said, and nothing of it stays."""

import pytest
import torch

from audiodiff.audio import io
from audiodiff.errors import UserError

PIECES = list(torch.rand(4, 2, 3000, generator=torch.Generator().manual_seed(0)) - 0.5)


@pytest.mark.parametrize("lacking", [1, 100, 5000, 20000])
@pytest.mark.parametrize("format", io.FORMATS)
def test_a_file_that_does_not_fit_is_refused(limit_files, tmp_path, format, lacking):
    path = tmp_path / f"a.{format}"
    io.write_chunks(path, PIECES, 8000)
    before = path.read_bytes()
    for write in (
        lambda: io.write_chunks(path, PIECES, 8000),
        lambda: io.write(path, io.Audio(torch.cat(PIECES, -1), 8000)),
    ):
        refused = pytest.raises(UserError, match=rf"a\.{format}: cannot be written \(File too large\)")
        with limit_files(max(len(before) - lacking, 0)), refused:
            write()
        assert [file.name for file in tmp_path.iterdir()] == [path.name] and path.read_bytes() == before


@pytest.mark.parametrize("format", io.FORMATS)
def test_pieces_are_the_whole(tmp_path, format):
    io.write_chunks(tmp_path / f"pieces.{format}", PIECES, 8000)
    io.write(tmp_path / f"whole.{format}", io.Audio(torch.cat(PIECES, -1), 8000))
    assert (tmp_path / f"pieces.{format}").read_bytes() == (tmp_path / f"whole.{format}").read_bytes()


def test_a_rate_that_a_format_lacks_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"a\.flac: cannot be written at 700001 Hz"):
        io.write_chunks(tmp_path / "a.flac", PIECES, 700001)
    assert not list(tmp_path.iterdir())
