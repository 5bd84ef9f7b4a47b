import contextlib
import dataclasses
import json
import os
import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors
from safetensors.torch import save_file

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.mel.file import load_mel, mel_frames, save_mel, spec_path
from audiodiff.errors import UserError

SPEC = PRESETS["speech_16k"]


def refused(path, spec=None) -> str:
    """The one line with which `path` is refused."""
    with pytest.raises(UserError) as error:
        load_mel(path, spec)
    line = str(error.value)
    assert str(path.parent) in line and "\n" not in line
    return line


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
@pytest.mark.parametrize("spec", PRESETS.values(), ids=list(PRESETS))
def test_round_trip(tmp_path, suffix, spec):
    mel, path = torch.randn(spec.n_mels, 7), tmp_path / f"a.b{suffix}"
    save_mel(path, mel, spec)
    loaded, stored = load_mel(path)
    assert torch.equal(loaded, mel) and stored == spec
    assert load_mel(path, spec)[1] == spec
    path = path.rename(path.with_suffix(suffix.upper()))
    assert torch.equal(load_mel(path)[0], mel)
    assert len(list(tmp_path.iterdir())) == (2 if suffix == ".npy" else 1)


def test_foreign_arrays_need_a_spec_and_lose_a_batch_axis(tmp_path):
    path = tmp_path / "tacotron.npy"
    np.save(path, np.random.default_rng(0).standard_normal((1, 80, 9)))
    assert "tacotron.melspec.json" in refused(path)
    mel, spec = load_mel(path, PRESETS["tacotron2_22k"])
    assert mel.shape == (80, 9) and mel.dtype == torch.float32 and spec is PRESETS["tacotron2_22k"]
    save_file({"anything": mel}, tmp_path / "other.safetensors")
    assert torch.equal(load_mel(tmp_path / "other.safetensors", spec)[0], mel)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_another_spec_is_refused_field_by_field(tmp_path, suffix):
    path = tmp_path / f"mel{suffix}"
    save_mel(path, torch.zeros(80, 3), PRESETS["hifigan_22k"])
    line = refused(path, SPEC)
    assert "sample_rate: 22050 != 16000" in line and "center: False != True" in line


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (np.zeros((80, 0)), "no frames"),
        (np.full((80, 3), np.nan), "NaN"),
        (np.full((80, 3), np.inf), "NaN or infinite"),
        (np.zeros((100, 3)), "100 bands"),
        (np.zeros((3, 80)), "transposed"),
        (np.zeros(80), "has shape 80"),
        (np.zeros((2, 80, 3)), "has shape 2 x 80 x 3"),
        (np.float32(1), "single number"),
        (np.zeros((80, 3), complex), "does not hold real numbers"),
        (np.array([["a"]]), "does not hold real numbers"),
    ],
)
def test_useless_arrays_are_refused(tmp_path, array, line):
    np.save(tmp_path / "mel.npy", array)
    assert line in refused(tmp_path / "mel.npy", SPEC)


def test_pickles_are_never_read(tmp_path):
    path = tmp_path / "mel.npy"
    path.write_bytes(pickle.dumps({"mel": [1, 2]}))
    assert "pickle" in refused(path, SPEC)
    np.save(path, np.array([{"mel": 1}], dtype=object), allow_pickle=True)
    assert "pickle" in refused(path, SPEC)
    path.rename(tmp_path / "mel.safetensors")
    assert "safetensors" in refused(tmp_path / "mel.safetensors", SPEC)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 0.99))
def test_truncated_files_are_refused(tmp_path_factory, suffix, share):
    path = tmp_path_factory.mktemp("mel") / f"mel{suffix}"
    save_mel(path, torch.zeros(80, 5), SPEC)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "not a complete" in refused(path)


def test_invalid_mel_files_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "none.npy")
    (tmp_path / "folder.npy").mkdir()
    assert "folder" in refused(tmp_path / "folder.npy")
    (tmp_path / "mel.txt").write_text("1 2 3")
    assert ".safetensors" in refused(tmp_path / "mel.txt")
    np.savez(tmp_path / "mel.npz", mel=np.zeros((80, 3)))
    (tmp_path / "mel.npz").rename(tmp_path / "mel.npy")
    assert "header" in refused(tmp_path / "mel.npy", SPEC)
    save_file({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "two.safetensors")
    assert "2 tensors" in refused(tmp_path / "two.safetensors", SPEC)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "not JSON"),
        ("[]", "to_dict"),
        (json.dumps({**SPEC.to_dict(), "n_fft": -1}), "n_fft"),
        (json.dumps({**SPEC.to_dict(), "color": 1}), "unknown fields: color"),
    ],
)
def test_a_bad_spec_beside_the_mel_is_named(tmp_path, text, line):
    path = tmp_path / "mel.npy"
    save_mel(path, torch.zeros(80, 3), SPEC)
    spec_path(path).write_text(text)
    message = refused(path)
    assert line in message and "mel.melspec.json" in message


