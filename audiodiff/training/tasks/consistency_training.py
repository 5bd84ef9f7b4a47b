"""Consistency training: the earlier state of a pair has the same clean signal and noise.

Song et al., "Consistency Models", arXiv 2303.01469, algorithm 3. Its mean given x_t is where the exact ODE leads, so no
teacher is needed. From a trained denoiser it needs a small part of the steps that it needs from random weights (Geng et
al., "Consistency Models Made Easy", arXiv 2406.14548).
"""

from typing import Any, ClassVar

from torch import Tensor

from audiodiff.diffusion.distillation import add_noise
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.training.tasks.consistency import ConsistencyTask


class ConsistencyTrainingTask(ConsistencyTask):
    """Trains a consistency function on data.

    Args:
        options: those of `ConsistencyTask`; there is no teacher, and `init_from` is optional.
    """

    LEARNS_FROM_DATA: ClassVar[bool] = True

    def __init__(self, **options):
        super().__init__(**options)

    def earlier_state(
        self, model: DiffusionModel, x0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor, s: Tensor, condition: Any
    ) -> Tensor:
        """Less of the same noise on the same signal."""
        return add_noise(model.schedule, x0, noise, s)
