"""Callbacks: weight averaging, measurements, progress and checkpoints."""

import logging
import signal
import threading
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from audiodiff.errors import UserError
from audiodiff.ranges import NonNegative, Positive, UnitInterval
from audiodiff.training.checkpoint_io import is_intact
from audiodiff.training.module import clips_in, progress
from audiodiff.training.sharded import ShardedStrategy, gather, shard_copy

logger = logging.getLogger(__name__)


class ExponentialMovingAverage(WeightAveraging):
    """Exponential moving average (EMA) of the weights from the first step on.

    The decay grows as (1 + n) / (10 + n) up to `decay`: a fixed one would retain the random initialization for
    1 / (1 - decay) steps, and a late start would validate weights that are not averaged.

    Args:
        decay: maximum; about 1 - 10 / steps of the run.
    """

    def __init__(self, decay: UnitInterval = 0.999):
        super().__init__(use_buffers=False, multi_avg_fn=self._average)
        self.decay = decay

    def _average(self, averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        decay = min(self.decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def on_fit_start(self, trainer, module) -> None:
        """Shard the average where the weights are."""
        shard_copy(self._average_model.module, module)

    def on_fit_end(self, trainer, module) -> None:
        """Leave a whole average."""
        gather(self._average_model)

    def on_validation_epoch_start(self, trainer, module) -> None:
        """Use the average in place of the weights."""
        if isinstance(trainer.strategy, ShardedStrategy) and trainer.state.fn == TrainerFn.FITTING:
            module.gather_weights(self._average_model.module)
        else:
            super().on_validation_epoch_start(trainer, module)

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Use the weights again."""
        if isinstance(trainer.strategy, ShardedStrategy) and trainer.state.fn == TrainerFn.FITTING:
            module.release_weights()
        else:
            super().on_validation_epoch_end(trainer, module)

    def on_train_end(self, trainer, module) -> None:
        """Keep the trained weights, from which a longer run may resume; Lightning would replace them by the average."""


class LossByTimestep(Callback):
    """Logs the objective's loss in bins of t, which shows the noise levels that still improve.

    Args:
        bins: number of bins, evenly over [0, 1].
        every_n_steps: steps between two log entries.
    """

    def __init__(self, bins: Positive = 8, every_n_steps: Positive = 50):
        self.bins, self.every_n_steps = bins, every_n_steps
        self.sums, self.counts = torch.zeros(bins), torch.zeros(bins)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Add the losses of the batch, and log every `every_n_steps`."""
        if "t" not in (outputs or {}):  # skipped step, or a task without noise levels
            return
        index = (outputs["t"].float().cpu() * self.bins).long().clamp(0, self.bins - 1)
        self.sums.index_add_(0, index, outputs["clip_loss"].float().cpu())
        self.counts.index_add_(0, index, torch.ones(len(index)))
        if trainer.global_step % self.every_n_steps == 0:
            for i in range(self.bins):
                if self.counts[i]:
                    low, high = i / self.bins, (i + 1) / self.bins
                    module.log(f"loss_at_t/{low:.3f}_{high:.3f}", self.sums[i] / self.counts[i])
            self.sums.zero_()
            self.counts.zero_()


class ProgressBar(TQDMProgressBar):
    """Progress bar with loss, throughput and remaining time.

    Args:
        refresh_rate: steps between two updates; 0 disables the bar.
    """

    def __init__(self, refresh_rate: NonNegative = 10):
        super().__init__(refresh_rate=refresh_rate)
        self.started, self.first = None, 0.0

    def on_train_start(self, trainer, module) -> None:
        """Start the clock."""
        super().on_train_start(trainer, module)
        self.started, self.first = time.monotonic(), progress(trainer)

    def get_metrics(self, trainer, module) -> dict[str, int | str | float]:
        """Values beside the bar."""
        metrics = super().get_metrics(trainer, module)
        metrics.pop("v_num", None)
        done = progress(trainer) - self.first
        if self.started is not None and done > 0:
            left = (time.monotonic() - self.started) * (1 - self.first - done) / done
            metrics["left"] = f"{left // 60:.0f}:{left % 60:02.0f}"
        return metrics


class Throughput(Callback):
    """Logs seconds of training audio per second of wall time.

    Args:
        every_n_steps: steps between two measurements.
    """

    def __init__(self, every_n_steps: Positive = 20):
        self.every_n_steps, self.since, self.audio = every_n_steps, None, 0.0

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Count the audio of the batch, and log every `every_n_steps`."""
        now = time.monotonic()
        self.since = self.since or now
        if trainer.global_step % self.every_n_steps == 0 and now > self.since and self.audio:
            module.log("audio_s_per_s", self.audio / (now - self.since), prog_bar=True)
            self.since, self.audio = now, 0.0
        whole = "mel" in batch  # sentences of different length
        samples = int(batch["samples"].sum()) if whole else clips_in(batch) * trainer.datamodule.crop_samples
        self.audio += trainer.world_size * samples / module.model.sample_rate


class Checkpoints(Checkpoint):
    """Saves Lightning checkpoints to resume from, regularly and at the end of the run; keeps the last three.

    Ctrl-C or SIGTERM ends the run after the current step with a checkpoint; a second one ends it at once.

    Args:
        folder: of the run; checkpoints are saved to `<folder>/checkpoints`.
        every_n_steps: steps between two checkpoints.
    """

    def __init__(self, folder: str, every_n_steps: Positive = 500):
        self.folder, self.every_n_steps = folder, every_n_steps
        self.interrupted, self.last_step = False, None
        self.previous_handlers: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer, module) -> None:
        """Handle Ctrl-C and SIGTERM from here on: half a step cannot be resumed."""
        self.last_step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            handled = (signal.SIGINT, signal.SIGTERM)
            self.previous_handlers = {one: signal.signal(one, self._interrupt) for one in handled}

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Save a checkpoint when one is due or the run is interrupted."""
        interrupted = self.interrupted
        if trainer.world_size > 1:  # all ranks stop at the same step
            interrupted = trainer.strategy.reduce_boolean_decision(interrupted, all=False)
        if interrupted or trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)
        if interrupted:
            if trainer.is_global_zero:
                step = trainer.global_step
                logger.info("stopped at step %d; add resume=%s to the same command to resume", step, self.folder)
            raise KeyboardInterrupt

    def on_train_end(self, trainer, module) -> None:
        """Save a checkpoint."""
        self._save(trainer)

    def on_exception(self, trainer, module, exception: BaseException) -> None:
        """End the processes of other devices after an error here: they would wait, then fail with tracebacks."""
        processes = getattr(trainer.strategy.launcher, "procs", [])
        if isinstance(exception, UserError | OSError):
            for process in processes:
                process.kill()
            processes.clear()  # Lightning ends this process, too, where it finds one of them dead

    def teardown(self, trainer, module, stage: str) -> None:
        """Restore the handlers of the signals."""
        for one, handler in self.previous_handlers.items():
            signal.signal(one, handler)
        self.previous_handlers = {}

    def _interrupt(self, *_: object) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def _save(self, trainer: lightning.Trainer) -> None:
        """Save a checkpoint unless this step has one, and remove all but the last three."""
        if trainer.global_step == self.last_step:
            return
        self.last_step = trainer.global_step
        trainer.save_checkpoint(Path(self.folder) / "checkpoints" / f"step={self.last_step:09d}.ckpt")
        if trainer.is_global_zero:
            for path in _checkpoints(Path(self.folder))[3:]:
                path.unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Path:
    """The newest undamaged checkpoint of a run.

    Raises:
        UserError: there is no checkpoint.

    Warns:
        UserWarning: a newer one is damaged.
    """
    for path in _checkpoints(folder):
        if is_intact(path):
            return path
        rank_zero_warn(f"{path}: is damaged, an older checkpoint is used if one exists")
    raise UserError(folder, "has no checkpoint to resume from", "start a new run without resume=")


def _checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, the newest first."""
    return sorted((folder / "checkpoints").glob("step=*.ckpt"), reverse=True)
