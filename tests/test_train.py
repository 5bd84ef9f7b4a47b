"""The training command as a user meets it: from any folder, refused in words, stopped and gone on with."""

import errno
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from audiodiff import Vocoder, config, train
from audiodiff.errors import UserError

SHIM = Path(train.__file__).parents[1] / "train.py"
CONF = SHIM.parent / "conf"
SMOKE = ("+recipe=speech_mel", "debug=smoke")
COMMANDS = {"train.py": [str(SHIM)], "audiodiff train": ["-m", "audiodiff", "train"]}
MISSPELT = [
    ("+recipe=nope",),
    ("+recpe=speech_mel",),
    ("+recipe=speech_mel", "+datta=x"),
    ("datta=x",),
    ("+model/nope=y",),
]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}


def command(*arguments: str, at: Path, name: str = "train.py") -> subprocess.CompletedProcess:
    line = [sys.executable, *COMMANDS[name], *arguments]
    return subprocess.run(line, cwd=at, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs" / "speech_mel").iterdir()
    return run


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A run of two steps in this process; its folder and its last loss."""
    folder = tmp_path_factory.mktemp("smoke")
    return folder, train.run(config.compose([*SMOKE, f"folder={folder}"]), folder)


def test_run_answers_its_validation_loss(smoke):
    _, loss = smoke
    assert 0 < loss < 100


def test_run_leaves_checkpoints_a_model_and_something_to_hear_and_see(smoke):
    folder, _ = smoke
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"model/config.json", "model/model.safetensors", "model/README.md"} <= names
    assert {"checkpoints/step=000000001.ckpt", "checkpoints/step=000000002.ckpt"} <= names
    (made,) = (name for name in names if re.fullmatch(r"samples/step_000000002/tones_\d+\.wav", name))
    assert {made.replace(".wav", ".png"), made.replace(".wav", "_original.wav")} <= names
    assert any(name.startswith("tensorboard/events.") for name in names)
    assert not [name for name in names if name.endswith(".tmp")]


def test_exported_model_speaks(smoke):
    folder, _ = smoke
    vocoder = Vocoder.from_pretrained(folder / "model")
    assert vocoder.training["steps"] == 2
    assert vocoder.training["synthetic"] is True
    audio = vocoder.generate(torch.full((80, 7), -4.0), steps=2)
    assert audio.samples.shape == (7 * 256,)
    assert torch.isfinite(audio.samples).all()


def test_model_card_tells_steps_data_and_licenses(smoke):
    folder, _ = smoke
    card = (folder / "model" / "README.md").read_text()
    assert "for 2 optimizer steps" in card
    assert "CC0-1.0" in card
    assert "tones" in card


def test_run_starts_from_the_weights_of_another(smoke, tmp_path):
    folder, _ = smoke
    first = Vocoder.from_pretrained(folder / "model")
    start = first.model.network.state_dict()
    options = [f"folder={tmp_path}", f"init_from={folder / 'model'}", "optimizer.lr=0", "optimizer.weight_decay=0"]
    train.run(config.compose([*SMOKE, *options]), tmp_path)
    last = Vocoder.from_pretrained(tmp_path / "model")
    ended = last.model.network.state_dict()
    assert all(torch.equal(ended[name], value) for name, value in start.items())
    assert last.training["started_from"] == first.training | {"hash": first.model_hash}
    options += ["trainer.max_steps=3", "resume=last"]
    train.run(config.compose([*SMOKE, *options]), tmp_path)
    resumed = Vocoder.from_pretrained(tmp_path / "model").training
    assert (resumed["steps"], resumed["started_from"]) == (3, last.training["started_from"])


def test_start_from_a_model_of_another_size_is_refused(smoke, tmp_path):
    folder, _ = smoke
    options = [f"folder={tmp_path}", f"init_from={folder / 'model'}", "network.channels=[48,48]"]
    with pytest.raises(UserError, match=r"model: does not fit this configuration \(.*conv_in.weight.*\); configure"):
        train.run(config.compose([*SMOKE, *options]), tmp_path)


def test_start_from_nowhere_is_refused(tmp_path):
    options = [f"folder={tmp_path}", f"init_from={tmp_path / 'absent'}"]
    with pytest.raises(UserError, match="absent: no such model folder"):
        train.run(config.compose([*SMOKE, *options]), tmp_path)


def test_nothing_to_resume_is_an_error(tmp_path):
    cfg = config.compose([*SMOKE, f"folder={tmp_path}", "resume=last"])
    with pytest.raises(UserError, match=r"has no checkpoint to resume from; .*without resume="):
        train.run(cfg, tmp_path)


def test_without_data_one_line_names_the_command_that_prepares_it(tmp_path):
    cfg = config.compose(["+recipe=speech_mel", f"folder={tmp_path}", f"data.path={tmp_path / 'speech'}"])
    with pytest.raises(UserError) as caught:
        train.run(cfg, tmp_path)
    line = str(caught.value)
    assert "\n" not in line
    assert f"run `audiodiff prepare asterisk-en --out {tmp_path / 'speech'}`" in line


@pytest.mark.parametrize("arguments", MISSPELT, ids=" ".join)
def test_misspelt_command_line_ends_before_hydra_starts(arguments, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        train.main()
    assert str(caught.value.code).startswith("error: ")
    assert re.search(r"recipes: .*\bspeech_mel\b", caught.value.code)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_smoke_run_from_another_folder(name, tmp_path):
    done = command(*SMOKE, at=tmp_path, name=name)
    assert done.returncode == 0, done.stderr
    model = only_run(tmp_path) / "model"
    assert done.stdout.strip().endswith(f"model: {model}")
    assert Vocoder.from_pretrained(model).training["steps"] == 2


@pytest.mark.slow
def test_sweep_from_another_folder(tmp_path):
    done = command("-m", *SMOKE, "seed=1,2", at=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = sorted((tmp_path / "runs" / "speech_mel").glob("*/model"))
    weights = [Vocoder.from_pretrained(model).model.network.state_dict() for model in (first, second)]
    assert any(not torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_groups(name, tmp_path):
    done = command("--help", at=tmp_path, name=name)
    assert done.returncode == 0, done.stderr
    networks = ", ".join(sorted(path.stem for path in (CONF / "network").glob("*.yaml")))
    for word in ("speech_mel", f"network: {networks}", "debug: overfit, smoke"):
        assert word in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("arguments", MISSPELT, ids=" ".join)
def test_misspelt_command_line_is_refused_in_words(name, arguments, tmp_path):
    done = command(*arguments, at=tmp_path, name=name)
    assert done.returncode not in (0, None)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert re.search(r"recipes: .*\bspeech_mel\b", line)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("+recipe=speech_mel",), "run `audiodiff prepare asterisk-en --out data/asterisk-en`"),
        ((*SMOKE, "resume=last"), "there is no run in runs/speech_mel"),
        ((*SMOKE, "resume=runs/absent"), "has no checkpoint to resume from"),
        ((*SMOKE, "init_from=absent"), "no such model folder"),
        (("+recipe=music_latent",), "error: data.codec: is not set; set data.codec=..."),
    ],
)
def test_what_cannot_start_says_why_in_one_line(arguments, words, tmp_path):
    done = command(*arguments, at=tmp_path)
    assert done.returncode not in (0, None)
    assert words in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(
    ("largest", "refused"),
    [
        (1000, r"/\.hydra/|the run's folder"),  # before training
        (100_000, r"/checkpoints/step=000000001\.ckpt"),
        (10_000, r"/tones/000\.flac"),
    ],
)
def test_a_disk_that_refuses_is_one_line_and_leaves_nothing_half(largest, refused, devices, tmp_path):
    done = subprocess.run(
        [sys.executable, str(SHIM), *SMOKE, f"data.path={tmp_path / 'tones'}", f"trainer.devices={devices}"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(rf"error: .*({refused}).*: cannot be written \(File too large\)", done.stderr), done.stderr
    assert not list(tmp_path.rglob("*.ckpt")) and not list(tmp_path.rglob(".*.tmp*"))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "cannot be written (No space left on device); free some space"),
        (errno.EACCES, "cannot be used (Permission denied); check its permissions"),
        (errno.EEXIST, "cannot be used (File exists); check its permissions"),
    ],
)
def test_what_the_disk_refuses_says_what_helps(number, words, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number), "there")

    monkeypatch.setattr(config, "check", refuse)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(SystemExit, match=re.escape(f"error: there: {words}")):
        train.main()


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["runs", "elsewhere"])
def test_a_run_folder_that_cannot_be_is_one_line(folder, tmp_path):
    (tmp_path / folder).write_text("a file")
    words = [] if folder == "runs" else [f"hydra.run.dir={folder}"]
    done = command(*SMOKE, *words, at=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and folder in line


@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint_and_the_run_goes_on_from_it(tmp_path):
    options = ("trainer.max_steps=100000", "trainer.val_check_interval=100000", "callbacks.checkpoints.every_n_steps=3")
    process = subprocess.Popen(
        [sys.executable, str(SHIM), *SMOKE, *options, "data.workers=1"],
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not any(tmp_path.rglob("*.ckpt")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode not in (0, None)
    assert "Traceback" not in error
    run = only_run(tmp_path)
    said = re.search(r"stopped at step (\d+); add resume=(\S+) to the same command", out)
    assert said, out + error
    steps = int(said[1])
    assert max(path.name for path in (run / "checkpoints").iterdir()) == f"step={steps:09d}.ckpt"

    done = command(*SMOKE, f"resume={said[2]}", f"trainer.max_steps={steps + 2}", at=tmp_path)
    assert done.returncode == 0, done.stderr
    assert only_run(tmp_path) == run
    assert Vocoder.from_pretrained(run / "model").training["steps"] == steps + 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_memory_is_retained():
    assert train.retain_freed_memory()
    faults = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = bytearray(24 << 20)
        del block
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert faults[-1] < 600  # a tenth of its pages
