from collections import namedtuple
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from audiodiff.cli import build, doctor


@pytest.fixture
def answer(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda: CliRunner().invoke(build(), ["doctor"])


def test_a_fit_machine_gets_status_0_and_a_line_for_every_check(answer):
    result = answer()
    assert result.exit_code == 0, result.output
    *lines, _, summary = result.output.splitlines()
    assert summary.startswith(f"0 of {len(lines)} checks failed")
    names = {line[6:20].strip() for line in lines}
    assert {"python", "torch", "torch pair", "gpu", "WAV", "FLAC", "OGG", "MP3", "compiler", "apt", "disk"} <= names
    assert all(line.startswith(("ok ", "warn ")) for line in lines)


def test_what_is_needed_and_missing_fails_with_the_command_that_fixes_it(answer, monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["no-such-thing>=3", "numpy>=999", "einops>=0.1"])
    result = answer()
    assert result.exit_code == 1
    assert "fail  no-such-thing   is not installed; fix it with `pip install" in result.output
    assert "is installed, >=999 is needed" in result.output
    assert "2 of" in result.output.splitlines()[-1]


def test_a_missing_extra_only_warns(answer, monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["no-such-judge; extra == 'metrics'"])
    result = answer()
    assert result.exit_code == 0
    assert "warn  extra metrics" in result.output and '-e ".[metrics]"' in result.output


def test_malicious_releases_are_recognized(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["lightning>=2"])
    states = {}
    for version in ("2.6.1", "2.6.2", "2.6.3", "2.6.4"):
        monkeypatch.setattr(doctor.metadata, "version", lambda _, version=version: version)
        states[version] = next(doctor.packages()).state
    assert states == {"2.6.1": "ok", "2.6.2": "fail", "2.6.3": "fail", "2.6.4": "ok"}


@pytest.mark.parametrize(
    "count, cores, load, state", [(2, 2, 0.1, "ok"), (2, 2, 1.0, "warn"), (1, 2, 8.0, "ok"), (4, 8, 3.0, "ok")]
)
def test_one_thread_is_advised_where_other_processes_keep_cores_busy(count, cores, load, state, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (load, 0.0, 0.0))
    check = doctor.threads()
    assert check.state == state and ("OMP_NUM_THREADS=1" in check.fix) == (state == "warn")


def test_torch_pair_names_what_does_not_load(monkeypatch):
    assert doctor.torch_pair().state == "ok"
    versions = {"torch": "2.11.0+cpu", "torchaudio": "2.10.0"}
    monkeypatch.setattr(doctor.metadata, "version", versions.get)
    assert doctor.torch_pair().state == "warn"
    monkeypatch.setitem(__import__("sys").modules, "torchaudio", None)
    check = doctor.torch_pair()
    assert check.state == "fail" and "torchaudio" in check.finding and doctor.PAIR in check.fix


def test_a_back_end_that_reads_wrong_levels_is_noticed(monkeypatch):
    import audiodiff.audio.io as io

    monkeypatch.setattr(io, "read", lambda path, read=io.read: io.Audio(read(path).samples / 2, 16000))
    states = {check.name: check.state for check in doctor.audio_formats()}
    assert states == {"WAV": "fail", "FLAC": "fail", "OGG": "warn", "MP3": "warn"}


@pytest.mark.parametrize("check, name", [(doctor.compiler, "metrics"), (doctor.apt, "hibari")])
def test_programs_that_are_missing_warn(monkeypatch, check, name):
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    assert check().state == "warn" and name in check().fix


@pytest.mark.parametrize("free, state", [(50e9, "ok"), (1e9, "warn"), (1e8, "fail")])
def test_disk_space(monkeypatch, free, state):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(free))
    assert doctor.disk(Path()).state == state


def test_write_access(tmp_path):
    assert doctor.writable(tmp_path).state == "ok"
    assert list(tmp_path.iterdir()) == []
    check = doctor.writable(tmp_path / "missing")
    assert check.state == "fail" and str(tmp_path / "missing") in check.finding


def test_installed_compares_versions():
    assert doctor.installed(Requirement("pytest>=1"))[1] == ""
    assert "is needed" in doctor.installed(Requirement("pytest<1"))[1]
