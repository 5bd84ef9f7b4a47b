"""Training that is killed: it is resumed, and ends with the weights of an unbroken run."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import torch
from faults.strike import Finding, command, run
from torch.utils._pytree import tree_leaves

from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.training.checkpoint_io import is_intact

STEPS, EVERY, VALIDATED = 80, 4, 10


def words(folder: Path, *options: str) -> list[str]:
    """The command of a run of `STEPS` small steps in a folder."""
    return command(
        *("train", "+recipe=speech_mel", "debug=smoke", f"trainer.max_steps={STEPS}", f"hydra.run.dir={folder}"),
        *(f"trainer.val_check_interval={VALIDATED}", f"callbacks.checkpoints.every_n_steps={EVERY}"),
        *("data.crop_samples=4096", *options),
    )


def killed(base: Path, kills: int, patience: float, moments: random.Random) -> Finding:
    """Kill a run at random moments after its next checkpoint, and look at what is there each time."""
    whole, folder = base / "trained", base / "trained-broken"
    status, errors = run(words(whole), cwd=base)
    assert status == 0, errors
    finding = Finding("train, killed", 0, 0)
    for _ in range(kills):
        before = _newest(folder)
        again = words(folder) if before < 0 else words(folder, f"resume={folder}")
        with subprocess.Popen(again, cwd=base, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and _newest(folder) == before:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, patience))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                finding.strikes += 1
        finding.wrong += _half_written(folder)
    status, errors = run(words(folder, f"resume={folder}"), cwd=base)
    if status:
        finding.wrong.append(f"the last command ended with status {status}: {errors[-200:]!r}")
    return compare(finding, folder, whole)


def compare(finding: Finding, folder: Path, whole: Path) -> Finding:
    """Note where the last checkpoint and the export differ from those of an unbroken run."""
    if not (ended(folder) and ended(whole)):
        finding.wrong.append("no checkpoint of the last step")
        return finding
    found, expected = (
        [leaf for leaf in tree_leaves(torch.load(_last(place), weights_only=True)) if isinstance(leaf, torch.Tensor)]
        for place in (folder, whole)
    )
    finding.files = len(expected)
    if len(found) != len(expected) or not all(map(torch.equal, found, expected)):
        finding.wrong.append("weights, average or optimizer differ from the unbroken run's")
    models = [(place / "model" / "model.safetensors").read_bytes() for place in (folder, whole)]
    if models[0] != models[1]:
        finding.wrong.append("the exported weights differ")
    return finding


def ended(folder: Path) -> bool:
    """Whether a run has a checkpoint of its last step."""
    return _last(folder).is_file()


def _last(folder: Path) -> Path:
    return folder / "checkpoints" / f"step={STEPS:09d}.ckpt"


def sane_times(finding: Finding, folder: Path, longest: float) -> None:
    """Note an impossible duration in the training record of a run's export."""
    minutes = json.loads((folder / "model" / "config.json").read_text())["training"]["minutes"]
    if not 0 < minutes < longest:
        finding.wrong.append(f"{minutes} minutes of training")


def _newest(folder: Path) -> int:
    """The step of the newest checkpoint; -1: there is none."""
    return max((int(path.stem[5:]) for path in (folder / "checkpoints").glob("step=*.ckpt")), default=-1)


def _half_written(folder: Path) -> list[str]:
    """What is wrong with the checkpoints and the export that are visible now."""
    wrong = [f"{path.name} is damaged" for path in (folder / "checkpoints").glob("step=*") if not is_intact(path)]
    if (folder / "model").is_dir():
        try:
            checkpoint.load(folder / "model")
        except UserError as error:
            wrong.append(f"the export cannot be read: {error}")
    return wrong
