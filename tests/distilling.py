"""A model of Gaussian signals whose network is a gain for each noise level: students of it are known in closed form."""

import functools
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import Objective, V
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.nn.condition import Condition
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.examples import Example, Examples
from audiodiff.training.module import TrainingModule
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.tasks.distillation import DistillationTask

DEVIATION, LEVELS = 0.5, 64
_COSINE = Cosine()


class Gains(nn.Module):
    """(B, 1, T) times the gain of the nearest of LEVELS + 1 even times; exact for signals N(0, DEVIATION^2)."""

    def __init__(self, objective: Objective):
        super().__init__()
        t = torch.linspace(0, 1, LEVELS + 1, dtype=torch.float64)
        alpha, sigma = _COSINE.alpha(t, torch.float64), _COSINE.sigma(t, torch.float64)
        x0 = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
        noise = torch.where(sigma > 0, (1 - alpha * x0) / sigma.clamp(min=1e-12), 0.0)
        self.gain = nn.Parameter(objective.target(x0, noise, alpha, sigma))
        self.frontend = SimpleNamespace(channels=1)
        self.register_buffer("log_snr", _COSINE.log_snr(t, torch.float64).clamp(-20, 20))

    def forward(self, x: Tensor, log_snr: Tensor, cond=None) -> Tensor:
        nearest = (log_snr.double()[:, None] - self.log_snr).abs().argmin(1)
        return self.gain[nearest].to(x)[:, None, None] * x


class Signals(nn.Module):
    """What a task needs of a model."""

    TYPE = "audio"
    ARGUMENTS = ()

    def __init__(self, objective: Objective | None = None, sampler: str = "ddim"):
        super().__init__()
        objective = objective or V()
        self.denoiser = Denoiser(Gains(objective), Cosine(), objective)
        self.sampler, self.conditioners, self.grids, self.distillation = sampler, nn.ModuleList(), (), None

    network = property(lambda self: self.denoiser.network)
    schedule = property(lambda self: self.denoiser.schedule)

    def sampler_for(self, steps: int):
        return presets.build(self.sampler, steps)

    def trainable_parameters(self):
        return self.network.parameters()


class White(Examples):
    """Gaussian signals, drawn anew for each batch."""

    def check(self, model, data):
        """Nothing to check."""

    def __call__(self, options, model, batch: dict, random: BatchRandom) -> Example:
        x0 = DEVIATION * random.normal(len(batch["waveform"]), 1, 16).double()

        def distance(x, y, scale):
            return ((x - y).square().mean((1, 2)) / scale.square().mean((1, 2)) + 1e-12).sqrt()

        return Example(x0, Condition(), distance)


def module(task: DistillationTask, objective: Objective | None = None, lr: float = 0.05, seed: int = 0):
    """A training module of a task, prepared."""
    model = Signals(objective, task.SAMPLER or "ddim").double()
    task.examples = White()
    training = TrainingModule(model, task, functools.partial(torch.optim.Adam, lr=lr), WarmupCosine(1), seed)
    task.prepare(model, None)
    return training


def gather(rows: Tensor) -> Tensor:
    return rows


def steps(training: TrainingModule, optimizer, first: int, last: int, clips: int = 64, decay=None) -> list[float]:
    """Training steps `first` to `last`, exclusive, as Lightning makes them."""
    losses = []
    for number in range(first, last):
        batch = {"waveform": torch.zeros(clips, 1, 16)}
        training.task.on_step_start(training.model, batch, training._random(f"step {number}", 1), gather)
        outputs = training.compute_loss(batch, f"draw {number}")
        if decay is not None:
            optimizer.param_groups[0]["lr"] = decay(number)
        optimizer.zero_grad()
        outputs["loss"].backward()
        optimizer.step()
        training.task.on_loss(outputs, gather)
        losses.append(outputs["loss"].item())
    return losses
