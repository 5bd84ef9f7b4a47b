"""Whatever one input is called or holds, it costs no other its rendering."""

import json
import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch

from audiodiff.audio import io
from audiodiff.audio.mel.file import save_mel, spec_path
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig, SynthesisOptions
from audiodiff.rendering import generation, render, sidecar
from audiodiff.rendering.inputs import RenderInput, find_inputs
from audiodiff.rendering.options import FileOptions

NAMES = {
    "80 Japanese letters": "あ" * 80,
    "the longest with a sidecar": "x" * 246,
    "not UTF-8": os.fsdecode(b"caf\xe9"),
    "spaces and quotes": "a 'b' \"c\" =%s{}.wav",
    "hidden sidecar's name": "b.wav.json",
}
READERS = (MemoryError, RecursionError("too deep"), OverflowError("too large"), OSError(5, "I/O error"), KeyError("x"))


@pytest.fixture
def go(vocoder, recording, tmp_path):
    """`go(inputs=in, **settings)` renders a folder with one good recording -> (outcome, errors)."""
    io.write(tmp_path / "in" / "good.wav", recording(1500))

    def run(inputs=tmp_path / "in", **settings):
        errors = []
        options, files = SynthesisOptions(steps=1, consistency=0), FileOptions(**settings)
        found = find_inputs([inputs], tmp_path / "out", errors.append)
        return render.render(vocoder, found, tmp_path / "out", options, errors.append, files, quiet=True), errors

    return run


def bytes_as(path: Path, recording) -> None:
    """A recording at a path that libsndfile may not be able to open."""
    io.write(path.with_name("temporary.wav"), recording(1500))
    path.with_name("temporary.wav").rename(path)


@pytest.mark.parametrize("format", io.FORMATS)
@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_any_name_is_rendered(go, recording, tmp_path, name, format):
    if format == "flac" and len(os.fsencode(name)) > 245:
        pytest.skip("one letter longer")
    bytes_as(tmp_path / "in" / f"{name}.wav", recording)
    outcome, errors = go(format=format)
    assert (outcome.written, errors) == (2, [])
    metadata = json.loads(sidecar.sidecar_path(tmp_path / "out" / f"{name}.{format}").read_text())
    assert metadata["id"] == name and metadata["samples"] == 1500
    assert go(format=format)[0].skipped == 2
    assert len(os.listdir(tmp_path / "out")) == 4


def test_a_mel_of_any_name_is_rendered(go, vocoder, recording, tmp_path):
    for name in NAMES.values():
        if len(os.fsencode(name)) < 240:  # there is room for .melspec.json
            save_mel(tmp_path / "in" / f"{name}.npy", vocoder.mel(recording(1500)), vocoder.spec)
    outcome, errors = go()
    assert (outcome.written, errors) == (4, [])


def test_a_name_without_room_for_its_sidecar_is_one_line(go, recording, tmp_path):
    bytes_as(tmp_path / "in" / f"{'x' * 251}.wav", recording)
    outcome, (error,) = go()
    assert (outcome.written, outcome.failed) == (1, 1)
    assert "x" * 251 in error.subject and "sidecar" in error.problem and "shorten" in error.fix


def test_a_folder_or_file_in_the_way_costs_its_own_clip_only(go, recording, tmp_path):
    io.write(tmp_path / "in" / "a" / "b.wav", recording(1500))
    io.write(tmp_path / "in" / "c.wav", recording(1500))
    (tmp_path / "out" / "c.wav").mkdir(parents=True)
    (tmp_path / "out" / "a").write_text("precious")
    for settings in ({}, {"overwrite": True}):
        outcome, errors = go(**settings)
        assert outcome.failed == 2 and outcome.written + outcome.skipped == 1
        assert len(errors) == 2 and not any("\n" in str(error) for error in errors)
    assert (tmp_path / "out" / "a").read_text() == "precious"


@pytest.mark.parametrize("stage", ["digest", "frames", "load"])
@pytest.mark.parametrize("error", READERS, ids=lambda error: getattr(error, "__name__", type(error).__name__))
def test_whatever_a_reader_raises_is_one_line(go, recording, tmp_path, monkeypatch, stage, error):
    io.write(tmp_path / "in" / "bad.wav", recording(1500))
    read = getattr(RenderInput, stage)

    def broken(source, *arguments):
        if source.path.stem == "bad":
            raise error
        return read(source, *arguments)

    monkeypatch.setattr(RenderInput, stage, broken)
    outcome, (line,) = go()
    assert (outcome.written, outcome.failed) == (1, 1)
    assert line.subject == str(tmp_path / "in" / "bad.wav") and "\n" not in str(line)
    assert "()" not in line.problem  # what has no words is called by its name


def header(path: Path, shape: str) -> None:
    """A .npy of nothing but its header."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())


HOSTILE = {
    "huge.npy": lambda path: header(path, "(80, 1000000000000)"),
    "overflow.npy": lambda path: header(path, f"(80, {2**70})"),
    "negative.npy": lambda path: header(path, "(80, -1)"),
    "code.npy": lambda path: header(path, "().__class__"),
    "nested.npy": lambda path: (np.save(path, np.zeros((80, 4), np.float32)), nested(spec_path(path))),
    "nested.safetensors": lambda path: path.write_bytes((10**6).to_bytes(8, "little") + b"[" * 10**6),
}


def nested(path: Path) -> None:
    path.write_text("[" * 100_000)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_line(go, tmp_path, name):
    HOSTILE[name](tmp_path / "in" / name)
    outcome, (error,) = go()
    assert (outcome.written, outcome.failed) == (1, 1)
    assert name.split(".")[0] in error.subject and "\n" not in str(error)


def test_a_nested_sidecar_is_not_ours(go, tmp_path):
    io.write(tmp_path / "out" / "good.wav", io.Audio(torch.zeros(100), 8000))
    nested(sidecar.sidecar_path(tmp_path / "out" / "good.wav"))
    outcome, (error,) = go()
    assert outcome.failed == 1 and "is not from" in error.problem


def test_a_nul_in_a_path_costs_its_own_clip_only(vocoder, recording, tmp_path):
    io.write(tmp_path / "good.wav", recording(1500))
    sources = [RenderInput(tmp_path / f"{name}.wav", name, PurePosixPath(name)) for name in ("good", "b\0d")]
    errors = []
    options = SynthesisOptions(steps=1)
    outcome = render.render(vocoder, sources, tmp_path / "out", options, errors.append, quiet=True)
    assert (outcome.written, outcome.failed, len(errors)) == (1, 1, 1) and "null" in errors[0].problem


def test_a_nested_manifest_is_one_line(go, tmp_path):
    nested(tmp_path / "in" / "manifest.jsonl")
    _, (error,) = go(tmp_path / "in" / "manifest.jsonl")
    assert error.subject.startswith(str(tmp_path / "in" / "manifest.jsonl")) and "\n" not in str(error)


def test_a_folder_that_is_not_utf8_takes_generated_clips(make_music, tmp_path):
    out = tmp_path / os.fsdecode(b"caf\xe9")
    for format in io.FORMATS:
        config, files = GenerationConfig(steps=1), FileOptions(format=format)
        assert generation.generate(AudioGenerator(make_music()), out, config, 1, files, quiet=True).written == 1
