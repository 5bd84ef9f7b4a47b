"""What consistency distillation and consistency training share: pairs of states, a target network, a finer and finer
grid.

The loss compares f(x_t, t) with f(x_s, s) of a target network on neighbouring times of an even grid of N intervals
(Song et al., "Consistency Models", arXiv 2303.01469, algorithms 2 and 3). With few intervals the targets have little
variance, with many little bias, so N doubles during the run (Song and Dhariwal, "Improved Techniques for Training
Consistency Models", arXiv 2310.14189, equation 11): N_k = min(first 2^floor(k / d), last) at training step k. Their
other techniques are here as well: the pseudo-Huber loss, no averaging of the target network (which biases training on
data), and weights of 1 over the size of the interval, here its angle atan(sigma / alpha).
"""

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from audiodiff.diffusion.clips import clip_mean
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.distillation import HUBER, add_noise, angle, consistency_target, pseudo_huber
from audiodiff.diffusion.timestep_sampling import Uniform
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.ranges import NonNegativeFloat, Positive, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.distillation import DistillationTask, grid_times
from audiodiff.training.tasks.task import mean_loss


class ConsistencyTask(DistillationTask):
    """Base class of consistency distillation and training.

    Args:
        teacher: as for `DistillationTask`.
        steps: numbers of steps that the student is stated to be for; a consistency function is not trained for any.
        intervals: numbers of intervals of the grid at the start and at the end of training, the last not below the
            first.
        doubling_steps: training steps after which their number doubles.
        target_decay: of the target network's exponential moving average; 0: it is the student itself.
        huber: constant of the pseudo-Huber loss; None: the squared error.
        gain, condition_dropout, timestep_sampling, examples: as for `DistillationTask`.

    Raises:
        UserError: `intervals` are not two numbers in order, or there are no steps.
    """

    METHOD: ClassVar[str] = "consistency"
    SAMPLER: ClassVar[str | None] = "consistency"

    def __init__(
        self,
        teacher: str | None = None,
        steps: Sequence[Positive] = (1, 2, 4),
        intervals: Sequence[Positive] = (10, 160),
        doubling_steps: Positive = 200,
        target_decay: UnitInterval = 0.0,
        huber: NonNegativeFloat | None = HUBER,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.8, 1.2),
        condition_dropout: UnitInterval = 0.1,
        timestep_sampling: Uniform | None = None,
        examples: Any = None,
    ):
        super().__init__(teacher, gain, condition_dropout, timestep_sampling, examples)
        if len(intervals) != 2 or intervals[0] > intervals[1]:
            problem = "are not the first and the last number, in this order"
            raise UserError(f"task.intervals {list(intervals)}", problem, "give two such as [10, 160]")
        if not steps:
            raise UserError("task.steps", "are empty", "give numbers such as [1, 2, 4]")
        self.steps, self.first, self.last = tuple(steps), *intervals
        self.doubling_steps, self.target_decay, self.huber = doubling_steps, target_decay, huber
        self._target: Denoiser | None = None
        self._target_weights: dict[str, Tensor] | None = None

    def student_steps(self) -> tuple[int, ...]:
        """Those that the student is stated to be for."""
        return self.steps

    @property
    def intervals(self) -> int:
        """Number of intervals of the grid at this training step."""
        doublings = max(self.step - 1, 0) // self.doubling_steps
        return min(self.first << min(doublings, 32), self.last)

    def prepare_networks(self, model: DiffusionModel) -> None:
        """Copy the student to the target network, if that is averaged."""
        if self.target_decay:
            self._target = copy.deepcopy(model.denoiser).requires_grad_(False).eval()
            if self._target_weights is not None:
                self._target.load_state_dict(self._target_weights)

    @torch.no_grad()
    def on_step_start(
        self, model: DiffusionModel, batch: dict, random: BatchRandom, gather: Callable[[Tensor], Tensor]
    ) -> None:  # type: ignore[override]
        """Count the step, and move the target network towards the student."""
        self.step += 1
        if self._target is not None:
            own, student = list(self._target.parameters()), list(model.denoiser.parameters())
            torch._foreach_lerp_(own, student, 1 - self.target_decay)

    def loss(self, model: DiffusionModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:  # type: ignore[override]
        """Compare the student at one end of an interval with its target at the other."""
        example = self.example(model, batch, random)
        x0, condition = example.x0, example.condition
        relative_t, weights = self.draw_timesteps(model, len(x0), random)
        t, s = (time.to(x0.device) for time in grid_times(relative_t, self.intervals, model.denoiser.t_max))
        noise = random.normal(*x0.shape).to(x0)
        x_t = add_noise(model.schedule, x0, noise, t)
        with torch.no_grad():
            x_s = self.earlier_state(model, example.x0, noise, x_t, t, s, condition)
            target = consistency_target(self._target or model.denoiser, x_s, s, condition)
        difference, samples = model.denoiser(x_t, t, condition) - target, condition.samples
        if self.huber is None:
            losses = clip_mean(difference.square(), samples)
        else:
            losses = pseudo_huber(difference, samples, self.huber)
        size = angle(model.schedule, t) - angle(model.schedule, s)
        loss = mean_loss((weights.to(size) / size).to(x0) * losses, model.schedule)
        return {"loss": loss, "clip_loss": losses.detach(), "t": t, "relative_t": relative_t}

    @abstractmethod
    def earlier_state(
        self, model: DiffusionModel, x0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor, s: Tensor, condition: Any
    ) -> Tensor:
        """x_s on the trajectory of x_t."""

    def state_dict(self) -> dict[str, Any]:
        """As of `DistillationTask`, and the target network's weights."""
        weights = self._target_weights if self._target is None else self._target.state_dict()
        target = None if weights is None else {name: weight.cpu().clone() for name, weight in weights.items()}
        return super().state_dict() | {"target": target}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        super().load_state_dict(state)
        self._target_weights = state["target"]
