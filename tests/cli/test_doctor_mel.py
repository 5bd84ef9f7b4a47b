import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from audiodiff.audio.mel import PRESETS, MelSpectrogram
from audiodiff.audio.mel.convention import CONVENTIONS
from audiodiff.audio.mel.file import load_mel, save_mel
from audiodiff.cli import main
from audiodiff.data.corpora.tones import tone

TACOTRON2 = PRESETS["tacotron2_22k"]


@pytest.fixture
def doctor(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["audiodiff", "doctor", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def numbers(name: str) -> torch.Tensor:
    convention = CONVENTIONS[name]
    rate = convention.spec.sample_rate
    waveform = torch.cat([tone(0, rate, rate), torch.zeros(rate // 4)])
    return convention.scaling.apply(MelSpectrogram(convention.spec)(waveform))


def test_lists_what_is_certain_and_what_is_not(doctor, tmp_path):
    np.save(tmp_path / "a.npy", numbers("tacotron2_22k").T[None])
    status, out, err = doctor("mel", tmp_path / "a.npy")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "80 bands" in lines[0]
    assert any(line.startswith("found") and "layout" in line and "frames x bands" in line for line in lines)
    assert any(line.startswith("found") and "log_floor" in line and "1e-05" in line for line in lines)
    assert any("hifigan_22k = tacotron2_22k (indistinguishable)" in line for line in lines)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".safetensors"])
def test_reads_what_people_save(doctor, tmp_path, suffix):
    mel, path = numbers("diffwave_22k"), tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, mel)
    elif suffix == ".npz":
        np.savez(path, mel=mel, other=np.zeros(3))
    elif suffix == ".pt":
        torch.save({"mel": mel.half()}, path)
    else:
        save_file({"anything": mel.contiguous()}, path)
    status, out, err = doctor("mel", path)
    assert (status, err) == (0, "") and "80 bands" in out


def test_converts_exactly_between_logarithms(doctor, tmp_path):
    path, out_path = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(path, numbers("matcha_22k").T)
    status, out, err = doctor("mel", path, "--from", "matcha_22k", "--to", "hifigan_22k", "--out", out_path)
    assert (status, err) == (0, "") and "exact" in out and "converted back it differs by" in out
    mel, spec = load_mel(out_path)
    assert spec == PRESETS["hifigan_22k"]
    torch.testing.assert_close(mel, numbers("hifigan_22k"), rtol=0, atol=1e-4)
    assert json.loads((tmp_path / "b.melspec.json").read_text())["sample_rate"] == 22050


def test_a_file_that_says_what_it_is_needs_no_from(doctor, tmp_path):
    save_mel(tmp_path / "a.safetensors", numbers("tacotron2_22k"), TACOTRON2)
    words = ["mel", tmp_path / "a.safetensors", "--to", "speech_16k", "--out", tmp_path / "b.npy"]
    status, _, err = doctor(*words)
    assert status == 1 and "sample_rate: 22050 != 16000" in err and err.count("\n") == 1
    assert not (tmp_path / "b.npy").exists() and not (tmp_path / "b.melspec.json").exists()
    status, out, _ = doctor(*words, "--approximate")
    assert status == 0 and "approximate" in out and load_mel(tmp_path / "b.npy")[1] == PRESETS["speech_16k"]
    before = (tmp_path / "b.npy").read_bytes()
    status, _, err = doctor(*words, "--approximate")
    assert status == 1 and "--overwrite" in err and (tmp_path / "b.npy").read_bytes() == before
    assert doctor(*words, "--approximate", "--overwrite")[0] == 0


def test_an_ambiguous_spec_is_to_be_named(doctor, tmp_path):
    np.save(tmp_path / "a.npy", numbers("tacotron2_22k"))
    status, _, err = doctor("mel", tmp_path / "a.npy", "--to", "speech_16k", "--out", tmp_path / "b.npy")
    assert status == 1 and "--from" in err and "tacotron2_22k" in err and err.count("\n") == 1
    assert not (tmp_path / "b.npy").exists()


def spoiled(tmp_path, kind):
    path = tmp_path / "a.npy"
    np.save(path, numbers("tacotron2_22k"))
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif kind == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif kind == "sidecar":
        (tmp_path / "a.melspec.json").write_text("{}")
    elif kind == "suffix":
        path = path.rename(tmp_path / "a.txt")
    elif kind == "module":
        path = tmp_path / "a.pt"
        torch.save(torch.nn.Linear(2, 2), path)
    elif kind == "missing":
        path.unlink()
    return path


@pytest.mark.parametrize("kind", ["truncated", "pickle", "sidecar", "suffix", "module", "missing"])
def test_a_bad_file_is_one_line(doctor, tmp_path, kind):
    status, out, err = doctor("mel", spoiled(tmp_path, kind))
    assert status == 1 and out == ""
    assert err.startswith("error: ") and str(tmp_path) in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--to", "speech_16k"], "--out FILE"),
        (["--out", "b.npy"], "--to SPEC"),
        (["--to", "nope", "--out", "b.npy"], "choose among"),
        (["--from", "nope"], "choose among"),
        (["--to", "diffwave_22k", "--out", "b.npy"], "diffwave_22k"),
        (["--to", "speech_16k", "--out", "b.txt"], "use .npy or .safetensors"),
        (["--to", "speech_16k", "--out", "a.npy", "--overwrite"], "is the input"),
        (["--from", "vocos_24k"], "has 80 bands"),
    ],
)
def test_wrong_options_are_one_line(doctor, tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", numbers("tacotron2_22k"))
    before = (tmp_path / "a.npy").read_bytes()
    status, _, err = doctor("mel", "a.npy", *words)
    assert status == 1 and line in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"] and (tmp_path / "a.npy").read_bytes() == before


def test_doctor_alone_still_examines_the_machine(doctor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = doctor()
    assert status == 0 and "checks failed" in out.splitlines()[-1]
