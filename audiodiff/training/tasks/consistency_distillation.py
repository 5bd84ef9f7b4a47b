"""Consistency distillation: the earlier state of a pair is a step of a teacher's ODE.

Song et al., "Consistency Models", arXiv 2303.01469, algorithm 2.
"""

from typing import Any

from torch import Tensor

from audiodiff.diffusion.distillation import ode_step
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.ranges import Positive
from audiodiff.training.tasks.consistency import ConsistencyTask


class ConsistencyDistillationTask(ConsistencyTask):
    """Distills a diffusion model into a consistency function.

    Args:
        teacher_order: order of the teacher's steps: 1, DDIM, or 2, Heun's rule with a second evaluation.
        options: those of `ConsistencyTask`.

    Raises:
        UserError: another order, or as `ConsistencyTask`.
    """

    def __init__(self, teacher: str | None = None, teacher_order: Positive = 2, **options):
        super().__init__(teacher, **options)
        if teacher_order not in (1, 2):
            raise UserError(f"task.teacher_order {teacher_order}", "is not an order of its steps", "set it to 1 or 2")
        self.teacher_order = teacher_order

    def prepare_networks(self, model: DiffusionModel) -> None:
        """Copy the teacher and the target network."""
        self.teacher.copy_from(model)
        super().prepare_networks(model)

    def earlier_state(
        self, model: DiffusionModel, x0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor, s: Tensor, condition: Any
    ) -> Tensor:
        """A step of the teacher's ODE."""
        return ode_step(self.teacher.model.denoiser, x_t, t, s, condition, self.teacher_order)
