"""`DiffusionModel`: a denoiser, what it is conditioned on, and how it is sampled."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from audiodiff.audio.mel import MelSpec
from audiodiff.conditioners.conditioner import Conditioner, RandomRows, as_list
from audiodiff.conditioners.registry import requested
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.samplers.sampler import Sampler
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.errors import UserError
from audiodiff.models.distillation import Distillation
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.setting import DEFAULT_STEPS, nearest_steps
from audiodiff.nn.condition import Condition
from audiodiff.nn.network import Network
from audiodiff.options import MAX_STEPS, Option

# Prefix of the weights of a learned schedule in a checkpoint.
SCHEDULE = "schedule."
# Prefix of the weights of conditioners, followed by their name.
CONDITIONERS = "conditioners."
Conditioners = Sequence[Conditioner | None] | Mapping[str, Conditioner | None]


class DiffusionModel(PretrainedModel):
    """A denoiser, its conditioners and its default sampler.

    Args:
        denoiser: network, schedule and objective.
        sampler: name of the default sampler.
        grids: fitted time grids, each of one sampler and number of steps, which replace the sampler's own.
        validated: fewest and most steps that the model was validated with; fewer cause a warning. None: not validated.
        conditioners: what the network is conditioned on, as a list or, as in configurations, by name; those that are
            None or empty are left out.
        built_in: further conditioners, which follow from the model's other arguments.
        distillation: what the model is distilled for, if it is a student.

    Raises:
        UserError: an unknown sampler, two grids for one sampler and number of steps, a grid that starts where the
            denoiser cannot, an invalid range, or a network whose outputs do not fit the objective, or its inputs the
            conditioners.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        sampler: str,
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
        conditioners: Conditioners = (),
        built_in: Iterable[Conditioner] = (),
        distillation: Distillation | None = None,
    ):
        super().__init__()
        del self.conditioners  # they come after the network in the order of parameters, in which norms are summed
        self.denoiser, self.sampler, self.distillation = denoiser, sampler, distillation
        self.grids, self.validated = tuple(grids), None if validated is None else tuple(validated)
        self.conditioners, self.built_in = nn.ModuleList(as_list(conditioners)), nn.ModuleList(built_in)
        self._check_outputs()
        self._check_conditioners()
        self._check_grids()

    @property
    def network(self) -> Network:
        """The denoiser's network."""
        return self.denoiser.network  # type: ignore[return-value]

    @property
    def schedule(self) -> Schedule:
        """The denoiser's schedule."""
        return self.denoiser.schedule

    @property
    def objective(self) -> Objective:
        """The denoiser's objective."""
        return self.denoiser.objective

    @property
    def default_steps(self) -> int:
        """Default number of steps: `DEFAULT_STEPS`, or the nearest that the model is distilled for or validated at."""
        if self.distillation is not None:
            return self.distillation.nearest(DEFAULT_STEPS)
        return nearest_steps(DEFAULT_STEPS, self.validated, self.sampler)

    def condition_options(self) -> dict[str, Option]:
        """Conditions that users may request, by name."""
        return {name: option for one in self.conditioners for name, option in one.options().items()}

    def parse_conditions(
        self, conditions: Mapping[str, Any], clips: int, implied: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A batch of raw values for `embed_condition`, the same for each clip; null values for what is not requested.

        Args:
            conditions: requested values by name; None and empty lists are not requested.
            clips: B.
            implied: what follows from the request otherwise, such as `seconds`; conditioners take what they know.

        Raises:
            UserError: the model has no such condition, or it does not take the value.
        """
        wanted = requested(conditions)
        for name in wanted.keys() - self.condition_options().keys():
            known, value = ", ".join(self.condition_options()), wanted[name]
            shown = f" {value:g}" if isinstance(value, float) else f" {value!r:.60}" if _is_plain(value) else ""
            fix = f"remove it; it takes {known}" if known else "remove it; it takes none"
            raise UserError(name + shown, f"this model has no {name} condition", fix)
        batch = {}
        for conditioner in self.conditioners:
            value = conditioner.parse({**(implied or {}), **wanted})
            if value is not None:
                batch[conditioner.name] = conditioner.collate([value] * clips)
        return batch

    def drop_conditions(self, batch: Mapping[str, Any], rate: float, random: RandomRows) -> dict[str, Any]:
        """A training batch with raw values replaced by null values at random.

        Args:
            batch: with a raw value of each conditioner that reads one.
            rate: share of clips that lose all conditions; each condition of the others is lost as often.
            random: of the batch.
        """
        given = [conditioner for conditioner in self.conditioners if conditioner.name in batch]
        if not given:
            return dict(batch)
        unconditional = random.uniform(len(batch[given[0].name]), 1)[:, 0] < rate
        dropped = {one.name: one.drop(batch[one.name], unconditional, rate, random) for one in given}
        return {**batch, **dropped}

    def embed_condition(self, batch: Mapping[str, Any]) -> Condition:
        """What the network is conditioned on, of a batch of raw values: once per clip, not once per step."""
        return Condition.merge([conditioner(batch) for conditioner in (*self.built_in, *self.conditioners)])

    def stored_grid(self, steps: int, sampler: str | None = None) -> StoredGrid | None:
        """The fitted grid of a sampler (None: the default one) and a number of steps; None if the model has none."""
        key = (presets.chosen(sampler or self.sampler, steps), steps)
        return next((grid for grid in self.grids if (grid.sampler, grid.steps) == key), None)

    def sampler_for(self, steps: int, sampler: str | None = None, t_max: float | None = None) -> Sampler:
        """Build a sampler, on the fitted grid if the model has one for it.

        Args:
            steps: network evaluations; fewer than the model is validated for, or others than it is distilled for,
                cause a warning.
            sampler: name, a key of `presets.PRESETS`; None: the default one.
            t_max: where sampling starts, if not where the model's denoiser does; a fitted grid is used if this lies in
                its first interval.

        Raises:
            UserError: an unknown name, fewer steps than the sampler needs, one that needs a learned variance, which
                this model does not have, or one that a distilled model does not allow (`Distillation.check`).
        """
        if (sampler or self.sampler) == "ddpm_learned" and not isinstance(self.objective, LearnedVariance):
            raise UserError("sampler ddpm_learned", "needs a model with learned variance", "choose ddpm or ddpm_large")
        if self.distillation is not None and (sampler or self.sampler) in presets.PRESETS:
            self.distillation.check(steps, presets.chosen(sampler or self.sampler, steps))
        if self.validated and steps < self.validated[0]:
            problem = f"fewer than the model was validated with ({self.validated[0]}), quality may be worse"
            warnings.warn(f"steps {steps}: {problem}", stacklevel=2)
        stored = self.stored_grid(steps, sampler)
        start = self.denoiser.t_max if t_max is None else t_max
        if stored and start > stored.times[1]:
            return stored.build(start)
        return presets.build(sampler or self.sampler, steps)

    def _check_hop(self, mel_spec: MelSpec) -> None:
        """Raise a UserError unless the network takes frames as often as a mel spec has them."""
        hop = self.network.condition_hop
        if hop != mel_spec.hop_length:
            problem = f"expects mel frames every {hop} samples, the mel spec has {mel_spec.hop_length}"
            raise UserError("network", problem, f"set network.condition_hop={mel_spec.hop_length}")

    def _check_outputs(self) -> None:
        outputs = self.objective.outputs
        if self.network.num_outputs != outputs:
            raise UserError(
                "network",
                f"predicts {self.network.num_outputs} outputs per channel, the objective needs {outputs}",
                f"set network.num_outputs={outputs}",
            )

    def _check_conditioners(self) -> None:
        parts = [*self.built_in, *self.conditioners]
        for kind, setting, takes in (
            ("frame", "condition", self.network.condition),
            ("signal", "frontend.signals", self.network.frontend.signals),
            ("token", "token_channels", self.network.token_channels),
        ):
            count = sum(getattr(part, f"{kind}_channels") for part in parts)
            if count != takes:
                names = ", ".join(part.name for part in parts if getattr(part, f"{kind}_channels")) or "no condition"
                problem = f"expects {takes} {kind} channels, {names} provide{'s' * (',' not in names)} {count}"
                raise UserError("network", problem, f"set network.{setting}={count}")
        for part in parts:
            if part.embedding not in (0, self.network.embedding):
                problem = f"its embedding has {part.embedding} numbers, the network's {self.network.embedding}"
                raise UserError(f"condition {part.name}", problem, f"set its embedding={self.network.embedding}")

    def _check_grids(self) -> None:
        if self.sampler not in presets.PRESETS:
            raise UserError(f"sampler {self.sampler!r}", "unknown sampler", f"choose one of {', '.join(presets.NAMES)}")
        keys = [(grid.sampler, grid.steps) for grid in self.grids]
        for grid, key in zip(self.grids, keys, strict=True):
            subject = f"time grid for {grid.sampler} at {grid.steps} steps"
            if keys.count(key) > 1:
                raise UserError(subject, "is a duplicate", "remove one")
            if grid.times[0] > self.denoiser.t_max:
                raise UserError(
                    subject,
                    f"starts at {grid.times[0]:.6g}, the denoiser at {self.denoiser.t_max:.6g}",
                    "run fit-grid again",
                )
        counts = self.validated or ()
        whole = len(counts) == 2 and all(isinstance(count, int) for count in counts)
        if self.validated is not None and not (whole and 1 <= counts[0] <= counts[1] <= MAX_STEPS):
            raise UserError(f"validated {list(self.validated)}", "is not a range of steps", "give [minimum, maximum]")

    def _parts(self) -> dict[str, nn.Module]:
        learned = {SCHEDULE: self.schedule} if isinstance(self.schedule, nn.Module) else {}
        conditioners = {f"{CONDITIONERS}{part.name}.": part for part in self.conditioners}
        return super()._parts() | learned | conditioners


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | list | tuple)
