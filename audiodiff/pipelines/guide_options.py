"""Options of guidance by another model: each names a model and a weight.

Nothing heavy is imported here: the command line builds its help from these declarations.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiodiff.errors import UserError
from audiodiff.options import option

if TYPE_CHECKING:
    from audiodiff.pipelines.guides import Guide

MAX_WEIGHT = 1000
DEFAULT_WEIGHTS = {"classifier": 1.0, "autoguidance": 2.0}


def weight_of(guide: str) -> str:
    """Name of the option that weights a guide."""
    return f"{guide.removesuffix('_guidance')}_weight"


@dataclass(frozen=True, kw_only=True)
class GuideOptions:
    """Other models that guide sampling: by their folder or name, or loaded (`pipelines.guides.Guide`).

    Attributes:
        classifier: of noisy signals, which guides towards the request's `labels`, also where the model has none.
        classifier_weight: 1 is Bayes' rule; more follows the classifier more closely.
        autoguidance: a smaller or less trained model of the same data, which sampling is guided away from.
        autoguidance_weight: 1 is the model alone.
    """

    classifier: "Guide | str | Path | None" = option(
        None, kind="model", help="Classifier of noisy signals that guides towards --label.", label="Classifier"
    )
    classifier_weight: float | None = option(
        None,
        kind="number",
        help="Weight of the classifier (1 is Bayes' rule).",
        label="Classifier weight",
        minimum=-MAX_WEIGHT,
        maximum=MAX_WEIGHT,
        default_help="1 with --classifier",
    )
    autoguidance: "Guide | str | Path | None" = option(
        None,
        kind="model",
        help="Model to guide away from: an earlier export of the same run, or a smaller model of the same data.",
        label="Autoguidance",
    )
    autoguidance_weight: float | None = option(
        None,
        kind="number",
        help="Weight of autoguidance (1 disables).",
        label="Autoguidance weight",
        minimum=-MAX_WEIGHT,
        maximum=MAX_WEIGHT,
        default_help="2 with --autoguidance",
    )

    def guides(self) -> dict[str, "Guide"]:
        """The guides that are given, by the names of their options."""
        found = {name: getattr(self, name) for name in DEFAULT_WEIGHTS}
        return {name: guide for name, guide in found.items() if guide is not None}

    def load_guides(self) -> None:
        """Load guides that are given by their folders, and set the weights that are not given.

        Raises:
            UserError: no such model, one of another type, or a weight without its guide.
        """
        for name, weight in DEFAULT_WEIGHTS.items():
            given, own = getattr(self, name), getattr(self, weight_of(name))
            if given is None:
                if own is not None:
                    fix = f"add --{name.replace('_', '-')} MODEL, or leave it out"
                    raise UserError(f"{weight_of(name)} {own:g}", f"has no effect without {name}", fix)
                continue
            if isinstance(given, str | Path):
                from audiodiff.pipelines.guides import Guide

                object.__setattr__(self, name, Guide.load(name, given))
            elif not hasattr(given, "digest"):
                problem = f"expected a model folder, got {type(given).__name__}"
                raise UserError(name, problem, "pass its path, or pipelines.guides.Guide.load(...)")
            object.__setattr__(self, weight_of(name), weight if own is None else own)
