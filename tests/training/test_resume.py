"""A run that is killed and resumed ends where the unbroken one ends, bit for bit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from audiodiff import Vocoder, train

SHIM = Path(train.__file__).parents[1] / "train.py"
COMMANDS = {"train.py": [str(SHIM)], "audiodiff train": ["-m", "audiodiff", "train"]}
STEPS, EVERY, KILLED_AT = 14, 5, 9
# A callback that writes down what each step sees, and pulls the plug on itself when the environment says so.
RECORDER = """
import hashlib, json, os, signal
from lightning.pytorch.callbacks import Callback

class Recorder(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        wave = hashlib.sha256(batch["waveform"].numpy().tobytes()).hexdigest()
        seen = [trainer.global_step, batch["draw"].tolist(), batch["clip"], wave, float(outputs["loss"])]
        with open(os.environ["RECORD"], "a") as file:
            file.write(json.dumps(seen) + "\\n")
            file.flush()
        if trainer.global_step == int(os.environ.get("KILLED_AT", 0)):
            os.kill(os.getpid(), signal.SIGKILL)
"""


def run(
    folder: Path, record: str, *arguments: str, killed_at: int = 0, command=(str(SHIM),), new: bool = True
) -> tuple[int, list]:
    """The training command in `folder`: its exit status, and what each step saw; `new` if it says all of itself."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(folder.parent),
        "RECORD": str(folder / record), "KILLED_AT": str(killed_at),
    }  # fmt: skip
    options = [
        "+recipe=speech_mel", "debug=smoke", f"trainer.max_steps={STEPS}", "trainer.val_check_interval=4",
        f"callbacks.checkpoints.every_n_steps={EVERY}", "data.workers=2", "data.crop_samples=4096", "optimizer.lr=1e-2",
        "lr_schedule.warmup_steps=3", "+callbacks.recorder._target_=recorder.Recorder", *arguments,
    ]  # fmt: skip
    options = options if new else ["+recipe=speech_mel", *arguments]
    done = subprocess.run(
        [sys.executable, *command, *options], cwd=folder, env=environment, capture_output=True, text=True, timeout=400
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, [json.loads(line) for line in (folder / record).read_text().splitlines()]


def final(folder: Path) -> dict:
    """The checkpoint at the end of the only run in `folder`."""
    (found,) = (folder / "runs" / "speech_mel").iterdir()
    return torch.load(found / "checkpoints" / f"step={STEPS:09d}.ckpt", weights_only=True)


@pytest.mark.slow
def test_killed_and_resumed_equals_unbroken(tmp_path):
    """Killed between checkpoints, in mid-epoch (there is but one), with two loader workers reading ahead.

    The same batches are seen again from the last checkpoint on; weights, their average and the optimizer's moments are
    equal bit for bit at the end, and so is the exported model.
    """
    (tmp_path / "recorder.py").write_text(RECORDER)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()

    status, expected = run(whole, "seen")
    assert status == 0
    assert [seen[0] for seen in expected] == list(range(1, STEPS + 1))
    assert [seen[1] for seen in expected] == [[2 * i, 2 * i + 1] for i in range(STEPS)]
    assert len({seen[3] for seen in expected}) == STEPS

    status, before = run(broken, "before", killed_at=KILLED_AT)
    assert status == -signal.SIGKILL
    assert before == expected[:KILLED_AT]
    (folder,) = (broken / "runs" / "speech_mel").iterdir()
    assert [path.stem for path in (folder / "checkpoints").iterdir()] == [f"step={EVERY:09d}"]

    status, after = run(broken, "after", "resume=last")
    assert status == 0
    assert after == expected[EVERY:]

    one, other = final(whole), final(broken)
    assert one["next_draw"] == other["next_draw"] == 2 * STEPS
    for key in ("state_dict", "current_model_state", "averaging_state"):
        assert one[key].keys() == other[key].keys()
        assert [name for name, value in one[key].items() if not torch.equal(value, other[key][name])] == [], key
    moments = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (one, other)]
    for index, state in moments[0].items():
        assert all(torch.equal(value, moments[1][index][name]) for name, value in state.items())
    models = [next(place.glob("runs/speech_mel/*/model/model.safetensors")) for place in (whole, broken)]
    assert models[0].read_bytes() == models[1].read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "trainer"), [("train.py", "default"), ("audiodiff train", "ddp"), ("train.py", "fsdp")]
)
def test_two_devices_killed_and_resumed_see_what_one_sees_and_write_what_one_writes(name, trainer, tmp_path):
    """Started by the command, one batch on two processes; killed, and gone on with on one."""
    (tmp_path / "recorder.py").write_text(RECORDER)
    shared = tmp_path / "shared"
    shared.mkdir()
    devices = (f"trainer={trainer}", "trainer.devices=2", "data.batch_size=4", "data.workers=0")
    status, seen = run(shared, "seen", *devices, killed_at=KILLED_AT, command=COMMANDS[name])
    assert status == -signal.SIGKILL
    (folder,) = (shared / "runs" / "speech_mel").iterdir()  # of both ranks
    for step in range(1, KILLED_AT):
        draws = sorted(draws for number, draws, *_ in seen if number == step)
        first = 4 * (step - 1)
        assert draws == [[first, first + 2], [first + 1, first + 3]]
    assert [path.stem for path in (folder / "checkpoints").glob("step=*")] == [f"step={EVERY:09d}"]
    assert sorted(path.name for path in (folder / "samples").iterdir()) == ["step_000000004", "step_000000008"]

    for words in ((f"trainer.max_steps={STEPS - 4}",), (f"trainer.max_steps={STEPS}", "trainer.devices=1")):
        status, after = run(shared, f"after{len(words)}", "resume=last", *words, command=COMMANDS[name], new=False)
        assert status == 0
    assert [draws for _, draws, *_ in after] == [list(range(4 * i, 4 * i + 4)) for i in range(STEPS - 4, STEPS)]
    model = Vocoder.from_pretrained(folder / "model")
    assert model.training["steps"] == STEPS and model.training["audio_hours"] == pytest.approx(
        STEPS * 4 * 4096 / 16000 / 3600
    )
    assert final(shared)["next_draw"] == 4 * STEPS


@pytest.mark.slow
def test_of_two_runs_of_one_second_and_of_two_resumes_at_once_nothing_is_lost(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [sys.executable, str(SHIM), "+recipe=speech_mel", "debug=smoke", "callbacks.samples.clips=0"]

    def both(*words: str) -> list[tuple[int, str]]:
        started = [
            subprocess.Popen([*line, *words], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        errors = [process.communicate(timeout=300)[1] for process in started]
        return [(process.returncode, error) for process, error in zip(started, errors, strict=True)]

    assert [status for status, _ in both("hydra.run.dir=${run_folder:speech_mel,null,now}")] == [0, 0]
    folders = sorted((tmp_path / "runs" / "speech_mel").iterdir())
    assert [folder.name for folder in folders] == ["now", "now_2"]
    assert all(Vocoder.from_pretrained(folder / "model").training["steps"] == 2 for folder in folders)
    ends = both(
        "resume=last", "trainer.max_steps=2000", "trainer.val_check_interval=2000", "trainer.max_time=00:00:00:20"
    )
    assert sorted(status for status, _ in ends) == [0, 1]
    (refused,) = (error for status, error in ends if status)
    assert refused.strip().startswith("error: ") and " is in use by process " in refused
