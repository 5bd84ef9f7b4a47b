"""Settings in audio files: written, read back, bounded, and the same bytes for the same request."""

import json
import struct

import hypothesis.strategies as st
import pytest
import soundfile
import torch
from hypothesis import given, settings

from audiodiff.audio import io, writing
from audiodiff.audio.metadata import MAX_BYTES, read_metadata, to_comment
from audiodiff.rendering.sidecar import describe

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TONE = io.Audio(0.3 * torch.sin(torch.arange(3000) * 0.1), 16000)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("format", writing.FORMATS)
def test_settings_are_read_back_and_the_samples_are_unchanged(tmp_path, format, channels):
    audio = io.Audio(TONE.samples.expand(channels, -1), 16000)
    metadata = describe("audiodiff say", {"text": 'ежик\n"é" 漢字 \U0001f600', "seed": 3, "rate": 1.5, "speaker": None})
    path, plain = tmp_path / f"a.{format}", tmp_path / f"b.{format}"
    io.write(path, audio, metadata=metadata)
    io.write(plain, audio)
    assert read_metadata(path) == metadata and read_metadata(plain) == {}
    assert "speaker" not in metadata and metadata["software"].startswith("audiodiff ")
    assert torch.equal(io.read(path, channels=channels).samples, io.read(plain, channels=channels).samples)


@settings(max_examples=40, deadline=None)
@given(values=st.dictionaries(st.text(), VALUES, max_size=5), format=st.sampled_from(writing.FORMATS))
def test_any_settings_are_read_back(tmp_path_factory, values, format):
    metadata = describe("audiodiff render", values)
    path = tmp_path_factory.getbasetemp() / f"any.{format}"
    io.write(path, TONE, metadata=metadata)
    assert read_metadata(path) == json.loads(json.dumps(metadata))


@pytest.mark.parametrize("format", writing.FORMATS)
def test_the_same_request_is_the_same_bytes(tmp_path, format):
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(2, 200_000, generator=generator) - 0.5
    metadata = describe("audiodiff generate", {"seed": 3})
    paths = [tmp_path / f"{number}.{format}" for number in range(4)]
    io.write(paths[0], io.Audio(samples, 16000), metadata=metadata)
    io.write_chunks(paths[1], samples.split(999, -1), 16000, metadata=metadata)
    io.write_chunks(paths[2], [samples[:, :70_000], samples[:, 70_000:]], 16000, metadata=metadata)
    io.write(paths[3], io.Audio(samples, 16000), metadata=metadata | {"seed": 4})
    contents = [path.read_bytes() for path in paths]
    assert contents[0] == contents[1] == contents[2] != contents[3]


def test_the_comment_of_a_wav_follows_samples_and_a_usual_header(tmp_path):
    io.write(tmp_path / "a.wav", TONE, metadata={"software": "audiodiff 1"})
    io.write(tmp_path / "b.wav", TONE)
    content, plain = ((tmp_path / name).read_bytes() for name in ("a.wav", "b.wav"))
    assert content[8 : len(plain)] == plain[8:] and content[36:40] == b"data"
    assert struct.unpack("<I", content[4:8])[0] == len(content) - 8
    assert soundfile.info(tmp_path / "a.wav").frames == 3000
    with soundfile.SoundFile(tmp_path / "a.wav") as file:  # as other programs read it
        assert file.comment == '{"software": "audiodiff 1"}'


@pytest.mark.parametrize("format", ["wav", "flac", "ogg"])
def test_a_book_is_named_by_its_hash(tmp_path, format):
    metadata = describe("audiodiff say", {"text": "word " * 100_000, "seed": 1})
    io.write(tmp_path / f"a.{format}", TONE, metadata=metadata)
    found = read_metadata(tmp_path / f"a.{format}")
    assert found["seed"] == 1 and found["text"]["characters"] == 500_000 and len(found["text"]["sha256"]) == 64
    assert (tmp_path / f"a.{format}").stat().st_size < 20_000


HOSTILE = {
    "no JSON": '{"software": "audiodiff 1", ',
    "deep": '{"software": "audiodiff 1", "a": ' + "[" * 20_000,
    "nested": '{"software": "audiodiff 1", "a": ' + "[" * 400 + "]" * 400 + "}",
    "a huge number": '{"software": "audiodiff 1", "a": ' + "9" * 20_000 + "}",
    "too long": json.dumps({"software": "audiodiff 1", "a": "b" * 2 * MAX_BYTES}),
    "of another program": '{"software": "other 1"}',
    "a list": '["software", "audiodiff "]',
    "code": "__import__('os').system('true')",
}


@pytest.mark.parametrize("comment", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("format", writing.FORMATS)
def test_comments_of_others_are_no_settings(tmp_path, monkeypatch, format, comment):
    monkeypatch.setattr(writing, "to_comment", lambda metadata: comment)
    io.write(tmp_path / f"a.{format}", TONE, metadata={"a": 1})
    assert read_metadata(tmp_path / f"a.{format}") == {}


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 400), patch=st.binary(min_size=1, max_size=8), format=st.sampled_from(writing.FORMATS))
def test_damaged_files_raise_nothing(tmp_path_factory, position, patch, format):
    path = tmp_path_factory.getbasetemp() / f"damaged.{format}"
    io.write(path, io.Audio(TONE.samples[:50], 16000), metadata=describe("audiodiff say", {"seed": 1}))
    content = bytearray(path.read_bytes())
    position %= len(content)
    content[position : position + len(patch)] = patch
    path.write_bytes(content)
    assert isinstance(read_metadata(path), dict)


def test_what_is_no_audio_has_no_settings(tmp_path):
    (tmp_path / "a.txt").write_text("audio")
    assert read_metadata(tmp_path / "a.txt") == read_metadata(tmp_path / "missing.wav") == read_metadata(tmp_path) == {}


def test_too_many_settings_are_a_programming_error():
    with pytest.raises(ValueError, match="at most"):
        to_comment({str(number): "a" * 10_000 for number in range(10)})


@pytest.mark.parametrize("name", ["x.raw", "x.pcm", "x", "x.wav.raw"])
def test_a_file_of_any_name_has_no_metadata_rather_than_an_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"neither sound nor tags" * 9)
    assert read_metadata(tmp_path / name) == {}
