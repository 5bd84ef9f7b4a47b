"""Shards: the same clips and crops, in an order that takes some archives at a time and resumes anywhere."""

import io
import tarfile
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from audiodiff.audio.io import Audio, read, write
from audiodiff.audio.reading.shard import find_member, open_file
from audiodiff.cli import build
from audiodiff.data.dataset import SHARDS_AT_ONCE, CropDataset, DrawSampler
from audiodiff.data.manifest import Manifest
from audiodiff.data.preparation import prepare
from audiodiff.data.shards import shard_numbers, write_shards
from audiodiff.errors import UserError

CLIPS, RATE = 60, 8000


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    for number in range(CLIPS):
        samples = 0.1 * torch.randn(4000, generator=torch.Generator().manual_seed(number))
        write(root / "in" / f"clip {number} é.wav", Audio(samples, RATE))
    return prepare([f"folder:{root / 'in'}"], root / "data")


@pytest.fixture(scope="module")
def sharded(plain, tmp_path_factory):
    return write_shards(plain, tmp_path_factory.mktemp("out") / "shards", 0.03)


def test_every_clip_is_there_with_its_samples_and_split(plain, sharded):
    loaded = Manifest.load(sharded.root)
    assert loaded == sharded and {clip.id: clip.split for clip in loaded.clips} == {c.id: c.split for c in plain.clips}
    by_id = {clip.id: clip for clip in plain.clips}
    for clip in loaded.clips:
        path, original = loaded.path(clip), plain.path(by_id[clip.id])
        assert torch.equal(read(path).samples, read(original).samples)
        assert torch.equal(read(path, start=1234, samples=500).samples, read(original, start=1234, samples=500).samples)
        with open_file(path) as member, open_file(original) as file:
            assert member.read() == file.read()
    numbers = shard_numbers(loaded.clips)
    assert numbers is not None and len(set(numbers)) == len(list(sharded.root.glob("*.tar"))) > 2 * SHARDS_AT_ONCE
    for number in set(numbers):
        assert len({clip.split for clip, one in zip(loaded.clips, numbers, strict=True) if one == number}) == 1


def test_equal_clips_make_equal_archives_and_old_ones_go(plain, sharded, tmp_path):
    (tmp_path / "99999.tar").write_bytes(b"old")
    again = write_shards(plain, tmp_path, 0.03)
    for archive in sharded.root.glob("*.tar"):
        assert (tmp_path / archive.name).read_bytes() == archive.read_bytes()
    assert not (tmp_path / "99999.tar").exists() and [c.path for c in again.clips] == [c.path for c in sharded.clips]
    with pytest.raises(UserError, match="is in shards already"):
        write_shards(sharded, tmp_path / "more", 1)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_pass_has_every_clip_and_some_shards_at_a_time(sharded, weighted):
    training = sharded.with_splits("train")
    weights = np.linspace(1, 2, len(training)) if weighted else None
    dataset = CropDataset(training, RATE, 2000, seed=3, weights=weights)
    numbers = dict(zip([clip.id for clip in training.clips], shard_numbers(training.clips), strict=True))
    passes = []
    for number in range(2):
        draws = range(number * dataset.draws_per_pass, (number + 1) * dataset.draws_per_pass)
        passes.append([dataset.clip(draw).id for draw in draws])
    for ids in passes:
        if not weighted:
            assert sorted(ids) == sorted(clip.id for clip in training.clips for _ in range(2))
        seen = [numbers[one] for one in ids]
        spans = {shard: (seen.index(shard), len(seen) - seen[::-1].index(shard)) for shard in set(seen)}
        open_at = [sum(start <= place < stop for start, stop in spans.values()) for place in range(len(seen))]
        assert max(open_at) <= SHARDS_AT_ONCE
        assert len(list(groupby(seen))) > len(set(seen))  # within a group they are mixed
    assert passes[0] != passes[1]


def test_a_crop_is_that_of_its_draw_wherever_a_run_begins(sharded):
    """Resumed within a shard, and shared by two ranks: draw n is the same crop."""
    training = sharded.with_splits("train")
    one = CropDataset(training, 16000, 3000, seed=5)
    unbroken = [one[draw]["waveform"] for draw in range(20)]
    for rank, ranks, done in ((0, 1, 7), (0, 2, 6), (1, 2, 6)):
        other, sampler = CropDataset(training, 16000, 3000, seed=5), iter(DrawSampler(done + rank, ranks))
        for draw in (next(sampler) for _ in range(5)):
            assert torch.equal(other[draw]["waveform"], unbroken[draw])


@pytest.mark.parametrize("damage", ["cut", "text", "gone", "name", "link"])
def test_a_damaged_shard_is_one_line(sharded, tmp_path, damage):
    archive = tmp_path / "00000.tar"
    content = (sharded.root / "00000.tar").read_bytes()
    first = next(clip for clip in sharded.clips if clip.path.startswith("00000.tar/"))
    name = first.path.removeprefix("00000.tar/")
    if damage != "gone":
        archive.write_bytes({"cut": content[:700], "text": b"no archive"}.get(damage, content))
    if damage == "link":
        with tarfile.open(archive, "w") as tar:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(entry, io.BytesIO())
    path = archive / (name + ("x.flac" if damage == "name" else ""))
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert find_member(path) is None


def test_the_command_writes_shards_that_train(plain, tmp_path):
    words = ["prepare", f"folder:{plain.root.parent / 'in'}", "--out", str(tmp_path / "data"), "--shards", "0.05"]
    answer = CliRunner().invoke(build(), words)
    assert answer.exit_code == 0 and f"data.path={tmp_path / 'data' / 'shards'}" in answer.output, answer.output
    sharded = Manifest.load(tmp_path / "data" / "shards")
    assert len(sharded) == CLIPS
    from audiodiff.data.audit import Audit

    assert Audit.matches(sharded)
    refused = CliRunner().invoke(build(), [*words[:-1], "0"])
    assert refused.exit_code != 0 and isinstance(refused.exception, UserError)
    assert Path(tmp_path / "data" / "shards" / "00000.tar").is_file()
