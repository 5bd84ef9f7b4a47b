"""The fault command sees what is lost, changed and half-written."""

import json
import random
import sys

import chaos
import pytest


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
