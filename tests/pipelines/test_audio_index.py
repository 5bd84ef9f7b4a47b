"""Search of a folder: what is embedded when, what cannot be read, places within recordings."""

import os
from pathlib import Path

import pytest
import torch

from audiodiff.audio.io import Audio, write
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_index import WINDOW, AudioIndex, cache_folder
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder

RATE = 8000


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def embedder(audio_text_folder):
    return AudioTextEmbedder.from_pretrained(audio_text_folder)


@pytest.fixture
def sounds(tmp_path):
    """Two short clips, one of them in a folder below, and a recording of 10 s that ends with a tone."""
    folder = tmp_path / "sounds"
    write(folder / "a.wav", Audio(noise(0.3), RATE))
    write(folder / "deep" / "b.flac", Audio(noise(0.4, 1), RATE))
    tone = 0.3 * (torch.arange(4 * RATE) / 4).sin()
    write(folder / "long.wav", Audio(torch.cat([noise(8, 2), tone]), RATE))
    return folder


def build(embedder, folder: Path, cache: Path):
    """An index, the names of the files that were embedded for it, and the errors."""
    errors, embedded = [], []

    def progress(files):
        embedded.extend(path.name for path in files)
        return files

    return AudioIndex(embedder, folder, cache, errors.append, progress), embedded, errors


def test_files_are_embedded_once_and_when_they_change(embedder, sounds, tmp_path):
    index, embedded, errors = build(embedder, sounds, tmp_path / "cache")
    assert embedded == ["a.wav", "b.flac", "long.wav"] and not errors
    first = index.search("rain", None)
    again, embedded, _ = build(embedder, sounds, tmp_path / "cache")
    assert not embedded
    assert [(one.path, one.seconds) for one in again.search("rain", None)] == [(one.path, one.seconds) for one in first]
    write(sounds / "a.wav", Audio(noise(0.35, 3), RATE))
    (sounds / "deep" / "b.flac").unlink()
    changed, embedded, _ = build(embedder, sounds, tmp_path / "cache")
    assert embedded == ["a.wav"] and len(changed.entries) == 2
    assert not build(embedder, sounds, tmp_path / "cache")[1]


def test_a_clip_is_most_similar_to_itself_and_a_place_is_found(embedder, sounds, tmp_path):
    index, _, _ = build(embedder, sounds, tmp_path / "cache")
    assert index.search(Audio(noise(0.4, 1), RATE), 1)[0].path == sounds / "deep" / "b.flac"
    tone = Audio(0.1 * (torch.arange(4 * RATE) / 4).sin(), RATE)
    (best,) = index.search(tone, 1)
    assert best.path == sounds / "long.wav" and best.seconds == pytest.approx(8) and best.similarity > 0.9
    assert len(index.entries[sounds / "long.wav"].starts) == round(12 / WINDOW)


def test_files_that_cannot_be_read_are_named_and_the_others_found(embedder, sounds, tmp_path):
    (sounds / "broken.wav").write_bytes(b"RIFFnot a wave")
    (sounds / "empty.flac").write_bytes(b"")
    (sounds / "notes.txt").write_text("no audio")
    os.symlink(sounds / "nowhere.wav", sounds / "link.wav")
    index, _, errors = build(embedder, sounds, tmp_path / "cache")
    assert len(index.entries) == 3
    assert sorted(Path(error.subject).name for error in errors) == ["broken.wav", "empty.flac", "link.wav"]
    assert all("\n" not in str(error) for error in errors)


def test_folders_without_audio_are_one_line(embedder, tmp_path):
    for name in ("missing", "empty"):
        if name == "empty":
            (tmp_path / name).mkdir()
        with pytest.raises(UserError, match=name):
            AudioIndex(embedder, tmp_path / name, tmp_path / "cache")
    (tmp_path / "empty" / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="can be read"):
        AudioIndex(embedder, tmp_path / "empty", tmp_path / "cache")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", b"text"])
def test_a_damaged_cache_is_computed_again(embedder, sounds, tmp_path, damage):
    index, _, _ = build(embedder, sounds, tmp_path / "cache")
    index.file.write_bytes(damage)
    assert len(build(embedder, sounds, tmp_path / "cache")[1]) == 3


def test_a_cache_that_cannot_be_written_is_left_out(embedder, sounds, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    index, embedded, errors = build(embedder, sounds, tmp_path / "cache")
    assert len(embedded) == 3 and index.search("rain", 1)
    assert [(error.subject, error.problem) for error in errors] == [(str(tmp_path / "cache"), "cannot be written")]
    monkeypatch.setenv("AUDIODIFF_CACHE", str(tmp_path / "cache"))  # which nobody asked for
    assert not build(embedder, sounds, None)[2]


def test_silence_is_not_found(embedder, sounds, tmp_path):
    write(sounds / "silent.wav", Audio(torch.zeros(RATE), RATE))
    write(sounds / "dither.wav", Audio(torch.zeros(RATE).index_fill(0, torch.arange(0, RATE, 7), 3e-5), RATE))
    write(sounds / "late.wav", Audio(torch.cat([torch.zeros(8 * RATE), noise(4, 5)]), RATE))
    for embedded in (6, 0):  # the second time from the cache
        index, names, errors = build(embedder, sounds, tmp_path / "cache")
        assert len(names) == embedded
        assert [Path(error.subject).name for error in errors] == ["dither.wav", "silent.wav"]
        matches = {match.path.name: match for match in index.search("rain", None)}
        assert set(matches) == {"a.wav", "b.flac", "long.wav", "late.wav"} and matches["late.wav"].seconds == 8
    with pytest.raises(UserError, match="query: is silent"):
        index.search(Audio(torch.zeros(9 * RATE), RATE))


def test_a_long_example_is_most_similar_to_itself(embedder, sounds, tmp_path):
    index, _, _ = build(embedder, sounds, tmp_path / "cache")
    example = torch.cat([noise(8, 2), torch.zeros(4 * RATE), 0.3 * (torch.arange(4 * RATE) / 4).sin()])
    (best,) = index.search(Audio(example[None], RATE), 1)
    assert best.path == sounds / "long.wav" and best.similarity == pytest.approx(1, abs=1e-2)


def test_bad_queries_are_one_line(embedder, sounds, tmp_path):
    index, _, _ = build(embedder, sounds, tmp_path / "cache")
    for query, limit, word in (
        ("", 1, "empty"),
        (Audio(torch.zeros(2, 1, 9), RATE), 1, "one at a time"),
        ("a", 0, "1"),
    ):
        with pytest.raises(UserError, match=word) as caught:
            index.search(query, limit)
        assert "\n" not in str(caught.value)


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIODIFF_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "search"
    monkeypatch.delenv("AUDIODIFF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "audiodiff" / "search"
