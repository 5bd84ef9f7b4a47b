"""Learning rates as a pure function of where the run stands, so that a resumed run needs no scheduler state."""

import math

from audiodiff.ranges import NonNegative, UnitInterval


class WarmupCosine:
    """Linear warm-up in steps, then half a cosine over the run's progress (Loshchilov & Hutter 2017, eq. 5).

    Progress is a share of the run, not a count of steps: under a bound on wall time it is the share of time elapsed.

    Args:
        warmup_steps: optimizer steps until the full rate.
        final: the rate at the end, as a share of the full one.
    """

    def __init__(self, warmup_steps: NonNegative = 200, final: UnitInterval = 0.02):
        self.warmup_steps, self.final = warmup_steps, final

    def factor(self, step: int, progress: float) -> float:
        """What to multiply the full rate by, at the optimizer step `step` (from 0) and `progress` in [0, 1]."""
        warmup = min(1.0, (step + 1) / max(1, self.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return warmup * (self.final + (1 - self.final) * cosine)
