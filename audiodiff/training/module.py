"""The Lightning module: one training step of any task, and the state that a resumed run needs.

All random numbers of a step (noise level, noise, gain) come from a generator keyed by the run's seed and the step's
first draw, which also determines the step's crops. A run is therefore a function of its seed and its number of steps:
killed anywhere and resumed from any checkpoint, it sees the same batches and ends with the same weights. Several
devices share a batch: rank r of N takes draws r, r + N, ... and their random numbers.
"""

import math
from collections.abc import Callable, Iterable

import lightning
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.training.adaptation import Adaptation
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.guard import NonFiniteGuard
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.resume import describe_run
from audiodiff.training.sharded import Place, gather, release, whole_tensor, whole_weights
from audiodiff.training.tasks.task import Task
from audiodiff.training.tuning import Tuning


class TrainingModule(lightning.LightningModule):
    """Trains a model on a task.

    Args:
        model: those parameters that the task trains are optimized, the others frozen.
        task: computes the loss.
        optimizer: from parameters to an optimizer.
        lr_schedule: factor of the optimizer's learning rate at each step.
        seed: of all random numbers of the run.
        guard: skips steps whose loss is not finite.
        tuning: which weights are trained, and how fast; None: all of the task's.
        adaptation: the adapter that `model` has been given and that alone is trained; None: the model is.

    Attributes:
        next_draw: number of crops that the run has used.
        started_from: training record of the model that the run was initialized from; empty for random weights.
        forgetting: loss on the base's held-out clips before and after, where it is measured.
        training_clips: path, number and hash of the training clips.
        arguments: of task and tuning as configured (`schema.describe`).
    """

    def __init__(
        self,
        model: PretrainedModel,
        task: Task,
        optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer],
        lr_schedule: WarmupCosine,
        seed: int = 0,
        guard: NonFiniteGuard | None = None,
        tuning: Tuning | None = None,
        adaptation: Adaptation | None = None,
    ):
        super().__init__()
        self.model, self.task, self.optimizer, self.lr_schedule = model, task, optimizer, lr_schedule
        self.seed, self.guard = seed, guard
        self.tuning, self.adaptation = tuning or Tuning(), adaptation
        self.next_draw = 0
        self.started_from: dict = {}
        self.forgetting: dict = {}
        self.training_clips: dict = {}
        self.arguments: dict = {}
        self._shards: list[Place] = []  # while whole weights are in their places
        self._skip = False  # whether the gradients of this step are dropped, on all ranks
        model.requires_grad_(False)
        for parameter in self.trainable_parameters():
            parameter.requires_grad_(True)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Parameters that are optimized, in the order of the optimizer's."""
        allowed = self.task.trainable_parameters(self.model)
        if self.adaptation is not None:
            own = {id(one) for one in self.adaptation.parameters(self.model)}
            allowed = (one for one in allowed if id(one) in own)
        return self.tuning.parameters(self.model, allowed)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer; `on_before_optimizer_step` sets its learning rate before every step.

        Raises:
            UserError: the optimizer refuses its arguments.
        """
        try:
            optimizer = self.optimizer(self.tuning.groups(self.model, self.trainable_parameters()))
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError("optimizer", str(error).splitlines()[0], "set another value") from error
        for group in optimizer.param_groups:
            group["full_lr"] = group["lr"] * group.get("factor", 1.0)
        return optimizer

    def on_fit_start(self) -> None:
        """Check data and model before the first step."""
        self.train()
        with whole_weights(self):
            self.task.prepare(self.model, self.trainer.datamodule)
        self.tuning.remember(self.trainable_parameters())

    def compute_loss(self, batch: dict, key: str, ranks: int = 1) -> dict[str, Tensor]:
        """Compute the task's loss with the random numbers of `key`.

        Args:
            batch: of this rank.
            key: of the whole batch.
            ranks: number of processes that share the batch.
        """
        with parametrize.cached():  # of updates of weights, for all layers that read one
            outputs = self.task.loss(self.model, batch, self._random(key, ranks))
        if self.adaptation is not None and torch.is_grad_enabled() and not outputs["loss"].requires_grad:
            zero = sum(one.sum() for one in self.trainable_parameters())  # of a batch without the word that is trained
            outputs = outputs | {"loss": outputs["loss"] + 0 * zero}
        return outputs

    def training_step(self, batch: dict, batch_index: int) -> dict[str, Tensor] | None:
        """Compute the loss of a batch; None to skip the step."""
        ranks, self._skip = self.trainer.world_size, False
        first = int(batch["draw"][0]) - self.global_rank
        self.next_draw = first + ranks * clips_in(batch)
        self.task.on_step_start(self.model, batch, self._random(f"step {first}", ranks), self._gather)
        outputs = self.compute_loss(batch, f"draw {first}", ranks)
        loss = outputs["loss"].detach().clone()
        if ranks > 1:
            loss = self.trainer.strategy.reduce(loss, reduce_op="mean")  # not finite on any rank: not finite on all
        if self.guard is not None and not self.guard.inspect(loss, batch):
            self._skip = True
            if ranks == 1:
                return None
            return {"loss": outputs["loss"]}  # ranks wait for each other's gradients, which are dropped afterwards
        self.task.on_loss(outputs, self._gather)
        self.log("loss", loss, prog_bar=True)
        for name, value in outputs.items():
            if name != "loss" and value.ndim == 0:
                self.log(f"loss/{name}", value)
        return outputs

    def on_validation_start(self) -> None:
        """Stop a diverged run.

        Raises:
            UserError: a weight is not finite.
        """
        finite = [whole_tensor(parameter.isfinite().all()) for parameter in self.model.parameters()]
        if not torch.stack(finite).all():
            raise UserError("training", "diverged: weights are not finite", "lower optimizer.lr")

    def gather_weights(self, values: nn.Module | None = None) -> None:
        """Put whole weights in the places of shards, its own or those of a module of the same structure."""
        self._shards += gather(self, values)

    def release_weights(self) -> None:
        """Put the shards back."""
        release(self._shards)

    def on_validation_epoch_start(self) -> None:
        """Validate, generate and export with whole weights."""
        self.gather_weights()

    def on_validation_epoch_end(self) -> None:
        """Go on training shards."""
        self.release_weights()

    def on_fit_end(self) -> None:
        """Leave whole weights."""
        gather(self)

    def validation_step(self, batch: dict, batch_index: int) -> None:
        """Compute the loss of held-out clips, with the same noise at every validation."""
        outputs = self.compute_loss(batch, f"validation {batch_index}")
        self.log("validation/loss", outputs["loss"], batch_size=clips_in(batch), prog_bar=True, sync_dist=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rate of this step, or drop its gradients."""
        if self._skip:
            optimizer.zero_grad(set_to_none=True)
        done = progress(self.trainer)
        if self.trainer.world_size > 1:
            done = self.trainer.strategy.broadcast(done)  # clocks differ
        self.tuning.change_gradients(self.trainable_parameters(), optimizer.param_groups, done)
        factor = self.lr_schedule.factor(self.trainer.global_step, done)
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor
        self.log("learning_rate", optimizer.param_groups[0]["lr"])

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Clip gradients by norm and log the norm.

        Lightning refuses to clip with a fused optimizer under mixed precision, but only float16 scales gradients.
        """
        norm = torch.nn.utils.clip_grad_norm_(self.trainable_parameters(), gradient_clip_val or math.inf)
        if not self._skip:
            self.log("gradient_norm", whole_tensor(norm))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Save the description of the run and the state of task and data stream."""
        checkpoint["run"] = describe_run(self)
        checkpoint["started_from"] = self.started_from
        checkpoint["next_draw"] = self.next_draw
        checkpoint["task"] = self.task.state_dict()
        checkpoint["tuning"] = self.tuning.state_dict()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Restore what `on_save_checkpoint` saved."""
        self.started_from = checkpoint["started_from"]
        self.next_draw = checkpoint["next_draw"]
        self.task.load_state_dict(checkpoint["task"])
        if "tuning" in checkpoint:
            self.tuning.load_state_dict(checkpoint["tuning"])

    def _random(self, key: str, ranks: int) -> BatchRandom:
        """Random numbers of a key; each rank takes the rows of its clips."""
        return BatchRandom(clip_seed(self.seed, key), self.global_rank if ranks > 1 else 0, ranks)

    def _gather(self, rows: Tensor) -> Tensor:
        """Clips (B / ranks, ...) of this rank to those of the whole batch (B, ...) in order."""
        if self.trainer.world_size == 1:
            return rows
        return self.all_gather(rows.to(self.device)).transpose(0, 1).flatten(0, 1)


def clips_in(batch: dict) -> int:
    """Number of clips of a batch of waveforms, latents or mels."""
    return len(next(batch[name] for name in ("latents", "waveform", "mel") if name in batch))


def progress(trainer: lightning.Trainer) -> float:
    """Share of the run that is done: of its steps or of its wall time, whichever is larger."""
    shares = [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    for callback in trainer.callbacks:
        if isinstance(callback, lightning.pytorch.callbacks.Timer) and callback.time_remaining() is not None:
            total = callback.time_elapsed() + callback.time_remaining()
            shares.append(callback.time_elapsed() / total if total > 0 else 1.0)
    return min(1.0, max(share for share in shares if math.isfinite(share)))
