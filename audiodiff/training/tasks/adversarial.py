"""Adversarial post-training: a generator of few steps, and a discriminator that compares it with recordings.

The student estimates a signal from a noisy one, as it will at each step of the multistep consistency sampler, and a
discriminator D scores it. Generator and discriminator play the relativistic game on pairs of a recording x and the
estimate y made of its own noisy version, under one condition (Jolicoeur-Martineau 2018, arXiv 1807.00734; Huang et al.,
"The GAN is dead; long live the GAN!", arXiv 2501.05441; for audio Novack et al., "Fast Text-to-Audio Generation with
Adversarial Post-Training", arXiv 2505.08175):

    L_D = E log(1 + exp(D(y) - D(x))),   L_G = E log(1 + exp(D(x) - D(y))).

Where y has the distribution of x, neither has a gradient. The discriminator's slope is kept small at recordings by the
change of its score under a little noise, weight E (D(x + s z) - D(x))^2, an approximation of the R1 penalty that needs
no second derivative (Lin et al., arXiv 2501.08316, equation 5).

The discriminator and its optimizer belong to the task: one Lightning module, two optimizers. It takes its step before
the generator's loss.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from audiodiff.diffusion.distillation import add_noise
from audiodiff.diffusion.timestep_sampling import Uniform
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.ranges import NonNegativeFloat, Positive, PositiveFloat, UnitInterval
from audiodiff.training import discriminators
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.discriminators import DISCRIMINATORS, Discriminator
from audiodiff.training.examples import Example
from audiodiff.training.tasks.distillation import DistillationTask, grid_times
from audiodiff.training.tasks.task import mean_loss

_PENALTY_DEVIATION = 0.05  # of the noise that the penalty adds, of signals of unit variance


class AdversarialTask(DistillationTask):
    """Trains a generator of few steps against a discriminator.

    Args:
        teacher: as for `DistillationTask`; its frozen copy is also what a discriminator of features reads.
        steps: numbers of sampling steps; each training step draws one of them.
        discriminator: one of `discriminators.DISCRIMINATORS`.
        discriminator_lr: of its Adam.
        penalty: weight of the penalty on its slope; 0: none.
        gain, condition_dropout, timestep_sampling, examples: as for `DistillationTask`.

    Raises:
        UserError: an unknown discriminator, or no steps.
    """

    METHOD: ClassVar[str] = "adversarial"
    SAMPLER: ClassVar[str | None] = "consistency"
    LEARNS_FROM_DATA: ClassVar[bool] = True

    def __init__(
        self,
        teacher: str | None = None,
        steps: Sequence[Positive] = (1, 2, 4),
        discriminator: str = "features",
        discriminator_lr: PositiveFloat = 3e-4,
        penalty: NonNegativeFloat = 1.0,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.8, 1.2),
        condition_dropout: UnitInterval = 0.1,
        timestep_sampling: Uniform | None = None,
        examples: Any = None,
    ):
        super().__init__(teacher, gain, condition_dropout, timestep_sampling, examples)
        if discriminator not in DISCRIMINATORS:
            subject, known = f"task.discriminator {discriminator!r:.60}", " or ".join(DISCRIMINATORS)
            raise UserError(subject, "is unknown", f"set it to {known}")
        if not steps:
            raise UserError("task.steps", "are empty", "give numbers such as [1, 2, 4]")
        self.steps, self.kind, self.discriminator_lr, self.penalty = (
            tuple(steps),
            discriminator,
            discriminator_lr,
            penalty,
        )
        self._discriminator: Discriminator | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._restored: dict[str, Any] | None = None

    def student_steps(self) -> tuple[int, ...]:
        """Those that it is trained for."""
        return self.steps

    @property
    def discriminator(self) -> Discriminator:
        """The discriminator, after `prepare`."""
        assert self._discriminator is not None
        return self._discriminator

    def prepare_networks(self, model: DiffusionModel) -> None:
        """Copy the teacher, and build the discriminator and its optimizer, with their state if the run is resumed."""
        super().prepare_networks(model)
        self._discriminator = discriminators.build(self.kind, self.teacher.model)
        trained = self._discriminator.trained.to(next(model.parameters()).device)
        self._optimizer = torch.optim.Adam(trained.parameters(), lr=self.discriminator_lr, betas=(0.0, 0.99))
        if self._restored is not None:
            trained.load_state_dict(self._restored["weights"])
            self._optimizer.load_state_dict(self._restored["optimizer"])

    def on_step_start(
        self, model: DiffusionModel, batch: dict, random: BatchRandom, gather: Callable[[Tensor], Tensor]
    ) -> None:  # type: ignore[override]
        """A step of the discriminator, on generated signals of the student as it is."""
        self.step += 1
        assert self._optimizer is not None
        example = self.example(model, batch, random)
        with torch.no_grad():
            generated, _, _ = self._generate(model, example, random)
        signals = [example.x0, generated]
        if self.penalty:
            signals.append(example.x0 + _PENALTY_DEVIATION * random.normal(*example.x0.shape).to(example.x0))
        real, fake, *moved = self.discriminator.views(signals, example.condition, random)
        loss = relativistic_loss(fake, real).mean()
        for one in moved:
            loss = loss + self.penalty * (one - real).square().mean() / _PENALTY_DEVIATION**2
        parameters = list(self.discriminator.trained.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        # The mean over all devices, as of the student's gradients.
        flat = gather(torch.cat([gradient.flatten() for gradient in gradients])[None]).mean(0)
        for parameter, part in zip(parameters, flat.split([one.numel() for one in parameters]), strict=True):
            parameter.grad = part.reshape(parameter.shape)
        if flat.isfinite().all():
            self._optimizer.step()

    def loss(self, model: DiffusionModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:  # type: ignore[override]
        """The generator's side of the game."""
        example = self.example(model, batch, random)
        generated, t, relative_t = self._generate(model, example, random)
        real, fake = self.discriminator.views([example.x0, generated], example.condition, random)
        losses = relativistic_loss(real.detach(), fake)
        loss = mean_loss(losses, model.schedule)
        margin = (real - fake).detach().mean()
        return {"loss": loss, "margin": margin, "clip_loss": losses.detach(), "t": t, "relative_t": relative_t}

    def _generate(self, model: DiffusionModel, example: Example, random: BatchRandom) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, T) estimates at the first times of steps of the sampler, the times (B,) and their drawn shares."""
        x0, steps = example.x0, random.choice(self.steps)
        relative_t, _ = self.draw_timesteps(model, len(x0), random)
        t, _ = grid_times(relative_t, steps, model.denoiser.t_max)
        t = t.to(x0.device)
        x_t = add_noise(model.schedule, x0, random.normal(*x0.shape).to(x0), t)
        return model.denoiser(x_t, t, example.condition), t, relative_t

    def state_dict(self) -> dict[str, Any]:
        """As of `DistillationTask`, and the discriminator with its optimizer."""
        state = self._restored
        if self._discriminator is not None and self._optimizer is not None:
            weights = {name: one.cpu().clone() for name, one in self._discriminator.trained.state_dict().items()}
            state = {"kind": self.kind, "weights": weights, "optimizer": self._optimizer.state_dict()}
        return super().state_dict() | {"discriminator": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`.

        Raises:
            UserError: the run has another discriminator, or as `Teacher.load_state_dict`.
        """
        super().load_state_dict(state)
        self._restored = state["discriminator"]
        kind = (self._restored or {}).get("kind", self.kind)
        if kind != self.kind:
            subject, problem = f"task.discriminator {self.kind}", f"the run to resume trains against {kind}"
            raise UserError(subject, problem, f"set it to {kind}, or start a new run")


def relativistic_loss(worse: Tensor, better: Tensor) -> Tensor:
    """log(1 + exp(worse - better)): of scores (B,) of pairs, of which one ought to be the better one."""
    return softplus(worse - better)
