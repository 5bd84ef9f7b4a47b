"""How long our training command really trained: its own timer goes on through the validation that ends a run."""

import time
from typing import ClassVar

import lightning


class Clock(lightning.Callback):
    """Wall time from the start of training to the end of its last step; `seconds` is that of the newest run."""

    seconds: ClassVar[float] = 0.0

    def on_train_start(self, trainer, module) -> None:
        """Start."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Look at the clock."""
        Clock.seconds = time.perf_counter() - self.started
