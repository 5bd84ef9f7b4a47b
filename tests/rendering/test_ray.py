"""Rendering on a Ray cluster of two nodes: the bytes of one process, whoever is killed."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from audiodiff.audio import io
from audiodiff.cli import main
from audiodiff.rendering.options import ExecutionOptions, FileOptions, RenderOptions
from audiodiff.rendering.registry import Request, render_request

CLIPS = 60


def audio(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.wav")}


def test_an_address_is_of_ray(monkeypatch, capsys, model_folder, tmp_path):
    words = ["audiodiff", "render", tmp_path / "a.wav", "--model", model_folder, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", [*map(str, words), "--address", "auto"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1 and "--executor ray" in capsys.readouterr().err


@pytest.mark.slow
def test_two_nodes_one_of_which_is_lost_write_the_bytes_of_one_process(model_folder, recording, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]))
    for i in range(CLIPS):
        io.write(tmp_path / "in" / f"{i:03d}.wav", recording(6000 + 300 * (i % 7), seed=i))
    (tmp_path / "in" / "bad.wav").write_bytes(b"nothing")

    def run(out, execution):
        options, files = RenderOptions(steps=4, consistency=0), FileOptions(batch_size=1)
        request = Request(
            inputs=[tmp_path / "in"], out=tmp_path / out, options=options, files=files, execution=execution
        )
        return render_request(model_folder, request, lambda _: None, quiet=True)

    whole = run("whole", ExecutionOptions())
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        lost = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        killed = []

        def kill():
            """A worker when the first files are there, and then a whole node."""
            while len(audio(tmp_path / "out")) < 8:
                time.sleep(0.02)
            for process in Path("/proc").iterdir():
                if process.name.isdigit() and b"ray::render_shard" in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(int(process.name))
                    break
            before = len(audio(tmp_path / "out"))
            while len(audio(tmp_path / "out")) < before + 4:
                time.sleep(0.02)
            cluster.remove_node(lost, allow_graceful=False)
            killed.append("node")

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        outcome = run("out", ExecutionOptions(executor="ray"))
        killer.join(60)
        assert len(killed) == 2
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert outcome.failed == whole.failed == 1 and outcome.written + outcome.skipped == CLIPS
    assert audio(tmp_path / "out") == audio(tmp_path / "whole") and len(audio(tmp_path / "out")) == CLIPS
