"""Energy-distance unrolling for every diffusion model: the sampler is unrolled, and its output compared with data.

As `training.tasks.few_step` does with vocoders, in the process's own signals. Outputs x and x' of two noises and a
recording y of the same condition c have the energy distance

    E d(x, y) - E d(x, x') / 2,

whose minimum over distributions of x given c is that of y given c, if d is a metric of negative type such as a
Euclidean distance (Szekely and Rizzo 2013; as a spectral distance of signals, Gritsenko et al., "A Spectral Energy
Distance for Parallel Speech Synthesis", arXiv 2008.01160). y need not resemble x: a generator of sounds learns the
distribution of its classes from it, without an adversary and without a teacher.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from audiodiff.diffusion.timestep_sampling import Uniform
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.ranges import NonNegativeFloat, Positive, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.distillation import DistillationTask
from audiodiff.training.tasks.task import limit_losses


class EnergyDistanceTask(DistillationTask):
    """Trains a diffusion model through its own sampler.

    Args:
        steps: numbers of sampling steps; each training step draws one of them.
        repulsion: weight of the term that pushes two outputs apart: 1 makes the loss an energy distance.
        gain, condition_dropout, timestep_sampling, examples: as for `DistillationTask`; `init_from` is optional.

    Raises:
        UserError: there are no steps.
    """

    METHOD: ClassVar[str] = "energy"
    LEARNS_FROM_DATA: ClassVar[bool] = True

    def __init__(
        self,
        steps: Sequence[Positive] = (1, 2),
        repulsion: NonNegativeFloat = 1.0,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.8, 1.2),
        condition_dropout: UnitInterval = 0.1,
        timestep_sampling: Uniform | None = None,
        examples: Any = None,
    ):
        super().__init__(None, gain, condition_dropout, timestep_sampling, examples)
        if not steps:
            raise UserError("task.steps", "are empty", "give numbers such as [1, 2]")
        self.steps, self.repulsion = tuple(steps), repulsion

    def student_steps(self) -> tuple[int, ...]:
        """Those that it is trained for."""
        return self.steps

    def prepare_networks(self, model: DiffusionModel) -> None:
        """There is no teacher."""

    def on_step_start(
        self, model: DiffusionModel, batch: dict, random: BatchRandom, gather: Callable[[Tensor], Tensor]
    ) -> None:  # type: ignore[override]
        """Count the step."""
        self.step += 1

    def on_loss(self, outputs: dict[str, Tensor], gather: Callable[[Tensor], Tensor]) -> None:
        """Nothing: the loss has no noise level."""

    def loss(self, model: DiffusionModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:  # type: ignore[override]
        """Sample a batch, twice, and compare."""
        example = self.example(model, batch, random)
        steps, outputs = random.choice(self.steps), 2 if self.repulsion else 1
        count, shape = len(example.x0), example.x0.shape[1:]
        sampler = model.sampler_for(steps)
        noise = [random.normal(count, *shape, repeats=outputs).flatten(0, 1).to(example.x0) for _ in range(steps)]
        x1 = sampler.noise_scale(model.denoiser) * noise[0]
        # The noise of step n is that after its evaluation; a last step to clean data has none.
        later = dict(enumerate(noise[1:]))
        x0, _ = sampler.integrate(model.denoiser, x1, example.condition.repeated(outputs), later.__getitem__, None)
        one, *others = x0.unflatten(0, (outputs, count))
        losses = torch.stack([example.distance(x, example.x0, example.x0) for x in (one, *others)]).mean(0)
        if others:
            losses = losses - 0.5 * self.repulsion * example.distance(one, others[0], example.x0)
        return {"loss": limit_losses(losses).mean(), "clip_loss": losses.detach()}
