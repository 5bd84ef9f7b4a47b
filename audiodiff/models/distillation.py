"""`Distillation`: what a student is distilled for, and how it may be sampled.

A student's estimate is no E[x0 | x_t] any more: it is where one step of *its* size should lead, or a whole sample. A
sampler that combines several estimates, or takes steps of its own choice within a step, assumes that they are of one
function, and its result has no meaning: those are refused. Samplers of first order use each estimate once, as students
are trained for; with another one of them, or with other steps, the result is a sound, only a worse one: a warning.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from audiodiff.errors import UserError
from audiodiff.options import MAX_STEPS
from audiodiff.ranges import Positive

METHODS = ("progressive", "consistency", "adversarial", "energy")
FIRST_ORDER = ("ddim", "consistency", "ddpm", "ddpm_large")


@dataclass(frozen=True)
class Distillation:
    """How a student was distilled; a component of its checkpoint.

    Args:
        method: one of `METHODS`.
        steps: numbers of steps that it is distilled for.
        sampler: that it is distilled for, one of `FIRST_ORDER`.

    Raises:
        UserError: another method or sampler, no steps or too many.
    """

    method: str
    steps: Sequence[Positive]
    sampler: str = "ddim"

    def __post_init__(self):
        """Check every value."""
        object.__setattr__(self, "steps", tuple(sorted(set(self.steps))))
        if self.method not in METHODS:
            raise UserError(f"distillation {self.method!r:.60}", "unknown method", f"choose {' or '.join(METHODS)}")
        if self.sampler not in FIRST_ORDER:
            problem = "is not of first order, as students are sampled"
            raise UserError(f"sampler {self.sampler!r:.60}", problem, f"choose {' or '.join(FIRST_ORDER)}")
        if not self.steps or not 1 <= self.steps[0] <= self.steps[-1] <= MAX_STEPS:
            raise UserError(f"steps {list(self.steps)}", f"must be numbers from 1 to {MAX_STEPS}", "give one")

    def __str__(self) -> str:
        """Format for people, such as "progressive, 2 steps of ddim"."""
        one = self.steps == (1,)
        return f"{self.method}, {' or '.join(map(str, self.steps))} step{'s' * (not one)} of {self.sampler}"

    def nearest(self, steps: int) -> int:
        """The number of steps nearest to `steps` that the student is distilled for."""
        return min(self.steps, key=lambda own: abs(own - steps))

    def check(self, steps: int, sampler: str) -> None:
        """Check that the student may be sampled so.

        Args:
            steps: network evaluations.
            sampler: its published name.

        Warns:
            UserWarning: other steps, or another sampler of first order, than it is distilled for.

        Raises:
            UserError: the sampler is not of first order.
        """
        if sampler not in FIRST_ORDER:
            problem = f"combines estimates, which this model, distilled for {self.sampler}, does not allow"
            raise UserError(f"sampler {sampler}", problem, f"choose {self.sampler}, or use its teacher")
        counts = " or ".join(map(str, self.steps))
        if steps not in self.steps:
            warnings.warn(f"steps {steps}: the model is distilled for {counts}, quality may be worse", stacklevel=4)
        if sampler != self.sampler:
            problem = f"the model is distilled for {self.sampler}, quality may be worse"
            warnings.warn(f"sampler {sampler}: {problem}", stacklevel=4)
