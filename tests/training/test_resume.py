"""A run that is killed and resumed ends where the unbroken one ends, bit for bit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from audiodiff import train

SHIM = Path(train.__file__).parents[1] / "train.py"
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


def run(folder: Path, record: str, *arguments: str, killed_at: int = 0) -> tuple[int, list]:
    """The training command in `folder`: its exit status, and what each step saw."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(folder.parent),
        "RECORD": str(folder / record), "KILLED_AT": str(killed_at),
    }  # fmt: skip
    options = [
        "+recipe=speech_mel", "debug=smoke", f"trainer.max_steps={STEPS}", "trainer.val_check_interval=4",
        f"callbacks.checkpoints.every={EVERY}", "data.workers=2", "data.crop_samples=4096", "optimizer.lr=1e-2",
        "lr_schedule.warmup_steps=3", "+callbacks.recorder._target_=recorder.Recorder", *arguments,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(SHIM), *options], cwd=folder, env=environment, capture_output=True, text=True, timeout=400
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

    The same batches are seen again from the last checkpoint on; weights, their average and the optimiser's moments are
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
