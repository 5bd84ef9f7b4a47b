"""The fault command sees what is lost, changed and half-written."""

import json
import random
import sys

import chaos
import pytest
import torch
from faults import clock, publishing, training

from audiodiff.errors import UserError


@pytest.fixture
def folders(tmp_path):
    """Two folders of the same files."""
    for name in ("found", "whole"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a.wav").write_bytes(b"audio")
        (tmp_path / name / "sub" / "a.wav.json").write_text(json.dumps({"seed": 1, "real_time_factor": len(name)}))
        (tmp_path / name / "render.log.jsonl").write_text(name)
    return tmp_path / "found", tmp_path / "whole"


def test_what_differs_from_run_to_run_is_no_difference(folders):
    assert chaos.compare(chaos.Finding("killed", 1, 0), *folders) == chaos.Finding("killed", 1, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: (found / "sub" / "a.wav").unlink(), "1 lost, such as sub/a.wav"),
        (lambda found: (found / "b.wav").touch(), "1 besides, such as b.wav"),
        (lambda found: (found / "sub" / "a.wav").write_bytes(b"aud"), "1 changed, such as sub/a.wav"),
        (lambda found: (found / "sub" / "a.wav.json").write_text('{"seed": 2}'), "1 changed, such as sub/a.wav.json"),
    ],
)
def test_every_difference_is_found(folders, change, words):
    change(folders[0])
    finding = chaos.compare(chaos.Finding("killed", 1, 0), *folders)
    assert finding.wrong == [words] and words in finding.row()


def test_a_command_is_killed_and_started_again(tmp_path):
    program = """
import sys, time
from pathlib import Path
for number in range(30):
    path = Path(sys.argv[1]) / f"{number}.txt"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_text(str(number))
        time.sleep(float(sys.argv[2]))
"""
    slow, quick = (
        [sys.executable, "-c", program, str(tmp_path / out), pause] for out, pause in (("a", "0.05"), ("b", "0"))
    )
    assert chaos.run(quick)[0] == 0
    finding = chaos.kill_and_resume("killed", slow, tmp_path / "a", tmp_path / "b", 2, 0.1, random.Random(0))
    assert (finding.strikes, finding.files, finding.wrong) == (2, 30, [])


@pytest.fixture
def trained(tmp_path):
    """Folders of two runs with the same weights."""
    for name in ("found", "whole"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "model").mkdir()
        (tmp_path / name / "model" / "model.safetensors").write_bytes(b"weights")
        torch.save({"a": [torch.ones(2)]}, tmp_path / name / "checkpoints" / f"step={training.STEPS:09d}.ckpt")
    return tmp_path / "found", tmp_path / "whole"


def test_weights_of_a_killed_run_are_compared(trained):
    found, whole = trained
    finding = training.compare(chaos.Finding("train", 1, 0), found, whole)
    assert (finding.files, finding.wrong) == (1, []) and training.ended(found)
    assert training._half_written(found) == ["the export cannot be read: " + str(_unreadable_model(found))]
    torch.save({"a": [torch.tensor([1.0, 1.1])]}, training._last(found))
    (found / "model" / "model.safetensors").write_bytes(b"weight")
    assert len(training.compare(chaos.Finding("train", 1, 0), found, whole).wrong) == 2
    training._last(found).write_bytes(training._last(whole).read_bytes()[:-9])
    assert f"{training._last(found).name} is damaged" in training._half_written(found)


def _unreadable_model(folder):
    from audiodiff.models import checkpoint

    with pytest.raises(UserError) as error:
        checkpoint.load(folder / "model")
    return error.value


@pytest.mark.parametrize("minutes", [-1.0, 0.0, 1440.0])
def test_an_impossible_time_is_found(minutes, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"training": {"minutes": minutes}}))
    finding = chaos.Finding("train", 1, 0)
    training.sane_times(finding, tmp_path, 10.0)
    assert len(finding.wrong) == 1
    (tmp_path / "render.log.jsonl").write_text('{"seconds": -1.5}\n{"seconds": 2}\n')
    assert chaos.negative_times(tmp_path) == 1


def test_a_half_written_export_is_found(tmp_path):
    assert publishing._unreadable(tmp_path / "none") == []
    (tmp_path / "export.json").write_text("{")
    assert "half-written" in publishing._unreadable(tmp_path)[0]


def test_without_the_library_no_clock_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIODIFF_FAKETIME", str(tmp_path / "none"))
    finding = clock.set_clock("clock", [sys.executable, "-c", ""], tmp_path, lambda: 0)
    assert finding.strikes == 0 and "not installed" in finding.row()
