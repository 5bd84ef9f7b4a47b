"""Guidance distillation: a student learns a guided denoiser, with the guidance scale as an input.

Classifier-free guidance evaluates a network twice a step. The student regresses to the guided estimate u + w (c - u) of
its teacher for scales w over a range (Meng et al., "On Distillation of Guided Diffusion Models", arXiv 2210.03142,
section 3.1), at all noise levels: it is a denoiser for any sampler and any number of steps, at half the cost. Distilled
further, by progressive or consistency distillation, the scale stays its input (section 3.2).
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.conditioners.guidance import Guidance, guidance_condition
from audiodiff.diffusion.clips import clip_mean, column
from audiodiff.diffusion.distillation import add_noise
from audiodiff.diffusion.timestep_sampling import Uniform
from audiodiff.diffusion.weighting import LOG_SNR_MAX, TruncatedSNR, Weighting
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.ranges import NonNegativeFloat, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.distillation import DistillationTask
from audiodiff.training.tasks.task import mean_loss


class GuidanceTask(DistillationTask):
    """Distills classifier-free guidance into a model with a `conditioners.guidance.Guidance`.

    Args:
        teacher: as for `DistillationTask`; it has no condition of the guidance scale, or does not know it yet.
        weighting: of the squared error of x0; None: `TruncatedSNR`.
        gain, condition_dropout, timestep_sampling, examples: as for `DistillationTask`.
    """

    def __init__(
        self,
        teacher: str | None = None,
        weighting: Weighting | None = None,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.8, 1.2),
        condition_dropout: UnitInterval = 0.1,
        timestep_sampling: Uniform | None = None,
        examples: Any = None,
    ):
        super().__init__(teacher, gain, condition_dropout, timestep_sampling, examples)
        self.weighting = weighting or TruncatedSNR()

    def trainable_parameters(self, model: DiffusionModel) -> Iterable[nn.Parameter]:  # type: ignore[override]
        """Those of the network, and of the embedding of the guidance scale."""
        guidance = guidance_condition(model.conditioners)
        return chain(super().trainable_parameters(model), () if guidance is None else guidance.parameters())

    def check_guidance(self, guidance: Guidance | None) -> None:
        """Check that the student has a guidance scale among its conditions, which its teacher does not know.

        Raises:
            UserError: it has none, or one that is known.
        """
        if guidance is None:
            fix = "set model=guided_audio, or model.conditioners.guidance"
            raise UserError("the model", "has no condition for the guidance scale", fix)
        if guidance.trained and not self.step:
            problem = "is distilled already into the model that the run starts from"
            raise UserError("the guidance scale", problem, "start from its teacher")

    def state(self, model: DiffusionModel) -> None:
        """Nothing to state: the student is a denoiser for any sampler."""

    def on_step_start(
        self, model: DiffusionModel, batch: dict, random: BatchRandom, gather: Callable[[Tensor], Tensor]
    ) -> None:  # type: ignore[override]
        """Count the step."""
        self.step += 1

    def loss(self, model: DiffusionModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:  # type: ignore[override]
        """Compare the student's estimate with the teacher's guided one."""
        example = self.example(model, batch, random)
        x0, condition = example.x0, example.condition
        assert example.guidance is not None
        relative_t, weights = self.draw_timesteps(model, len(x0), random)
        t = (relative_t.double() * model.denoiser.t_max).to(x0.device)
        x_t = add_noise(model.schedule, x0, random.normal(*x0.shape).to(x0), t)
        with torch.no_grad():
            teacher = self.teacher.model.denoiser
            conditional, unconditional = (teacher(x_t, t, one) for one in (example.unguided, example.unconditional))
            target = torch.lerp(unconditional, conditional, column(example.guidance, x0))
        error = (model.denoiser(x_t, t, condition) - target).square()
        log_snr = model.schedule.log_snr(t).clamp(-LOG_SNR_MAX, LOG_SNR_MAX)
        losses = self.weighting(log_snr, log_snr.new_zeros).to(x0) * clip_mean(error, condition.samples)
        loss = mean_loss(weights.to(x0) * losses, model.schedule)
        return {"loss": loss, "clip_loss": losses.detach(), "t": t, "relative_t": relative_t}
