"""Averaging, measuring and checkpointing, in small runs of the real command."""

import os
import shutil
import signal
import tempfile
import time
from types import SimpleNamespace

import lightning
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from audiodiff import Vocoder, config, train
from audiodiff.errors import UserError
from audiodiff.training.callbacks import Checkpoints, ExponentialMovingAverage, newest_checkpoint
from audiodiff.training.checkpoint_io import AtomicCheckpointIO

pytestmark = pytest.mark.filterwarnings("ignore")
STEPS = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of ten steps with eight crops each."""
    folder = tmp_path_factory.mktemp("run")
    options = [
        f"folder={folder}", f"trainer.max_steps={STEPS}", "trainer.val_check_interval=5", "trainer.log_every_n_steps=1",
        "callbacks.loss_by_timestep.every_n_steps=5", "callbacks.throughput.every_n_steps=2",
        "callbacks.checkpoints.every_n_steps=3",
        "data.batch_size=8", "data.crop_samples=4096", "lr_schedule.warmup_steps=2", "optimizer.lr=1e-2",
    ]  # fmt: skip
    train.run(config.compose(["+recipe=speech_mel", "debug=smoke", *options]), folder)
    return folder


@pytest.fixture(scope="module")
def board(run):
    """What TensorBoard reads of it."""
    accumulator = EventAccumulator(str(run / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_loss_is_logged_for_eight_noise_levels(board):
    bins = [tag for tag in board.Tags()["scalars"] if tag.startswith("loss_at_t/")]
    assert len(bins) == 8
    assert all(event.value > 0 for tag in bins for event in board.Scalars(tag))


def test_gradient_norm_and_learning_rate_of_every_step_are_logged(board):
    rates = [event.value for event in board.Scalars("learning_rate")]
    assert len(rates) == STEPS and rates[0] == pytest.approx(0.5e-2, rel=0.1) and rates[1] > rates[-1] > 0
    assert all(event.value > 0 for event in board.Scalars("gradient_norm"))


def test_loss_and_throughput_are_logged(board):
    assert len(board.Scalars("loss")) == STEPS
    assert all(event.value > 0 for event in board.Scalars("audio_s_per_s"))
    assert board.Scalars("validation/loss")


def test_held_out_clips_are_on_the_board_and_in_files_of_every_validation(run, board):
    assert [tag for tag in board.Tags()["audio"] if tag.startswith("held_out/")]
    assert [tag for tag in board.Tags()["images"] if tag.startswith("held_out/")]
    for step in (5, 10):
        folder = run / "samples" / f"step_{step:09d}"
        assert sorted(path.suffix for path in folder.iterdir()) == [".png", ".wav", ".wav"]
        assert all(path.stat().st_size > 1000 for path in folder.iterdir())


def test_a_held_out_clip_that_is_not_finite_does_not_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(Vocoder, "_finish", lambda self, samples, *_: [clip * torch.nan for clip in samples])
    words = ["+recipe=speech_mel", "debug=smoke", f"folder={tmp_path}", "trainer.max_steps=1"]
    with pytest.warns(UserWarning, match="step 1: .* is not resynthesized: .*not finite"):
        train.run(config.compose(words), tmp_path)
    assert Vocoder.from_pretrained(tmp_path / "model").training["steps"] == 1


def test_checkpoints_are_the_last_two_and_the_end_and_need_no_pickle(run):
    files = sorted((run / "checkpoints").iterdir())
    assert [file.stem for file in files] == [f"step={step:09d}" for step in (6, 9, 10)]
    for file in files:
        checkpoint = torch.load(file, weights_only=True)
        assert checkpoint["global_step"] == int(file.stem.split("=")[1])
        assert checkpoint["next_draw"] == 8 * checkpoint["global_step"]


def test_resuming_leaves_no_checkpoint_more(run, tmp_path):
    shutil.copytree(run / "checkpoints", tmp_path / "checkpoints")
    for steps in (11, 13):
        options = [
            f"folder={tmp_path}",
            f"trainer.max_steps={steps}",
            "resume=last",
            "callbacks.checkpoints.every_n_steps=1",
        ]
        shape = ["data.batch_size=8", "data.crop_samples=4096", "callbacks.samples.clips=0"]
        train.run(config.compose(["+recipe=speech_mel", "debug=smoke", *options, *shape]), tmp_path)
        names = sorted(file.stem for file in (tmp_path / "checkpoints").iterdir())
        assert names == [f"step={step:09d}" for step in range(steps - 2, steps + 1)]


def test_exported_model_holds_the_averaged_weights(run):
    checkpoint = torch.load(newest_checkpoint(run), weights_only=True)
    exported = Vocoder.from_pretrained(run / "model").model.network.state_dict()
    prefix = "model.denoiser.network."
    averaged, current = (
        {name.removeprefix(prefix): value for name, value in checkpoint[key].items() if name.startswith(prefix)}
        for key in ("state_dict", "current_model_state")
    )
    assert averaged.keys() == exported.keys()
    assert all(torch.equal(exported[name], averaged[name]) for name in exported)
    assert any(not torch.equal(exported[name], current[name]) for name in exported)


def test_truncated_newest_checkpoint_is_passed_over(run, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    whole = newest_checkpoint(run).read_bytes()
    (folder / "step=000000010.ckpt").write_bytes(whole)
    (folder / "step=000000020.ckpt").write_bytes(whole[: len(whole) // 2])
    (folder / "step=000000030.ckpt").write_bytes(b"")
    assert newest_checkpoint(tmp_path).name == "step=000000010.ckpt"
    (folder / "step=000000010.ckpt").unlink()
    with pytest.raises(UserError, match=r"has no checkpoint to resume from; .*without resume="):
        newest_checkpoint(tmp_path)


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(4096) + content[middle + 4096 :]


def test_a_checkpoint_with_a_damaged_block_is_passed_over_and_named(run, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    whole = newest_checkpoint(run).read_bytes()
    (folder / "step=000000010.ckpt").write_bytes(whole)
    (folder / "step=000000020.ckpt").write_bytes(damaged(whole))
    torch.load(folder / "step=000000020.ckpt", weights_only=True)  # which sees nothing
    with pytest.warns(UserWarning, match=r"step=000000020.ckpt: is damaged, an older checkpoint is used"):
        assert newest_checkpoint(tmp_path).name == "step=000000010.ckpt"


def test_checkpoints_need_no_room_for_temporary_files_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    AtomicCheckpointIO().save_checkpoint({"step": 3}, tmp_path / "a" / "step=3.ckpt")
    assert torch.load(tmp_path / "a" / "step=3.ckpt", weights_only=True) == {"step": 3}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["step=3.ckpt"]


def test_a_disk_that_refuses_a_checkpoint_is_one_line_and_leaves_no_half(tmp_path, limit_files):
    file = tmp_path / "step=3.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.ones(2)}, file)
    before = file.read_bytes()
    with limit_files(4096), pytest.raises(UserError, match=r"step=3.ckpt: cannot be written \(File too large\)"):
        AtomicCheckpointIO().save_checkpoint({"weights": torch.ones(2000)}, file)
    assert list(tmp_path.iterdir()) == [file] and file.read_bytes() == before


class Line(lightning.LightningModule):
    """Learns a number; remembers it after every step and at validation."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen, self.validated = [], []

    def training_step(self, batch, index):
        return (self.weight - batch).square().mean()

    def on_train_batch_end(self, *_):
        self.seen.append(float(self.weight))

    def validation_step(self, batch, index):
        self.validated.append(float(self.weight))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.2)


