"""Counts, log and progress bar of a run."""

import json

import pytest

from audiodiff.errors import UserError
from audiodiff.rendering.monitor import ClipResult, Monitor


def lines(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_log_has_a_line_for_each_file_that_is_written_or_fails(tmp_path):
    log, reported = tmp_path / "render.log.jsonl", []
    with Monitor("rendering", 3, reported.append, quiet=True) as monitor:
        monitor.add(ClipResult("a.wav", "skipped"))
        assert not log.exists()
    log.write_text('[]\n{"event": "written", "file": "a.wav"}\n')
    with Monitor("rendering", 3, reported.append, quiet=True, log=log) as monitor:
        monitor.add(ClipResult("a.wav", "skipped"))
        assert len(lines(log)) == 2
        monitor.add(ClipResult("b.wav", "written", 1.5))
        monitor.add(ClipResult("c.wav", "failed", error=UserError("c.wav", "is empty")))
    assert [(line["event"], line.get("file")) for line in lines(log)[2:]] == [
        ("started", None),
        ("written", "b.wav"),
        ("failed", "c.wav"),
        ("ended", None),
    ]
    assert lines(log)[3]["seconds"] == 1.5 and lines(log)[4]["error"] == "c.wav: is empty"
    ended = lines(log)[-1]
    assert (
        (ended["written"], ended["failed"], ended["skipped"])
        == (1, 1, 1)
        == (
            monitor.outcome.written,
            monitor.outcome.failed,
            monitor.outcome.skipped,
        )
    )
    assert [str(error) for error in reported] == ["c.wav: is empty"]


def test_a_log_that_was_cut_goes_on_with_a_line_of_its_own(tmp_path):
    log = tmp_path / "render.log.jsonl"
    log.write_text('{"event": "written", "fi')
    with Monitor("rendering", 1, print, quiet=True, log=log) as monitor:
        monitor.add(ClipResult("b.wav", "written", 1.5))
    first, *others = log.read_text().splitlines()
    assert first == '{"event": "written", "fi' and [json.loads(line)["event"] for line in others][1] == "written"


def test_files_of_a_run_that_was_killed_are_found_once(tmp_path):
    """Of three files, one was logged, half a line was left, and the other two had been written by workers."""
    log = tmp_path / "render.log.jsonl"
    log.write_text('{"event": "started"}\n{"event": "written", "file": "a.wav"}\n{"event": "wri')
    for _ in range(2):
        with Monitor("rendering", 3, print, quiet=True, log=log) as monitor:
            for name in ("a.wav", "b.wav", "c.wav"):
                monitor.add(ClipResult(name, "skipped"))
    named = [line for line in log.read_text().splitlines() if '"file"' in line]
    assert [json.loads(line)["file"] for line in named] == ["a.wav", "b.wav", "c.wav"]
    assert [json.loads(line)["event"] for line in named] == ["written", "found", "found"]


def test_an_error_is_the_end_of_the_log(tmp_path):
    log = tmp_path / "render.log.jsonl"
    with pytest.raises(KeyboardInterrupt), Monitor("rendering", 2, print, quiet=True, log=log) as monitor:
        monitor.add(ClipResult("b.wav", "written", 1.5))
        raise KeyboardInterrupt
    assert lines(log)[-1]["event"] == "stopped"


def test_the_bar_counts_clips_and_parts_of_them(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Monitor("rendering", 4, print) as monitor:
        monitor.add(ClipResult("a.wav", "skipped"))
        monitor.add(ClipResult("b.wav", "written", 2.0))
        monitor.advance(0.5)
        assert (monitor.bar.n, monitor.bar.total) == (1.5, 3)
        monitor.add(ClipResult("c.wav", "written", 2.0))
        assert monitor.bar.n == 2
        text = str(monitor.bar)
    assert "rendering:  67%" in text and "2.0/3" in text and "clips/s" in text and "x real time" in text
