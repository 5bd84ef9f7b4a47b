"""The Lightning modules: one training step of a model, and what a run must remember to go on exactly.

All randomness of a step (time, noise, gain) comes from a generator keyed by the run's seed and the step's first draw,
and which crops a step sees follows from that draw as well. A run is therefore a function of its seed and its number of
steps: killed anywhere and resumed from any checkpoint, it sees the same batches and ends with the same weights. Several
devices share a batch: rank r of N takes its draws r, r + N, ... and the random numbers of these.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

import lightning
import torch
from torch import Tensor

from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.schedules.learned import LearnedSchedule, with_path_gradient
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy, Uniform
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.ranges import NonNegativeFloat
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.guard import NonFiniteGuard
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.resume import describe_run


class Training(lightning.LightningModule):
    """Trains a model; what one step is, subclasses say.

    Args:
        model: what is trained.
        optimizer: from parameters to an optimizer.
        lr_schedule: from step and progress to a share of the optimizer's learning rate.
        gain: least and greatest factor that a clip's level is drawn from, so that level is not learned by heart.
        seed: of all the run's randomness.
        guard: skips steps whose loss is not finite.
    """

    def __init__(
        self,
        model: PretrainedModel,
        optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer],
        lr_schedule: WarmupCosine,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.5, 1.2),
        seed: int = 0,
        guard: NonFiniteGuard | None = None,
    ):
        super().__init__()
        self.model, self.optimizer, self.lr_schedule, self.guard = model, optimizer, lr_schedule, guard
        self.gain, self.seed = tuple(gain), seed
        self.next_draw = 0
        self.started_from: dict = {}  # the training record of the model whose weights the run began with
        self.training_clips: dict = {}  # path, number and hash of the clips that the run trains on
        self.skip = False  # whether gradients of the step are dropped, on all ranks
        model.requires_grad_(False)
        for parameter in model.learned():
            parameter.requires_grad_(True)

    @abstractmethod
    def step(self, batch: dict, key: str, gain: tuple[float, float]) -> dict[str, Tensor]:
        """The loss of a batch; a pure function of weights, batch and (seed, key).

        Returns:
            `loss` (), and what callbacks and subclasses ask for.
        """

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer; its rate is set before every step by `on_before_optimizer_step`.

        Raises:
            UserError: the optimizer refuses its arguments.
        """
        try:
            optimizer = self.optimizer(self.model.learned())
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError("optimizer", str(error).splitlines()[0], "set another value") from error
        for group in optimizer.param_groups:
            group["full_lr"] = group["lr"]
        return optimizer

    def training_step(self, batch: dict, batch_index: int) -> dict[str, Tensor] | None:
        """Loss of a batch of crops, None to skip the step."""
        first = int(batch["draw"][0]) - self.global_rank
        self.next_draw = first + self.ranks * clips_in(batch)
        outputs = self.drawn(batch, f"draw {first}")
        loss = outputs["loss"].detach().clone()
        if self.ranks > 1:
            loss = self.trainer.strategy.reduce(loss, reduce_op="mean")  # not finite anywhere is not finite everywhere
        if self.guard is not None and not self.guard.inspect(loss, batch):
            if self.ranks == 1:
                return None
            self.skip = True  # ranks wait for each other's gradients, which are dropped afterwards
            return {"loss": outputs["loss"]}
        self.took(outputs)
        self.log("loss", loss, prog_bar=True)
        return outputs

    @property
    def ranks(self) -> int:
        """Processes that share a training batch; validation is done by each in full."""
        trainer = self._trainer
        return trainer.world_size if trainer is not None and trainer.training else 1

    def random(self, key: str) -> BatchRandom:
        """The random numbers of the batch that `key` names."""
        ranks = self.ranks
        return BatchRandom(clip_seed(self.seed, key), self.global_rank if ranks > 1 else 0, ranks)

    def whole(self, rows: Tensor) -> Tensor:
        """What this rank has of its clips (B / ranks, ...) as that of the whole batch (B, ...), on every rank."""
        return self.all_gather(rows.to(self.device)).transpose(0, 1).flatten(0, 1) if self.ranks > 1 else rows

    def drawn(self, batch: dict, key: str) -> dict[str, Tensor]:
        """The step of a training batch."""
        return self.step(batch, key, self.gain)

    def took(self, outputs: dict[str, Tensor]) -> None:
        """What is learned of a step besides its gradient: nothing."""

    def on_validation_start(self) -> None:
        """Stop a run that has diverged.

        Raises:
            UserError: a weight is not finite.
        """
        if not torch.stack([parameter.isfinite().all() for parameter in self.model.parameters()]).all():
            raise UserError("training", "diverged: there are weights that are not finite", "lower optimizer.lr")

    def validation_step(self, batch: dict, batch_index: int) -> None:
        """The same loss on held-out clips, with the same noise every time."""
        outputs = self.step(batch, f"validation {batch_index}", (1.0, 1.0))
        self.log("validation/loss", outputs["loss"], batch_size=clips_in(batch), prog_bar=True, sync_dist=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rate for this step, or drop its gradients."""
        if self.skip:
            optimizer.zero_grad(set_to_none=True)
            self.skip = False
        done = progress(self.trainer)
        if self.ranks > 1:
            done = self.trainer.strategy.broadcast(done)  # clocks differ
        factor = self.lr_schedule.factor(self.trainer.global_step, done)
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Clip by norm. Lightning refuses to with a fused optimizer under any mixed precision; only float16 scales."""
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Remember what the run trains, what it began with and how many crops it has used."""
        checkpoint["run"] = describe_run(self)
        checkpoint["started_from"] = self.started_from
        checkpoint["next_draw"] = self.next_draw

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Go on where the stream was."""
        for name in [name for name in checkpoint.get("callbacks", ()) if name.startswith("Checkpoints{")]:
            del checkpoint["callbacks"][name]  # of an older version, whose callback had a state
        self.started_from = checkpoint.get("started_from", {})
        self.next_draw = checkpoint["next_draw"]


class DiffusionTraining(Training):
    """Trains a denoiser.

    Args:
        times: where training's noise levels come from, of `diffusion.timestep_sampling`; None: evenly over a batch.
            Validation's are always even, so that its losses can be compared.
        arguments: those of `Training`.
    """

    model: DiffusionModel

    def __init__(self, *arguments, times: Uniform | None = None, **named):
        super().__init__(*arguments, **named)
        self.times = times or LowDiscrepancy()

    @abstractmethod
    def step(self, batch: dict, key: str, gain: tuple[float, float], times: Uniform | None = None) -> dict[str, Tensor]:
        """The loss of a batch; a pure function of weights, batch, (seed, key) and `times`.

        Returns:
            `loss` (), and for the callbacks `clip_loss`, `t` and `drawn` (B,).
        """

    def drawn(self, batch: dict, key: str) -> dict[str, Tensor]:
        """The step of a training batch, at times from their source."""
        return self.step(batch, key, self.gain, self.times)

    def took(self, outputs: dict[str, Tensor]) -> None:
        """Tell the source of times what its times were worth."""
        self.times.update(self.whole(outputs["drawn"]), self.whole(outputs["clip_loss"]))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Remember what the source of times has learnt, too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["times"] = self.times.state_dict()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Go on where both were."""
        super().on_load_checkpoint(checkpoint)
        self.times.load_state_dict(checkpoint["times"])


class VocoderTraining(DiffusionTraining):
    """Trains a `VocoderModel` with its objective plus losses on the estimate of the clean waveform.

    Args:
        spectral: weight of the multi-resolution STFT distance between the estimate and the clip, at all noise levels
            alike. At high noise it pulls the estimate from the average of all signals with this mel, which sounds like
            none of them, towards one of them: what a sampler of few calls needs.
        terms: further losses, weights included: each answers (B,) to (estimated waveform (B, T), waveform (B, T),
            log_snr (B,)).
        arguments: those of `DiffusionTraining`.
    """

    model: VocoderModel

    def __init__(
        self,
        *arguments,
        spectral: NonNegativeFloat = 0.5,
        terms: Sequence[Callable[[Tensor, Tensor, Tensor], Tensor]] = (),
        **named,
    ):
        super().__init__(*arguments, **named)
        self.spectral, self.terms = spectral, tuple(terms)

    def on_fit_start(self) -> None:
        """Check the crops.

        Raises:
            UserError: they are shorter than a frame of the mel.
        """
        data, hop = self.trainer.datamodule, self.model.mel_spec.hop_length
        if data is not None and data.crop_samples < hop:
            problem = f"is shorter than a frame of the mel ({hop} samples)"
            raise UserError(f"data.crop_samples {data.crop_samples}", problem, "set data.crop_samples=16384")

    def step(self, batch: dict, key: str, gain: tuple[float, float], times: Uniform | None = None) -> dict[str, Tensor]:
        """Noise, estimate and compare a batch (B, T)."""
        random = self.random(key)
        waveform = batch["waveform"]
        count, samples = waveform.shape
        levels = drawn_levels(gain, count, random)[:, None]
        waveform = faded(waveform, self.model.mel_spec.hop_length)
        drawn, weights = random.times(times or LowDiscrepancy(), count)
        noise = random.normal(count, 1, samples)
        waveform = waveform * levels.to(waveform)
        t, weights = (drawn * self.model.denoiser.t_max).to(waveform), weights.to(waveform)
        estimate = self.model.estimate(waveform, noise.to(waveform), t)
        losses, made = estimate.loss, estimate.waveform.float()
        if self.spectral:
            losses = losses + self.spectral * limit_losses(multi_resolution_stft(made, waveform))
        for term in self.terms:
            losses = losses + term(made, waveform, estimate.log_snr)
        loss = mean_loss(weights * losses, self.model.schedule) + estimate.source_loss.mean()
        return {"loss": loss, "clip_loss": estimate.loss.detach(), "t": t, "drawn": drawn}


def clips_in(batch: dict) -> int:
    """How many clips a batch holds, of waveforms or of latents."""
    return len(batch["latents"] if "latents" in batch else batch["waveform"])


def drawn_levels(gain: tuple[float, float], count: int, random: BatchRandom) -> Tensor:
    """(count,) factors, evenly between the least and the greatest."""
    return gain[0] + (gain[1] - gain[0]) * random.uniform(count)


def faded(waveform: Tensor, hop_length: int) -> Tensor:
    """(B, T) with a rise over the first two hops and a fall over the last two.

    A crop is cut out of running speech. The cut is a click of which the mel, smooth in time, does not know: divided by
    the envelope it would stand out by some 7 dB, and two hops at each end would make a sixth of the loss.
    """
    length = min(2 * hop_length, waveform.shape[-1] // 2)
    rise = (torch.pi / 2 * (torch.arange(length, device=waveform.device) + 0.5) / max(length, 1)).sin().square()
    waveform = waveform.clone()
    waveform[:, :length] *= rise
    waveform[:, waveform.shape[-1] - length :] *= rise.flip(0)
    return waveform


def limit_losses(losses: Tensor, limit: float = 20.0) -> Tensor:
    """Losses of clips (B,), none above `limit`; the gradient of one that was above is scaled down by as much.

    A relative distance has no bound where the clip is nearly silent and the estimate is not yet: one such clip would
    decide the direction of the whole step. A model that is any good stays far below the limit.
    """
    return losses * (limit / losses.detach().clamp(min=limit))


def mean_loss(losses: Tensor, schedule: Schedule) -> Tensor:
    """The mean over clips (B,); the path of a learned schedule is taught to lower its variance instead."""
    learned = isinstance(schedule, LearnedSchedule) and torch.is_grad_enabled()
    return with_path_gradient(losses, schedule) if learned else losses.mean()


def progress(trainer: lightning.Trainer) -> float:
    """The share of the run that is done: of its steps, of its wall time, or whichever is further."""
    shares = [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    for callback in trainer.callbacks:
        if isinstance(callback, lightning.pytorch.callbacks.Timer) and callback.time_remaining() is not None:
            total = callback.time_elapsed() + callback.time_remaining()
            shares.append(callback.time_elapsed() / total if total > 0 else 1.0)
    return min(1.0, max(share for share in shares if math.isfinite(share)))