def averages(weights: list[float], limit: float) -> list[float]:
    """The average after each of the steps, written out: the first is the weight itself."""
    found = weights[:1]
    for n, weight in enumerate(weights[1:], 1):
        decay = min(limit, (1 + n) / (10 + n))
        found.append(decay * found[-1] + (1 - decay) * weight)
    return found


@pytest.mark.parametrize("limit", [0.3, 0.999])
def test_average_is_the_one_written_out_and_training_goes_on_from_the_trained_weights(limit, tmp_path):
    module, average = Line(), ExponentialMovingAverage(limit)
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[average],
        enable_model_summary=False, max_epochs=1, val_check_interval=4, num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )  # fmt: skip
    data = torch.utils.data.DataLoader(torch.linspace(1, 3, 12), batch_size=1)
    trainer.fit(module, data, torch.utils.data.DataLoader(torch.zeros(1)))
    expected = averages(module.seen, limit)
    assert module.validated == pytest.approx([expected[3], expected[7], expected[11]], abs=1e-5)
    assert float(module.weight) == pytest.approx(module.seen[-1])
    steps = [0.0, *module.seen]
    for before, after, target in zip(steps, steps[1:], torch.linspace(1, 3, 12).tolist(), strict=False):
        assert after == pytest.approx(before - 0.4 * (before - target), abs=1e-5)


@pytest.mark.slow
def test_time_bound_is_kept_and_the_learning_rate_comes_down_to_its_floor(tmp_path):
    seconds = 15
    options = [
        f"folder={tmp_path}", "trainer.max_steps=-1", f'trainer.max_time="00:00:00:{seconds}"',
        "data.crop_samples=4096",
        "trainer.val_check_interval=100000", "lr_schedule.warmup_steps=2", "callbacks.checkpoints.every_n_steps=100000",
    ]  # fmt: skip
    cfg = config.compose(["+recipe=speech_mel", "debug=smoke", *options])
    started = time.monotonic()
    train.run(cfg, tmp_path)
    # Beside the bound itself: building, one validation with its rendering, and the export.
    assert seconds <= time.monotonic() - started < seconds + 45
    checkpoint = torch.load(newest_checkpoint(tmp_path), weights_only=True)
    (timer,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("Timer"))
    assert seconds <= timer["time_elapsed"]["train"] < seconds + 5
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert 0.02 <= group["lr"] / group["full_lr"] < 0.05


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_end_saves_a_checkpoint_first(number, tmp_path):
    saved = []
    trainer = SimpleNamespace(global_step=3, world_size=1, is_global_zero=True, save_checkpoint=saved.append)
    checkpoints, before = Checkpoints(str(tmp_path), every_n_steps=100), signal.getsignal(number)
    checkpoints.on_train_start(trainer, None)
    try:
        trainer.global_step = 4
        checkpoints.on_train_batch_end(trainer, None, None, None, 3)
        os.kill(os.getpid(), number)
        trainer.global_step = 5
        with pytest.raises(KeyboardInterrupt):
            checkpoints.on_train_batch_end(trainer, None, None, None, 4)
    finally:
        checkpoints.teardown(trainer, None, "fit")
    assert saved == [tmp_path / "checkpoints/step=000000005.ckpt"]
    assert signal.getsignal(number) is before
