"""Progressive distillation: a student learns to do in one step what its teacher does in two, again and again.

In each stage the student starts as a copy of its teacher and halves the number of steps; then it is the next teacher
(Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", arXiv 2202.00512, algorithm 2). All
stages are one run: which stage it is in follows from its number of steps alone. From N steps on, 2 N teacher steps and
N student steps share the even grid t_max i / (2 N), and both are DDIM's, which use an estimate once.

The loss is the squared error of x0 (`diffusion.distillation`), whatever the network predicts, weighted by max(SNR, 1).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from audiodiff.diffusion.clips import clip_mean
from audiodiff.diffusion.distillation import add_noise, two_step_target
from audiodiff.diffusion.timestep_sampling import Uniform
from audiodiff.diffusion.weighting import LOG_SNR_MAX, TruncatedSNR, Weighting
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.ranges import NonNegativeFloat, Positive, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.distillation import DistillationTask, grid_times
from audiodiff.training.tasks.task import mean_loss


class ProgressiveTask(DistillationTask):
    """Halves the steps of a diffusion model, stage by stage.

    Args:
        teacher: as for `DistillationTask`.
        teacher_steps: DDIM steps of the first teacher.
        student_steps: DDIM steps of the last student, `teacher_steps` halved once or more.
        stage_steps: training steps of each stage, or one number for all; the last stage takes what is left of the run.
        weighting: of the squared error of x0; None: `TruncatedSNR`.
        gain, condition_dropout, timestep_sampling, examples: as for `DistillationTask`.

    Raises:
        UserError: `student_steps` is not `teacher_steps` halved, or another number of stages than there are.
    """

    METHOD: ClassVar[str] = "progressive"
    SAMPLER: ClassVar[str | None] = "ddim"

    def __init__(
        self,
        teacher: str | None = None,
        teacher_steps: Positive = 16,
        student_steps: Positive = 1,
        stage_steps: Sequence[Positive] | Positive = 400,
        weighting: Weighting | None = None,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.8, 1.2),
        condition_dropout: UnitInterval = 0.1,
        timestep_sampling: Uniform | None = None,
        examples: Any = None,
    ):
        super().__init__(teacher, gain, condition_dropout, timestep_sampling, examples)
        stages = math.log2(teacher_steps / student_steps)
        if stages < 1 or not stages.is_integer():
            halved = [teacher_steps >> k for k in range(1, teacher_steps.bit_length()) if teacher_steps % 2**k == 0]
            problem = f"is not task.teacher_steps={teacher_steps} halved once or more"
            fix = f"set it to {' or '.join(map(str, halved))}" if halved else "set task.teacher_steps to a power of two"
            raise UserError(f"task.student_steps {student_steps}", problem, fix)
        lengths = [stage_steps] * int(stages) if isinstance(stage_steps, int) else list(stage_steps)
        if len(lengths) != stages:
            problem = f"gives {len(lengths)} stages, {teacher_steps} to {student_steps} steps are {int(stages)}"
            raise UserError(f"task.stage_steps {lengths}", problem, "give a number for each, or one for all")
        self.teacher_steps, self.stage_steps = teacher_steps, lengths
        self.weighting = weighting or TruncatedSNR()
        self.stage = 0

    def student_steps(self) -> tuple[int, ...]:
        """Steps of the student of this stage."""
        return (self.teacher_steps >> (self.stage + 1),)

    def on_step_start(
        self, model: DiffusionModel, batch: dict, random: BatchRandom, gather: Callable[[Tensor], Tensor]
    ) -> None:  # type: ignore[override]
        """At the start of a stage, the student becomes the teacher."""
        if self.stage < len(self.stage_steps) - 1 and self.step >= sum(self.stage_steps[: self.stage + 1]):
            self.stage += 1
            self.teacher.replace(model)
            self.state(model)
        self.step += 1

    def loss(self, model: DiffusionModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:  # type: ignore[override]
        """Compare a step of the student with two of the teacher."""
        example = self.example(model, batch, random)
        x0, condition = example.x0, example.condition
        relative_t, weights = self.draw_timesteps(model, len(x0), random)
        t, s = (time.to(x0.device) for time in grid_times(relative_t, *self.student_steps(), model.denoiser.t_max))
        x_t = add_noise(model.schedule, x0, random.normal(*x0.shape).to(x0), t)
        with torch.no_grad():
            target = two_step_target(self.teacher.model.denoiser, x_t, (t, (t + s) / 2, s), condition)
        error = (model.denoiser(x_t, t, condition) - target).square()
        log_snr = model.schedule.log_snr(t).clamp(-LOG_SNR_MAX, LOG_SNR_MAX)
        losses = self.weighting(log_snr, log_snr.new_zeros).to(x0) * clip_mean(error, condition.samples)
        loss = mean_loss(weights.to(x0) * losses, model.schedule)
        return {"loss": loss, "clip_loss": losses.detach(), "t": t, "relative_t": relative_t}

    def state_dict(self) -> dict[str, Any]:
        """As of `DistillationTask`, and the stage."""
        return super().state_dict() | {"stage": self.stage}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        super().load_state_dict(state)
        self.stage = state["stage"]
