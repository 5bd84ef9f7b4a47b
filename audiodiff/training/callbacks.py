"""What happens around the training steps: averaging, measuring, checkpointing."""

import logging
import signal
import threading
import time
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from audiodiff.errors import UserError
from audiodiff.ranges import NonNegative, Positive, UnitInterval
from audiodiff.training.checkpoint_io import is_whole
from audiodiff.training.module import clips_in, progress

logger = logging.getLogger(__name__)


class ExponentialMovingAverage(WeightAveraging):
    """Exponential moving average of the weights from the first step on.

    The decay grows as (1 + n) / (10 + n) up to `decay`: a fixed one would carry the random start along for
    1 / (1 - decay) steps, and starting late would validate weights that are not averaged.

    Args:
        decay: of the average, once warm; about 1 - 10 / steps of the run.
    """

    def __init__(self, decay: UnitInterval = 0.999):
        super().__init__(use_buffers=False, avg_fn=self._average)
        self.decay = decay

    def _average(self, averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        decay = min(self.decay, (1 + int(count)) / (10 + int(count)))
        return torch.lerp(current, averaged, decay)

    def on_train_end(self, trainer, module) -> None:
        """Keep the trained weights beside their average: a longer run may go on from them."""


class LossByTimestep(Callback):
    """The objective's loss in bins of t, so that one sees which noise levels learn.

    Args:
        bins: how many, evenly over [0, 1].
        every_n_steps: steps between two entries in the log.
    """

    def __init__(self, bins: Positive = 8, every_n_steps: Positive = 50):
        self.bins, self.every_n_steps = bins, every_n_steps
        self.sums, self.counts = torch.zeros(bins), torch.zeros(bins)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Gather, and log every so often."""
        if "t" not in (outputs or {}):  # the step was skipped
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
    """The bar: loss, seconds of audio trained on per second, and the time left."""

    def __init__(self, refresh_rate: NonNegative = 10):
        super().__init__(refresh_rate=refresh_rate)
        self.started, self.first = None, 0.0

    def on_train_start(self, trainer, module) -> None:
        """Start the clock."""
        super().on_train_start(trainer, module)
        self.started, self.first = time.monotonic(), progress(trainer)

    def get_metrics(self, trainer, module) -> dict[str, int | str | float]:
        """What stands beside the bar."""
        metrics = super().get_metrics(trainer, module)
        metrics.pop("v_num", None)
        done = progress(trainer) - self.first
        if self.started is not None and done > 0:
            left = (time.monotonic() - self.started) * (1 - self.first - done) / done
            metrics["left"] = f"{left // 60:.0f}:{left % 60:02.0f}"
        return metrics


class Throughput(Callback):
    """Seconds of audio trained on per second of wall time, over the last steps.

    Args:
        every_n_steps: steps between two measurements.
    """

    def __init__(self, every_n_steps: Positive = 20):
        self.every_n_steps, self.since, self.audio = every_n_steps, None, 0.0

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Count, and log every so often."""
        now = time.monotonic()
        self.since = self.since or now
        if trainer.global_step % self.every_n_steps == 0 and now > self.since and self.audio:
            module.log("audio_s_per_s", self.audio / (now - self.since), prog_bar=True)
            self.since, self.audio = now, 0.0
        self.audio += trainer.world_size * clips_in(batch) * trainer.datamodule.crop_samples / module.model.sample_rate


class Checkpoints(Checkpoint):
    """Lightning checkpoints for resuming: every so many steps, and one when the run ends; the last three are kept.

    Ctrl-C ends the run after the step that it comes in, with a checkpoint; a second one ends it at once.

    Args:
        folder: of the run; they go to `<folder>/checkpoints`.
        every_n_steps: steps between two.
    """

    def __init__(self, folder: str, every_n_steps: Positive = 500):
        self.folder, self.every_n_steps = folder, every_n_steps
        self.interrupted, self.replaced, self.last_step = False, None, None

    def on_train_start(self, trainer, module) -> None:
        """From here on Ctrl-C waits for the step to end: one that is cut in two could not be gone on from."""
        self.last_step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self.replaced = signal.signal(signal.SIGINT, self._interrupt)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Save when it is time to, or when the run is asked to stop."""
        interrupted = self.interrupted
        if trainer.world_size > 1:  # all ranks stop at one step
            interrupted = trainer.strategy.reduce_boolean_decision(interrupted, all=False)
        if interrupted or trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)
        if interrupted:
            if trainer.is_global_zero:
                step = trainer.global_step
                logger.info("stopped at step %d; add resume=%s to the same command to resume", step, self.folder)
            raise KeyboardInterrupt

    def on_train_end(self, trainer, module) -> None:
        """Save the end."""
        self._save(trainer)

    def on_exception(self, trainer, module, exception: BaseException) -> None:
        """End the processes of further devices where this one refuses: they would wait, then fail in many lines."""
        processes = getattr(trainer.strategy.launcher, "procs", [])
        if isinstance(exception, UserError | OSError):
            for process in processes:
                process.kill()
            processes.clear()  # Lightning ends this process, too, where it finds one of them dead

    def teardown(self, trainer, module, stage: str) -> None:
        """Give Ctrl-C back."""
        if self.replaced is not None:
            signal.signal(signal.SIGINT, self.replaced)
            self.replaced = None

    def _interrupt(self, *_: object) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def _save(self, trainer: lightning.Trainer) -> None:
        """Save once a step, and remove what is older than the last three."""
        if trainer.global_step == self.last_step:
            return
        self.last_step = trainer.global_step
        trainer.save_checkpoint(Path(self.folder) / "checkpoints" / f"step={self.last_step:09d}.ckpt")
        if trainer.is_global_zero:
            for path in _checkpoints(Path(self.folder))[3:]:
                path.unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a run that is whole.

    Raises:
        UserError: there is none.

    Warns:
        UserWarning: a newer one is damaged.
    """
    for path in _checkpoints(folder):
        if is_whole(path):
            return path
        rank_zero_warn(f"{path}: is damaged, an older checkpoint is used if there is one")
    raise UserError(folder, "holds no checkpoint to resume from", "start anew without resume=")


def _checkpoints(folder: Path) -> list[Path]:
    """Those of a run, the newest first."""
    return sorted((folder / "checkpoints").glob("step=*.ckpt"), reverse=True)
