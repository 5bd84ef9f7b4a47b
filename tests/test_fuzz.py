"""The fuzzer notices what it looks for, and a few cases of each target pass."""

import os
import resource
import sys
import time
from pathlib import Path
from random import Random

import fuzz
import pytest
from fuzzing import targets
from fuzzing.command_lines import within
from fuzzing.mutation import mutate_bytes, mutate_json, mutate_name, mutate_text
from fuzzing.worker import BYTES, Guard, run_case

from audiodiff.errors import UserError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory by Linux's means")
CASES = 6


@pytest.fixture(scope="module")
def guard():
    return Guard()


@pytest.fixture
def run(guard, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()  # by other tests
    monkeypatch.setattr("fuzzing.worker.BYTES", BYTES + held)
    return lambda case, number="0": run_case(case, number, tmp_path / "case", guard)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_some_cases_of_each_target(run, tmp_path, name):
    (tmp_path / "seeds").mkdir()
    case = targets.TARGETS[name](tmp_path / "seeds")
    for number in range(1 if name == "options" else CASES):
        outcome = run(case, f"7 {name} {number}")
        assert "changed" not in outcome.failure and " at " not in outcome.failure, (number, outcome)


def test_outputs_that_a_command_line_names_are_below_the_case(tmp_path):
    """Where an option names a file elsewhere, it is rightly written there: that is no escape."""
    words = [
        "say",
        "../../x",
        "--srt",
        "../../x",
        "--out",
        "x/../../y",
        "--json",
        "in/../a.json",
        "--name",
        "../n",
    ]
    found = ["say", "../../x", "--srt", "out.x", "--out", "out.x", "--json", "in/../a.json", "--name", "../n"]
    assert within(words, tmp_path) == found
    assert within(["--out", "a\0b", "--out", "/etc/x"], tmp_path) == ["--out", "a\0b", "--out", "out.x"]


def refuse(draw, here):
    raise UserError("x", "is bad")


def refuse_in_lines(draw, here):
    error = UserError("x", "is bad")
    error.args = ("two\nlines",)
    raise error


def escape(draw, here):
    (here.parent / "elsewhere").write_text("x")


def escape_by_renaming(draw, here):
    (here / "x").write_text("x")
    (here / "x").rename(here.parent / "y")


def break_down(draw, here):
    raise IndexError("3\n4")


@pytest.mark.parametrize(
    ("case", "failure"),
    [
        (refuse_in_lines, "several lines"),
        (escape, "elsewhere"),
        (escape_by_renaming, "os.rename"),
        (break_down, "IndexError at test_fuzz.py"),
    ],
)
def test_what_breaks_a_promise_is_noticed(run, case, failure):
    assert failure in run(case).failure


def test_memory_above_the_bound_is_a_failure(run, monkeypatch):
    case = lambda draw, here: None  # noqa: E731
    assert not run(case).failure
    monkeypatch.setattr("fuzzing.worker.BYTES", 10**6)
    assert "MB of memory" in run(case).failure


def test_what_is_promised_is_no_failure(run):
    refused, used = run(refuse), run(lambda draw, here: (here / "x").write_text("x"))
    assert refused.refused and not used.refused and not refused.failure and not used.failure


def test_a_case_is_made_again_from_its_number():
    for change, content in (
        (mutate_bytes, b"some bytes" * 9),
        (mutate_text, "some text"),
        (mutate_json, b'{"a": [1]}'),
    ):
        made = [change(content, Random(number)) for number in range(50)]
        assert made == [change(content, Random(number)) for number in range(50)]
        assert len({*made, content}) > 25
    assert len({mutate_name(Random(number)) for number in range(50)}) > 25


def hang(draw, here):
    time.sleep(60)


def die(draw, here):
    os._exit(3)


@pytest.mark.slow
def test_hanging_and_dying_processes_are_failures_and_the_rest_goes_on(tmp_path, monkeypatch):
    """In processes of their own, which find the targets by the environment."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys; sys.path[:0] = [{str(Path(fuzz.__file__).parent)!r}, {str(fuzz.ROOT)!r}]\n"
        "from fuzzing import targets, worker\nimport os, time\nworker.SECONDS = 1.0\n"
        "def hang(folder): return lambda draw, here: time.sleep(60 if draw.random() < 0.5 else 0)\n"
        "def die(folder): return lambda draw, here: os._exit(3)\n"
        "targets.TARGETS |= {'hang': hang, 'die': die}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("fuzzing.worker.SECONDS", 1.0)
    tallies = fuzz.fuzz(["hang", "die"], 1.0, 1, 0, tmp_path / "out")
    assert {"more than 1 s"} == set(tallies["hang"].failures) and tallies["hang"].cases
    assert {"the process ended (3)"} == set(tallies["die"].failures)
    assert "| die |" in fuzz.table(tallies) and list((tmp_path / "out").glob("die-*/PROBLEM.txt"))
