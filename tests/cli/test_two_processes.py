"""Commands that run at once into one folder, and commands that are killed, as real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.cli import main
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network

SPEC = PRESETS["speech_16k"]
CLIPS = 6
# Before it stores clip NUMBER (from 0) a process does ACTION.
HOOKED = """
import os, signal, sys, time
from pathlib import Path
from audiodiff.cli import main
from audiodiff.rendering import sidecar

store, stored = sidecar.write_with_sidecar, []

def hooked(*arguments):
    if len(stored) == NUMBER:
        ACTION
    stored.append(arguments[0])
    store(*arguments)

sidecar.write_with_sidecar = hooked
main()
"""
DIE = "os.kill(os.getpid(), signal.SIGKILL)"
WAIT = """Path(os.environ["STARTED"]).touch()
        while not Path(os.environ["PROCEED"]).exists(): time.sleep(0.02)"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    network = Network(StftFrontend(), 80, 256, channels=[16, 16], blocks=[1, 1], embedding=16)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    VocoderModel(network, Cosine(), V(), SPEC, MelPrior(SPEC), settings=[Setting(consistency=2)]).save_pretrained(
        folder / "vocoder"
    )
    network = Network(StftFrontend(1, n_fft=64, hop_length=16), 0, 1, [16, 16], [1, 1], 3, 16)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    spectrum = AverageSpectrum([0.0, -10.0, -30.0], 8000)
    AudioModel(network, Cosine(), V(), 8000, 1600, spectrum=spectrum).save_pretrained(folder / "music")
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for i in range(CLIPS):
        t = np.arange(2000 + 800 * i) / 16000
        soundfile.write(folder / f"{i}.wav", 0.3 * np.sin(2 * np.pi * (200 + 40 * i + 300 * t) * t), 16000)
    return folder


@pytest.fixture(params=["render", "generate"])
def words(request, models, recordings):
    """A command without its output folder; the last word is its seed."""
    settings = ["--steps", "2", "--batch-size", "4", "--seed", "0"]
    if request.param == "render":
        return ["render", recordings, "--model", models / "vocoder", *settings]
    return [
        "generate",
        "--model",
        models / "music",
        "--count",
        CLIPS,
        "--steps",
        "2",
        "--batch-size",
        "4",
        "--seed",
        "0",
    ]


@pytest.fixture
def run(monkeypatch, capsys):
    """`run(words)` runs a command in this process -> (status, stdout, lines of stderr)."""

    def command(words):
        monkeypatch.setattr(sys, "argv", ["audiodiff", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed, errors = capsys.readouterr()
        return ended.value.code, printed, errors.splitlines()

    return command


def start(words, action: str, number: int, **environment: Path) -> subprocess.Popen:
    code = HOOKED.replace("ACTION", action).replace("NUMBER", str(number))
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())} | environment
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def audio(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.wav")}


def test_a_second_command_says_who_is_at_work(words, run, tmp_path):
    out, started, proceed = tmp_path / "out", tmp_path / "started", tmp_path / "proceed"
    with start([*words, "--out", out], WAIT, 1, STARTED=started, PROCEED=proceed) as first:
        try:
            patience = time.monotonic() + 120
            while not started.exists() and first.poll() is None and time.monotonic() < patience:
                time.sleep(0.02)
            before = audio(out)
            assert len(before) == 1
            for seed in ("0", "1"):
                status, printed, lines = run([*words[:-1], seed, "--out", out, "--overwrite"])
                assert (status, printed, len(lines)) == (1, "", 1)
                assert (
                    lines[0].startswith(f"error: {out}: is in use by process {first.pid} on ")
                    and "choose another" in lines[0]
                )
            assert audio(out) == before
        finally:
            proceed.touch()
        _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    (out / "render.log.jsonl").unlink(missing_ok=True)
    assert sorted(path.suffix for path in out.iterdir()) == [".json"] * CLIPS + [".wav"] * CLIPS
    status, printed, lines = run([*words, "--out", out])
    assert (status, lines) == (0, []) and f", {CLIPS} skipped" in printed


def test_a_killed_command_goes_on_to_the_same_bytes(words, run, tmp_path):
    with start([*words, "--out", tmp_path / "killed"], DIE, 2) as process:
        process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL and len(audio(tmp_path / "killed")) == 2
    assert run([*words, "--out", tmp_path / "killed"])[0] == 0
    assert run([*words, "--out", tmp_path / "whole"])[0] == 0
    assert audio(tmp_path / "killed") == audio(tmp_path / "whole") and len(audio(tmp_path / "whole")) == CLIPS


def test_an_output_folder_that_is_not_utf8(words, run, tmp_path):
    out = tmp_path / os.fsdecode(b"caf\xe9")
    status, printed, lines = run([*words, "--out", out])
    assert (status, lines, len(audio(out))) == (0, [], CLIPS) and "caf" in printed
