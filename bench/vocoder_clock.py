"""Clocks of our training command: how long it really trained, as its own timer goes on through the validation that ends
a run, and a limit in processor time, which other work on the machine does not shorten.
"""

import time
from collections.abc import Callable
from typing import ClassVar

import lightning
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.trainer.states import RunningStage

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


class Clock(lightning.Callback):
    """Time from the start of training to the end of its last step; `seconds` is that of the newest run.

    Args:
        kind: "wall" or "processor".
    """

    seconds: ClassVar[float] = 0.0

    def __init__(self, kind: str = "wall"):
        self.now = CLOCKS[kind]

    def on_train_start(self, trainer, module) -> None:
        """Start."""
        self.started = self.now()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Look at the clock."""
        Clock.seconds = self.now() - self.started


class ProcessorTimer(Timer):
    """Ends a run after so many seconds of this process' processor time, which the learning rate follows too."""

    began: float | None = None

    def on_train_start(self, trainer, module) -> None:
        """Start."""
        super().on_train_start(trainer, module)
        self.began = time.process_time()

    def time_elapsed(self, stage: str = RunningStage.TRAINING) -> float:
        """Seconds of processor time since training started."""
        return 0.0 if self.began is None else time.process_time() - self.began
