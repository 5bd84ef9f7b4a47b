"""The models that may guide on a page: shipped ones, and those that the demo is started with.

Visitors choose among their names: no request names a folder of this machine. A classifier reads labels, an audio-text
pair reads prompts, and the model may lack both, so they bring these conditions along.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audiodiff.conditioners.registry import OPTIONS as CONDITIONS
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_process import difference
from audiodiff.models.checkpoint import shipped
from audiodiff.options import Option, options_of
from audiodiff.pipelines.guidance_options import GuideModels, GuideOptions, weight_of
from audiodiff.pipelines.guides import Guide
from audiodiff.pipelines.options import ConfigT
from audiodiff.pipelines.steering import own_conditions

NONE = "none"
MODELS = tuple(options_of(GuideModels))
SHIPPED = ("classifier", "embedding_guidance")  # autoguidance takes an earlier export of the same run


@dataclass(frozen=True)
class GuideMenu:
    """Guides to choose from.

    Args:
        folders: by the name of the option, the folders of the models by their names on the page.
        labels: that classifiers know.
    """

    folders: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    _loaded: dict[tuple[str, str], Guide] = field(default_factory=dict, repr=False)

    @classmethod
    def for_model(cls, model: AudioModel, given: GuideModels | None = None) -> "GuideMenu":
        """The guides that fit a model.

        Args:
            model: that is guided.
            given: guides beside the shipped ones.

        Raises:
            UserError: a given guide cannot be loaded, or is of other signals than the model's.
        """
        folders: dict[str, dict[str, Path]] = {}
        loaded: dict[tuple[str, str], Guide] = {}
        for name in MODELS:
            if (folder := given and getattr(given, name)) is not None:
                guide = Guide.load(name, folder)
                if name != "embedding_guidance":  # which resamples what it embeds
                    guide.check_process(model)
                shown = Path(folder).absolute().name  # visitors need not know where it lies
                folders[name], loaded[name, shown] = {shown: Path(folder)}, guide
        for name in SHIPPED:
            for one in shipped(Guide.TYPES[name].TYPE):
                if name == "classifier":
                    guide = Guide.load(name, one)
                    if difference(guide.model, model):
                        continue
                    loaded[name, one] = guide
                folders.setdefault(name, {})[one] = Path(one)
        known = (label for (name, _), guide in loaded.items() if name == "classifier" for label in guide.model.classes)
        return cls(folders, tuple(dict.fromkeys(known)), loaded)

    def options(self, options: Mapping[str, Option], own: Mapping[str, Option]) -> dict[str, Option]:
        """Options of a page, without those of guidance that have no effect there.

        Args:
            options: of which those that name guides become choices.
            own: conditions of the model.
        """
        found = dict(options)
        if not own:
            del found["guidance_scale"]
            if not self.folders:
                del found["guidance_rescale"], found["guidance_interval"]
        if "prompt" not in own:
            del found["negative"]
        for name in MODELS:
            if name in self.folders:
                found[name] = replace(options[name], kind="choice", choices=(NONE, *self.folders[name]))
            else:
                del found[name], found[weight_of(name)]
        return found

    def conditions(self, own: Mapping[str, Option]) -> dict[str, Option]:
        """The conditions of a model, with the labels and prompts that guides read."""
        found = dict(own)
        if self.labels:
            known = own["labels"].choices if "labels" in own else ()
            choices = tuple(dict.fromkeys((*known, *self.labels)))
            found["labels"] = replace(own.get("labels", CONDITIONS["labels"]), choices=choices)
        if "embedding_guidance" in self.folders:
            found.setdefault("prompt", CONDITIONS["prompt"])
        return found

    def load(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of options with the guides in place of their names, and no weight of a guide that is not chosen.

        Raises:
            UserError: a guide cannot be loaded.
        """
        found = dict(values)
        for name in self.folders:
            chosen = found[name]
            if chosen in (None, "", NONE):
                found[name] = found[weight_of(name)] = None
                continue
            if (name, chosen) not in self._loaded:
                self._loaded[name, chosen] = Guide.load(name, self.folders[name][chosen])
            found[name] = self._loaded[name, chosen]
        return found


def without_idle_scale(config: ConfigT, model: AudioModel) -> ConfigT:
    """A request without its guidance scale where the model has no condition to guide to."""
    if own_conditions(config, model) or (config.negative or "").strip():
        return config
    return replace(config, guidance_scale=None)


def order(names: Mapping[str, Any]) -> list[str]:
    """Those of these names that are of guides, in the order in which they are declared."""
    return [name for name in options_of(GuideOptions) if name in names]
