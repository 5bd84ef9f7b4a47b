"""Options of guidance: by the conditions of a request, and by other models, each named with a weight.

Nothing heavy is imported here: the command line builds its help from these declarations.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiodiff.errors import UserError
from audiodiff.options import CheckedOptions, option, real_number

if TYPE_CHECKING:
    from audiodiff.pipelines.guides import Guide

OWN = "the model's own"
MAX_GUIDANCE = 100
MAX_WEIGHT = 1000
DEFAULT_WEIGHTS = {"classifier": 1.0, "autoguidance": 2.0, "embedding_guidance": 100.0}


def weight_of(guide: str) -> str:
    """Name of the option that weights a guide."""
    return f"{guide.removesuffix('_guidance')}_weight"


@dataclass(frozen=True, kw_only=True)
class GuidanceOptions(CheckedOptions):
    """Classifier-free guidance, and the interval of all guidance.

    Attributes:
        guidance_scale: weight of the conditions; 1 is the model as trained, larger values follow the conditions more
            closely, at the cost of a second network evaluation per step; None for the model's own.
        guidance_rescale: share of what guidance adds to the level that is undone, 0 to 1; None for the model's own.
        guidance_interval: "LOW:HIGH" or (low, high), the log-SNR between which guidance is applied, either end may be
            left out; "all": at every step; None for the model's own.

    Raises:
        UserError: a value of another type or out of range.
    """

    guidance_scale: float | None = option(
        None,
        kind="number",
        help="Guidance scale: weight of the conditions (1 as trained, 2 to 4 is stronger).",
        label="Guidance scale",
        flag="--guidance",
        alias="--guidance-scale",
        minimum=-MAX_GUIDANCE,
        maximum=MAX_GUIDANCE,
        default_help=OWN,
    )
    guidance_rescale: float | None = option(
        None,
        kind="number",
        help="Share of what guidance adds to the level that is undone.",
        label="Guidance rescale",
        minimum=0,
        maximum=1,
        default_help=OWN,
    )
    guidance_interval: "str | tuple[float, float] | None" = option(
        None,
        kind="text",
        help='Log-SNR between which guidance is applied, as LOW:HIGH such as -5:3, or "all".',
        label="Guidance interval",
        default_help=OWN,
    )

    def __post_init__(self):
        """Check every option."""
        if isinstance(self.guidance_interval, list | tuple):
            ends = (real_number(end, "guidance_interval") for end in self.guidance_interval)
            object.__setattr__(self, "guidance_interval", ":".join(f"{end:g}" for end in ends))
        super().__post_init__()
        self.interval  # noqa: B018, checks it

    @property
    def interval(self) -> tuple[float, float]:
        """Lowest and highest log-SNR of guidance, infinite for no bound.

        Raises:
            UserError: the text is no interval.
        """
        text = str(self.guidance_interval or "all").strip()
        low, separator, high = (":" if text == "all" else text).partition(":")
        try:
            ends = float(low or "-inf"), float(high or "inf")
        except ValueError:
            ends = math.nan, math.nan
        if not separator or not ends[0] <= ends[1]:
            subject = f"guidance_interval {self.guidance_interval!r:.40}"
            raise UserError(subject, "is no interval", 'write the lower log-SNR first, such as -5:3, or "all"')
        return ends


@dataclass(frozen=True, kw_only=True)
class GuideModels:
    """Other models that guide sampling: by their folder or name, or loaded (`pipelines.guides.Guide`).

    Attributes:
        classifier: of noisy signals, which guides towards the request's `labels`, also where the model has none.
        autoguidance: a smaller or less trained model of the same data, which sampling is guided away from.
        embedding_guidance: an audio-text pair, which guides towards sounds that its text side finds similar to the
            prompt.
    """

    classifier: "Guide | str | Path | None" = option(
        None, kind="model", help="Classifier of noisy signals that guides towards --label.", label="Classifier"
    )
    autoguidance: "Guide | str | Path | None" = option(
        None,
        kind="model",
        help="Model to guide away from: an earlier export of the same run, or a smaller model of the same data.",
        label="Autoguidance",
    )
    embedding_guidance: "Guide | str | Path | None" = option(
        None,
        kind="model",
        help="Audio-text pair that guides towards sounds similar to --prompt.",
        label="Embedding guidance",
    )


@dataclass(frozen=True, kw_only=True)
class GuideOptions(GuideModels):
    """Other models that guide sampling, and their weights.

    Attributes:
        classifier, autoguidance, embedding_guidance: as of `GuideModels`.
        classifier_weight: 1 is Bayes' rule; more follows the classifier more closely.
        autoguidance_weight: 1 is the model alone.
        embedding_weight: nats per unit of cosine similarity.
    """

    classifier_weight: float | None = option(
        None,
        kind="number",
        help="Weight of the classifier (1 is Bayes' rule).",
        label="Classifier weight",
        minimum=-MAX_WEIGHT,
        maximum=MAX_WEIGHT,
        default_help="1 with --classifier",
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
    embedding_weight: float | None = option(
        None,
        kind="number",
        help="Weight of embedding guidance, in nats per unit of cosine similarity.",
        label="Embedding weight",
        minimum=-MAX_WEIGHT,
        maximum=MAX_WEIGHT,
        default_help="100 with --embedding-guidance",
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
            elif not hasattr(given, "digest") or getattr(given, "name", None) != name:
                found = f"{type(given).__name__} {getattr(given, 'name', '')}".strip()
                fix = f'pass its path, or pipelines.guides.Guide.load("{name}", ...)'
                raise UserError(name, f"expected a model folder, got {found}", fix)
            object.__setattr__(self, weight_of(name), weight if own is None else own)
