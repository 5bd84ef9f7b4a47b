"""A comparison: one request over samplers, numbers of steps and scales of adapters, and the spread over its seeds."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from audiodiff.demo.adapter_menu import MAX_SCALE
from audiodiff.demo.catalog import Offer
from audiodiff.demo.controls import LIMITS
from audiodiff.demo.responses import stopwatch
from audiodiff.demo.seed_spread import SeedSpread
from audiodiff.demo.task import MAX_CLIPS, Callback, Clip, Task, Work
from audiodiff.errors import UserError
from audiodiff.options import Option
from audiodiff.pipelines.edit_window import scale_progress


class Variant(NamedTuple):
    """One clip of a comparison; None: the model's own sampler, the scales that its adapters begin with."""

    sampler: str | None
    steps: int
    scale: float | None

    @property
    def title(self) -> str:
        """What the page calls it."""
        scale = "" if self.scale is None else f", adapters x {self.scale:g}"
        return f"{self.sampler or 'own sampler'}, {self.steps} step{'s' * (self.steps > 1)}{scale}"


class ComparisonTask(Task):
    """Another task, once for each variant.

    Args:
        task: the other one.
        variants: of it.
        seeds: takes of each variant, from successive seeds; the first is shown, and the spread of several.
    """

    COMMAND = "compare"

    def __init__(self, task: Task, variants: Sequence[Variant], seeds: int = 1):
        self.task, self.variants, self.seeds = task, variants, seeds

    def options(self, offer: Offer) -> dict[str, Option]:
        """Those of the other task."""
        return self.task.options(offer)

    def known(self, offer: Offer) -> dict[str, Any]:
        """Those of the other task."""
        return self.task.known(offer)

    def initial(self, offer: Offer) -> dict[str, Any]:
        """Those of the other task."""
        return self.task.initial(offer)

    def prepare(self, offer: Offer, values: dict[str, Any], count: int) -> Work:
        """One clip of each variant, one after the other; raises as the other task."""
        works: list[tuple[Variant, list[Work]]] = []
        for one in self.variants:
            scales = {} if one.scale is None else dict.fromkeys(offer.adapters.adapters, one.scale)
            own = values | {"sampler": one.sampler, "steps": one.steps} | scales
            seeds = range(own["seed"], own["seed"] + self.seeds)
            works.append((one, [self.task.prepare(offer, own | {"seed": seed}, 1) for seed in seeds]))
        runs: list[dict[str, Any]] = []

        def run(pipeline: Any, callback: Callback) -> list[Clip]:
            found: list[Clip] = []
            parts = 1 + len(works) * self.seeds
            _, (first, *_) = min(works, key=lambda work: work[0].steps)
            first.run(pipeline, scale_progress(callback, 0, parts))  # what only the first call of a model does
            for number, (one, (work, *others)) in enumerate(works):
                reports = [
                    scale_progress(callback, 1 + number * self.seeds + take, parts) for take in range(self.seeds)
                ]
                clips, elapsed = stopwatch(lambda work=work, report=reports[0]: work.run(pipeline, report))
                found += [clip for clip in clips if clip.settings is None and number == 0]  # the original, once
                clip = _generated(clips)
                takes = [
                    _generated(other.run(pipeline, report)) for other, report in zip(others, reports[1:], strict=True)
                ]
                title, spread = f"{one.title}: {elapsed:.2f} s to compute", None
                factor = round(clip.audio.seconds / max(elapsed, 1e-6), 2)
                runs.append(one._asdict() | {"seconds_taken": round(elapsed, 3), "real_time_factor": factor})
                if takes:
                    spread = SeedSpread([clip.audio, *(take.audio for take in takes)])
                    runs[-1] |= spread.summary
                    title += f", spread {runs[-1]['spread_db'] or 0:.1f} dB over {self.seeds} seeds"
                found.append(replace(clip, title=title, spread=spread and spread.picture()))
            return found

        return Work(run, lambda _: {"runs": runs})


def _generated(clips: Sequence[Clip]) -> Clip:
    (clip,) = (clip for clip in clips if clip.settings is not None)
    return clip


def variants(values: Mapping[str, Any], offer: Offer) -> list[Variant]:
    """The variants of a request.

    Raises:
        UserError: a number that is none or out of range, scales of a model without adapters, or too many variants.
    """
    steps = [
        int(one) for one in _numbers(values["steps"], Option("integer", "", "Steps", minimum=1, **LIMITS["steps"]))
    ]
    scale = Option("number", "", "Adapter scale", minimum=0, maximum=MAX_SCALE)
    scales: list[float | None] = list(_numbers(values["scales"], scale)) or [None]
    if scales != [None] and not offer.adapters.adapters:
        fix = "leave them out, or start the demo with --adapter DIR"
        raise UserError("Adapter scales", f"{offer.name} has no adapters here", fix)
    if not steps:
        raise UserError("Steps", "is empty", "enter numbers such as 2, 4, 8")
    samplers: Sequence[str | None] = values["samplers"] or (None,)
    found = [Variant(*one) for one in itertools.product(samplers, steps, scales)]
    if (clips := len(found) * values["seeds"]) > MAX_CLIPS:
        fix = "choose fewer samplers, steps, scales or seeds"
        raise UserError(f"{clips} clips", f"are more than {MAX_CLIPS}", fix)
    return found


def _numbers(text: str | None, option: Option) -> list[float]:
    """The numbers of a text, each once."""
    found = []
    for part in (text or "").split(","):
        if part.strip():
            try:
                value = float(part)
            except ValueError as error:
                raise UserError(f"{option.label} {part.strip()!r:.40}", "is no number", "enter 2, 4, 8") from error
            found.append(option.check(option.label, value))
    return list(dict.fromkeys(found))
