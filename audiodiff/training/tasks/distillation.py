"""What tasks of distillation share: a teacher, examples of the model's type, and the statement of what a student is.

A run's `init_from` is both its teacher and its start. Only the network is trained: encoders and conditioners stay those
of the teacher, so that both networks see the same condition.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import lightning
from torch import Tensor, nn

from audiodiff.conditioners.guidance import Guidance, guidance_condition
from audiodiff.diffusion.grids.grid import uniform_t
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy, Uniform
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.distillation import Distillation
from audiodiff.ranges import NonNegativeFloat, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.examples import Example, Examples, examples_of
from audiodiff.training.tasks.task import Task
from audiodiff.training.teacher import Teacher


class DistillationTask(Task):
    """Base class of distillation.

    Args:
        teacher: name of the model that the run starts from; None: none.
        gain: as for `Task`.
        condition_dropout: probability that an example has no condition, and that it lacks each part of it.
        timestep_sampling: distribution of noise levels; None: evenly spaced over a batch.
        examples: makes examples of batches; None: those of the model's type.

    Attributes:
        METHOD: as of `Distillation`.
        SAMPLER: that students are sampled with; None: the method does not fix one.
        LEARNS_FROM_DATA: whether recordings are targets, which have no guidance.
    """

    METHOD: ClassVar[str]
    SAMPLER: ClassVar[str | None] = None
    LEARNS_FROM_DATA: ClassVar[bool] = False

    def __init__(
        self,
        teacher: str | None = None,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.8, 1.2),
        condition_dropout: UnitInterval = 0.1,
        timestep_sampling: Uniform | None = None,
        examples: Examples | None = None,
    ):
        super().__init__(gain, timestep_sampling or LowDiscrepancy())
        self.teacher, self.condition_dropout, self.examples = Teacher(teacher), condition_dropout, examples
        self.step = 0  # number of training steps that have begun

    def trainable_parameters(self, model: DiffusionModel) -> Iterable[nn.Parameter]:  # type: ignore[override]
        """Those of the network."""
        return model.network.parameters()

    def prepare(self, model: DiffusionModel, data: lightning.LightningDataModule) -> None:  # type: ignore[override]
        """Check model and data, copy the teacher, and state what the student is.

        Raises:
            UserError: a model type that is not distilled, data that does not fit, no teacher, another sampler than the
                student is trained for, or recordings as targets of a student with guidance.
        """
        self.examples = self.examples or examples_of(model)
        if self.examples is None:
            raise UserError("the model", f"models of type {model.TYPE} are not distilled", "choose a diffusion model")
        self.examples.check(model, data)
        if self.SAMPLER is not None and model.sampler != self.SAMPLER:
            problem = f"a student of this task is sampled with {self.SAMPLER}"
            raise UserError(f"sampler.name {model.sampler}", problem, f"set sampler={self.SAMPLER}")
        self.check_guidance(guidance_condition(model.conditioners))
        self.prepare_networks(model)
        self.state(model)

    def check_guidance(self, guidance: Guidance | None) -> None:
        """Check that a guidance scale among the conditions has a meaning for teacher and targets.

        Raises:
            UserError: it has none.
        """
        if guidance is None:
            return
        if self.LEARNS_FROM_DATA:
            problem = "recordings, the targets of this task, have no guidance scale"
            raise UserError("the condition guidance", problem, "choose progressive or consistency distillation")
        if not guidance.trained:
            fix = "distill guidance first (task=guidance), and start from its model"
            raise UserError("the condition guidance", "the teacher does not know it", fix)

    def prepare_networks(self, model: DiffusionModel) -> None:
        """Copy the teacher."""
        self.teacher.copy_from(model)

    def student_steps(self) -> tuple[int, ...]:
        """Numbers of steps that the student is trained for now."""
        raise NotImplementedError

    def state(self, model: DiffusionModel) -> None:
        """Write into the model what it is distilled for, and the time grids of its steps."""
        counts = self.student_steps()
        model.distillation = Distillation(self.METHOD, counts, model.sampler)
        t_max, schedule = model.denoiser.t_max, model.schedule
        grids = [uniform_t(schedule, steps, t_max).tolist() for steps in counts]
        model.grids = tuple(StoredGrid(model.sampler, *grid) for grid in zip(counts, grids, strict=True))

    def example(self, model: DiffusionModel, batch: dict, random: BatchRandom) -> Example:
        """The example of a batch."""
        assert self.examples is not None
        return self.examples(self, model, batch, random)

    def state_dict(self) -> dict[str, Any]:
        """State to resume from: the number of steps and the teacher."""
        return super().state_dict() | {"step": self.step, "teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`; raises as `Teacher.load_state_dict`."""
        super().load_state_dict(state)
        self.step = state["step"]
        self.teacher.load_state_dict(state["teacher"])


def grid_times(relative_t: Tensor, intervals: int, t_max: float) -> tuple[Tensor, Tensor]:
    """Ends (B,) of the intervals of an even grid that relative times (B,) in [0, 1] lie in, the later ones first."""
    index = (relative_t.double() * intervals).floor().clamp(0, intervals - 1)
    return (index + 1) / intervals * t_max, index / intervals * t_max
