"""The interface of training tasks, and what their losses share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from audiodiff.diffusion.schedules.learned import LearnedSchedule, with_path_gradient
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy, Uniform
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.ranges import NonNegativeFloat
from audiodiff.training.batch_random import BatchRandom


class Task(ABC):
    """Loss of a training step.

    While the model is in training mode, gains and noise levels are random. In evaluation mode the gain is 1 and noise
    levels are evenly spaced, so that validation losses are comparable.

    Args:
        gain: lower and upper bound of the random gain of each clip, which keeps the model from memorizing levels.
        timestep_sampling: distribution of noise levels in training; None for tasks without.
    """

    def __init__(self, gain: tuple[NonNegativeFloat, NonNegativeFloat], timestep_sampling: Uniform | None = None):
        self.gain, self.timestep_sampling = tuple(gain), timestep_sampling

    @abstractmethod
    def loss(self, model: PretrainedModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Compute the loss of a batch, a pure function of weights, batch and random numbers.

        Returns:
            `loss` (); further scalars are logged. Tasks with noise levels add `t` and `clip_loss` (B,), the level and
            the unweighted loss of each clip, and `relative_t` (B,), the sampled share of the largest t.
        """

    @abstractmethod
    def prepare(self, model: PretrainedModel, data: lightning.LightningDataModule) -> None:
        """Check data and model against each other before the first step; raises UserError if they do not fit."""

    def trainable_parameters(self, model: PretrainedModel) -> Iterable[nn.Parameter]:
        """Parameters of the model that this task changes, in the order of the optimizer's."""
        return model.trainable_parameters()

    def on_step_start(  # noqa: B027, most tasks own nothing
        self, model: PretrainedModel, batch: dict, random: BatchRandom, gather: Callable[[Tensor], Tensor]
    ) -> None:
        """Before the loss of each training step: update what the task itself owns, such as a target network.

        Here and not after the step, so that a checkpoint of a step never lacks an update that an unbroken run makes.

        Args:
            model: with the weights of the step before.
            batch: of the step.
            random: numbers of the step, other than those of its loss.
            gather: concatenates rows (B / ranks, ...) of all ranks.
        """

    def on_loss(self, outputs: dict[str, Tensor], gather: Callable[[Tensor], Tensor]) -> None:
        """Update the distribution of noise levels.

        Args:
            outputs: of `loss`.
            gather: concatenates the clips (B / ranks, ...) of all ranks.
        """
        if self.timestep_sampling is not None:
            self.timestep_sampling.update(gather(outputs["relative_t"]), gather(outputs["clip_loss"]))

    def state_dict(self) -> dict[str, Any]:
        """State to resume from."""
        return {} if self.timestep_sampling is None else {"timestep_sampling": self.timestep_sampling.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        if self.timestep_sampling is not None:
            self.timestep_sampling.load_state_dict(state["timestep_sampling"])

    def draw_gain(self, model: PretrainedModel, clips: int, random: BatchRandom) -> Tensor:
        """(clips,) uniform gains; ones in evaluation mode."""
        low, high = self.gain if model.training else (1.0, 1.0)
        return low + (high - low) * random.uniform(clips)

    def draw_timesteps(self, model: PretrainedModel, clips: int, random: BatchRandom) -> tuple[Tensor, Tensor]:
        """(clips,) timesteps in [0, 1] and their importance weights."""
        sampling = self.timestep_sampling if model.training else None
        return random.times(sampling or LowDiscrepancy(), clips)


def limit_losses(losses: Tensor, limit: float = 20.0) -> Tensor:
    """Clamp losses (B,) to `limit`, scaling the gradient of a larger one by limit / loss.

    A relative distance has no bound where a clip is nearly silent and the estimate is not yet: one such clip would
    determine the direction of the whole step. A trained model stays far below the limit.
    """
    return losses * (limit / losses.detach().clamp(min=limit))


def fade_edges(waveform: Tensor, hop_length: int) -> Tensor:
    """Fade the first and last two hops of crops (B, T) in and out.

    A crop is cut out of running speech. The cut is a click that the mel, smooth in time, does not contain: divided by
    the envelope it would stand out by some 7 dB, and two hops at each end would make up a sixth of the loss.
    """
    length = min(2 * hop_length, waveform.shape[-1] // 2)
    rise = (torch.pi / 2 * (torch.arange(length, device=waveform.device) + 0.5) / max(length, 1)).sin().square()
    waveform = waveform.clone()
    waveform[:, :length] *= rise
    waveform[:, waveform.shape[-1] - length :] *= rise.flip(0)
    return waveform


def mean_loss(losses: Tensor, schedule: Schedule) -> Tensor:
    """Mean over clips (B,); the path of a learned schedule gets the gradient of their variance instead."""
    learned = isinstance(schedule, LearnedSchedule) and torch.is_grad_enabled()
    return with_path_gradient(losses, schedule) if learned else losses.mean()
