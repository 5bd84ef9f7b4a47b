"""Learning rate schedules: pure functions of step and progress, so that a resumed run needs no scheduler state."""

import bisect
import itertools
import math
from collections.abc import Sequence

from audiodiff.ranges import NonNegative, Positive, UnitInterval


class WarmupCosine:
    """Linear warm-up in steps, then half a cosine over the run's progress (Loshchilov & Hutter 2017, eq. 5).

    Progress is the share of the run that is done: of its steps, or of its wall time if that is limited.

    Args:
        warmup_steps: optimizer steps until the full learning rate.
        final_ratio: learning rate at the end, as a share of the full one.
    """

    def __init__(self, warmup_steps: NonNegative = 200, final_ratio: UnitInterval = 0.02):
        self.warmup_steps, self.final_ratio = warmup_steps, final_ratio

    def factor(self, step: int, progress: float) -> float:
        """Factor of the full learning rate at optimizer step `step` (from 0) and `progress` in [0, 1]."""
        warmup = min(1.0, (step + 1) / max(1, self.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return warmup * (self.final_ratio + (1 - self.final_ratio) * cosine)


class StagedLinear:
    """Linear warm-up, then a linear decay, in every stage of progressive distillation (arXiv 2202.00512, appendix).

    Args:
        stage_steps: optimizer steps of each stage, or one number for all; the last one is repeated.
        warmup_steps: optimizer steps until the full learning rate, in each stage.
        final_ratio: learning rate at the end of a stage, as a share of the full one.
    """

    def __init__(
        self,
        stage_steps: Sequence[Positive] | Positive = 400,
        warmup_steps: NonNegative = 20,
        final_ratio: UnitInterval = 0.0,
    ):
        self.stage_steps, self.warmup_steps, self.final_ratio = stage_steps, warmup_steps, final_ratio

    def factor(self, step: int, progress: float) -> float:
        """Factor of the full learning rate at optimizer step `step` (from 0), whatever the progress."""
        lengths = [self.stage_steps] if isinstance(self.stage_steps, int) else list(self.stage_steps)
        starts = [0, *itertools.accumulate(lengths)]
        stage = bisect.bisect_right(starts, step) - 1
        length = lengths[min(stage, len(lengths) - 1)]
        within = (step - starts[stage]) % length
        decay = 1 - (1 - self.final_ratio) * within / length
        return min(1.0, (within + 1) / max(1, self.warmup_steps)) * decay
