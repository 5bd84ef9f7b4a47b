"""What all composed models share: a denoiser, and how it is sampled."""

import warnings
from collections.abc import Sequence

from torch import nn

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.samplers.sampler import Sampler
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.errors import UserError
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.network import Network

# Network calls where none are asked for.
CALLS = 6
MOST_STEPS = 10_000
# What the weights of a learned schedule begin with in a checkpoint.
SCHEDULE = "schedule."


class DiffusionModel(PretrainedModel):
    """A denoiser and its sampler.

    Args:
        denoiser: network, schedule and objective.
        sampler: name of the sampler used when none is asked for.
        grids: time grids that take the place of a sampler's own, each for one sampler and number of network calls.
        validated: least and most network calls that it was checked at; fewer bring a warning. None: it was not.

    Raises:
        UserError: an unknown sampler, two grids for one sampler and number of calls, a grid that starts where the
            denoiser cannot, a range that is none, or a network that answers another number of signals than the
            objective asks for.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        sampler: str,
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
    ):
        super().__init__()
        self.denoiser, self.sampler = denoiser, sampler
        self.grids, self.validated = tuple(grids), None if validated is None else tuple(validated)
        self._check_answers()
        self._check_grids()

    @property
    def network(self) -> Network:
        """The denoiser's network."""
        return self.denoiser.network

    @property
    def schedule(self) -> Schedule:
        """The denoiser's schedule."""
        return self.denoiser.schedule

    @property
    def objective(self) -> Objective:
        """The denoiser's objective."""
        return self.denoiser.objective

    @property
    def calls(self) -> int:
        """Network calls when none are asked for: `CALLS`, or the nearest number that the model was checked at."""
        least, most = self.validated or (CALLS, CALLS)
        return min(max(CALLS, least), most)

    def stored_grid(self, calls: int, sampler: str | None = None) -> StoredGrid | None:
        """The grid kept for a sampler (name; None: the model's own) and a number of network calls, if there is one."""
        key = (presets.chosen(sampler or self.sampler, calls), calls)
        return next((grid for grid in self.grids if (grid.sampler, grid.steps) == key), None)

    def sampler_for(self, calls: int, sampler: str | None = None, t_max: float | None = None) -> Sampler:
        """A sampler on the grid that is kept for it, else on its own.

        Args:
            calls: network calls; fewer than the model is validated for bring a warning.
            sampler: name, a key of `presets.PRESETS`; None: the model's own.
            t_max: where the denoiser starts, if not where the model's own does: a kept grid is walked from there, if
                that lies in its first interval.

        Raises:
            UserError: an unknown name, fewer calls than the sampler can do with, or one that asks for a variance that
                this model has not learned.
        """
        if (sampler or self.sampler) == "ddpm_learned" and not isinstance(self.objective, LearnedVariance):
            raise UserError("sampler ddpm_learned", "this model has learned no variance", "choose ddpm or ddpm_large")
        if self.validated and calls < self.validated[0]:
            problem = f"this model was checked with {self.validated[0]} and more, it may sound worse"
            warnings.warn(f"{calls} network calls: {problem}", stacklevel=2)
        stored = self.stored_grid(calls, sampler)
        start = self.denoiser.t_max if t_max is None else t_max
        if stored and start > stored.times[1]:
            return stored.build(start)
        return presets.build(sampler or self.sampler, calls)

    def _check_answers(self) -> None:
        outputs = self.objective.outputs
        if self.network.num_outputs != outputs:
            raise UserError(
                "network",
                f"answers {self.network.num_outputs} signals, the objective asks for {outputs}",
                f"set network.num_outputs={outputs}",
            )

    def _check_grids(self) -> None:
        if self.sampler not in presets.PRESETS:
            raise UserError(f"sampler {self.sampler!r}", "unknown", f"choose one of {', '.join(presets.NAMES)}")
        keys = [(grid.sampler, grid.steps) for grid in self.grids]
        for grid, key in zip(self.grids, keys, strict=True):
            subject = f"grid for {grid.sampler} with {grid.steps} calls"
            if keys.count(key) > 1:
                raise UserError(subject, "stands there twice", "keep one")
            if grid.times[0] > self.denoiser.t_max:
                raise UserError(
                    subject, f"starts at {grid.times[0]:.6g}, the denoiser at {self.denoiser.t_max:.6g}", "fit it again"
                )
        counts = self.validated or ()
        whole = len(counts) == 2 and all(isinstance(count, int) for count in counts)
        if self.validated is not None and not (whole and 1 <= counts[0] <= counts[1] <= MOST_STEPS):
            raise UserError(f"validated {list(self.validated)}", "is no range of calls", "give least and most")

    def _parts(self) -> dict[str, nn.Module]:
        learned = {SCHEDULE: self.schedule} if isinstance(self.schedule, nn.Module) else {}
        return super()._parts() | learned
