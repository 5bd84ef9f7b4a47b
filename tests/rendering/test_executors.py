"""Shards in other processes: the same bytes, whoever is killed."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from audiodiff.audio import io
from audiodiff.errors import UserError
from audiodiff.pipelines.memory import DoesNotFit
from audiodiff.rendering.executors import LocalProcesses, render_shard
from audiodiff.rendering.inputs import RenderInput, find_inputs
from audiodiff.rendering.monitor import Monitor
from audiodiff.rendering.options import ExecutionOptions, FileOptions, RenderOptions
from audiodiff.rendering.registry import Request, _Load, render_request
from audiodiff.rendering.renderer import Renderer, shards_of

CLIPS = 40


@pytest.fixture
def inputs(tmp_path, recording):
    for i in range(CLIPS):
        io.write(tmp_path / "in" / f"{i:02d}.wav", recording(1500 + 300 * (i % 7), seed=i))
    (tmp_path / "in" / "bad.wav").write_bytes(b"nothing")
    return tmp_path / "in"


@pytest.fixture
def request_of(inputs, tmp_path):
    """`request_of(out, workers=None)`: to render all inputs in batches of two."""

    def make(out, workers=None):
        options, files = RenderOptions(steps=1, consistency=0), FileOptions(batch_size=2)
        execution = ExecutionOptions(workers=workers)
        return Request(inputs=[inputs], out=tmp_path / out, options=options, files=files, execution=execution)

    return make


def audio(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.wav")}


def test_a_shard_in_a_worker_is_what_the_renderer_makes_of_it(request_of, model_folder, tmp_path):
    threads = torch.get_num_threads()
    try:
        for out in ("here", "there"):
            request, reported = request_of(out), []
            load = _Load(model_folder, request)
            rows = [*load.type.rows(request, reported.append)[:5], RenderInput(tmp_path / "none.wav", "x", Path("x"))]
            with Monitor("rendering", len(rows), reported.append, quiet=True) as monitor:
                if out == "here":
                    load()(rows, monitor)
                else:
                    render_shard(pickle.dumps(load), pickle.loads(pickle.dumps(rows))).relay(monitor)
            assert (monitor.outcome.written, monitor.outcome.failed) == (5, 1) and "none.wav" in str(reported[0])
    finally:
        torch.set_num_threads(threads)
    assert audio(tmp_path / "here") == audio(tmp_path / "there")


def test_the_warnings_of_a_worker_arrive(request_of, model_folder, inputs):
    loud = torch.full((1, 3000), 0.9) * torch.tensor([1.0, -1.0]).repeat(1500)
    io.write(inputs / "00.wav", io.Audio(torch.cat([loud, -loud]), 16000))  # channels that cancel each other
    load = _Load(model_folder, request := request_of("out"))
    rows = [row for row in load.type.rows(request, print) if row.id == "00"]
    result = render_shard(pickle.dumps(load), rows)
    with (
        pytest.warns(UserWarning, match=r"00\.wav: its channels cancel"),
        Monitor("rendering", 1, print, quiet=True) as monitor,
    ):
        result.relay(monitor)


@pytest.mark.parametrize("kind", [UserError, DoesNotFit])
def test_errors_come_through_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("a\nb", "is wrong", "mend it")))
    assert type(error) is kind and str(error) == "a\\nb: is wrong; mend it" and error.subject == "a\nb"


def test_work_begins_after_one_shard_is_planned(request_of, model_folder, monkeypatch):
    """Of 41 inputs in shards of 8, none after the 8th is read before the first is rendered."""
    from audiodiff.pipelines.vocoder import Vocoder

    planned, seen, digest, generate = [], [], RenderInput.digest, Vocoder.generate
    monkeypatch.setattr(RenderInput, "digest", lambda self, *a: planned.append(self) or digest(self, *a))
    monkeypatch.setattr(Vocoder, "generate", lambda *a, **k: seen.append(len(planned)) or generate(*a, **k))
    outcome = render_request(model_folder, request_of("out"), lambda _: None, quiet=True)
    assert outcome.written == CLIPS and seen[0] == 8 and max(seen) == CLIPS


def test_shards_are_all_rows_in_order():
    assert [list(shard) for shard in shards_of(range(20), 1)] == [list(range(i, i + 4)) for i in range(0, 20, 4)]


@pytest.mark.slow
def test_any_number_of_workers_writes_the_same_bytes(request_of, model_folder, tmp_path):
    for workers in (None, 1, 3):
        reported = []
        outcome = render_request(model_folder, request_of(f"out{workers}", workers), reported.append, quiet=True)
        assert (outcome.written, outcome.failed, len(reported)) == (CLIPS, 1, 1)
    assert audio(tmp_path / "outNone") == audio(tmp_path / "out1") == audio(tmp_path / "out3")
    assert len(audio(tmp_path / "out1")) == CLIPS


@dataclass(frozen=True)
class Fatal:
    """A `Load` whose workers die after so many files, until so many have died, which a file counts."""

    load: _Load
    deaths: Path
    files: int
    most: int

    def __call__(self) -> Renderer:
        from audiodiff.rendering import sidecar

        write, written = sidecar.write_with_sidecar, []

        def dying(*arguments):
            self.deaths.touch()
            if len(written) == self.files and self.deaths.stat().st_size < self.most:
                with self.deaths.open("a") as file:
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
            written.append(arguments[0])
            write(*arguments)

        sidecar.write_with_sidecar = dying
        return self.load()


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(request_of, model_folder, tmp_path):
    request = request_of("out")
    load, rows = _Load(model_folder, request), find_inputs(request.inputs, request.out, lambda _: None)
    with Monitor("rendering", len(rows), lambda _: None, quiet=True) as monitor:
        LocalProcesses(Fatal(load, tmp_path / "deaths", 5, 3), 2)(load(), shards_of(rows, 2), monitor)
    assert (tmp_path / "deaths").read_text() == "xxx"
    render_request(model_folder, request_of("whole"), lambda _: None, quiet=True)
    assert audio(tmp_path / "out") == audio(tmp_path / "whole") and len(audio(tmp_path / "out")) == CLIPS


@pytest.mark.slow
def test_workers_that_are_always_killed_are_an_error(request_of, model_folder, tmp_path):
    request = request_of("out")
    load, rows = _Load(model_folder, request), find_inputs(request.inputs, request.out, lambda _: None)
    with (
        pytest.raises(UserError, match="killed again and again"),
        Monitor("rendering", len(rows), lambda _: None, quiet=True) as monitor,
    ):
        LocalProcesses(Fatal(load, tmp_path / "deaths", 0, 1000), 1)(load(), shards_of(rows, 2), monitor)


@pytest.mark.slow
def test_a_run_that_is_killed_many_times_ends_with_the_bytes_of_an_unbroken_one(inputs, model_folder, tmp_path):
    words = ["render", inputs, "--model", model_folder, "--steps", "1", "--batch-size", "2", "--workers", "2", "--out"]
    command = [sys.executable, "-m", "audiodiff", *map(str, words)]
    pauses, out = random.Random(0), tmp_path / "out"
    for kill in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        before = len(audio(out))
        with subprocess.Popen([*command, out], stderr=subprocess.PIPE, text=True) as process:
            patience = time.monotonic() + 60
            while len(audio(out)) < min(before + 4, CLIPS) and time.monotonic() < patience and process.poll() is None:
                time.sleep(0.01)
            time.sleep(pauses.uniform(0, 0.1))
            process.send_signal(kill)
            left = [line for line in process.communicate()[1].splitlines() if "bad.wav" not in line]
            assert not left  # neither a traceback of a worker nor a warning of what was killed
    status = subprocess.run([*command, out], capture_output=True, text=True)
    whole = subprocess.run([*command, tmp_path / "whole"], capture_output=True, text=True)
    assert status.returncode == whole.returncode == 1  # of bad.wav
    assert audio(out) == audio(tmp_path / "whole") and len(audio(out)) == CLIPS
    log = [json.loads(line) for line in (out / "render.log.jsonl").read_text().splitlines() if line.endswith("}")]
    assert sorted(one["file"] for one in log if one["event"] in ("written", "found")) == sorted(audio(out))  # each once