def test_invalid_mels_are_not_saved(tmp_path):
    with pytest.raises(UserError, match="NaN"):
        save_mel(tmp_path / "a.npy", torch.full((80, 2), torch.nan), SPEC)
    with pytest.raises(UserError, match="80 bands, its spec 40"):
        save_mel(tmp_path / "a.npy", torch.zeros(80, 2), dataclasses.replace(SPEC, n_mels=40))
    with pytest.raises(UserError, match=r"\.npy or \.safetensors"):
        save_mel(tmp_path / "a.pt", torch.zeros(80, 2), SPEC)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_mel(tmp_path / "file" / "a.npy", torch.zeros(80, 2), SPEC)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def npy(header: str, data: bytes = b"") -> bytes:
    """A .npy file with this header."""
    padded = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + data


HEADERS = {
    "huge": "{'descr': '<f4', 'fortran_order': False, 'shape': (80, 1099511627776)}",
    "overflow": "{'descr': '<f4', 'fortran_order': False, 'shape': (80, 57646075230342349)}",
    "beyond 64 bits": f"{{'descr': '<f4', 'fortran_order': False, 'shape': (80, {10**30})}}",
    "negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-80, -3)}",
    "nothing of everything": f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {2**63})}}",
    "nested": "(" * 3000,
    "no dictionary": "[1, 2]",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (80, 3)}",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=list(HEADERS))
def test_false_headers_are_refused(tmp_path, header, memory_limit):
    (tmp_path / "mel.npy").write_bytes(npy(header, bytes(960)))
    with memory_limit(256 << 20):
        assert "not a complete .npy array" in refused(tmp_path / "mel.npy", SPEC)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_mel_frames_reads_only_the_header(tmp_path, suffix, memory_limit):
    path = tmp_path / f"mel{suffix}"
    save_mel(path, torch.zeros(80, 7), SPEC)
    assert mel_frames(path) == 7
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (80, 5000000)}"
    tensor = b'{"mel":{"dtype":"F32","shape":[80,5000000],"data_offsets":[0,1600000000]}}'
    path.write_bytes(npy(header) if suffix == ".npy" else struct.pack("<Q", len(tensor)) + tensor)
    os.truncate(path, path.stat().st_size + 1_600_000_000)
    with memory_limit(100 << 20 if suffix == ".npy" else 3_500_000_000):  # which is mapped, twice, and not read
        assert mel_frames(path) == 5_000_000
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a complete"):
        mel_frames(path)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"n_fft": 1' + "0" * 400 + "}", " " * (2 << 20), "\0", "1e999"])
def test_malicious_specs_are_refused(tmp_path, content):
    save_mel(tmp_path / "mel.npy", torch.zeros(80, 3), SPEC)
    spec_path(tmp_path / "mel.npy").write_text(content)
    refused(tmp_path / "mel.npy")
    mel = save_safetensors({"mel": torch.zeros(80, 3)}, metadata={"melspec": content})
    (tmp_path / "mel.safetensors").write_bytes(mel)
    refused(tmp_path / "mel.safetensors")


def test_fields_of_several_lines_are_refused_in_one(tmp_path):
    save_mel(tmp_path / "mel.npy", torch.zeros(80, 3), SPEC)
    spec_path(tmp_path / "mel.npy").write_text(json.dumps(SPEC.to_dict() | {"two\nlines": 1}))
    assert "unknown fields: two\\nlines" in refused(tmp_path / "mel.npy")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([field.name for field in dataclasses.fields(SPEC)]), JSON, max_size=4) | JSON)
def test_any_json_is_a_spec_or_refused(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "any.npy"
    save_mel(path, torch.zeros(80, 3), SPEC)
    spec_path(path).write_text(json.dumps(SPEC.to_dict() | values if isinstance(values, dict) else values))
    try:
        load_mel(path)
    except UserError as error:
        assert str(path.parent) in str(error) and "\n" not in str(error)


@settings(max_examples=100, deadline=None)
@given(suffix=st.sampled_from([".npy", ".safetensors"]), at=st.integers(0, 255), value=st.integers(0, 255))
def test_mels_with_a_damaged_header_are_read_or_refused(tmp_path_factory, suffix, at, value):
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    save_mel(path, torch.zeros(80, 3), SPEC)
    content = bytearray(path.read_bytes())
    content[at] = value
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        load_mel(path)
