"""The adapters that a page offers: those that the demo is started with, a scale each.

Visitors set scales: no request names a folder of this machine.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audiodiff.errors import UserError
from audiodiff.models.adapted import AppliedAdapter, apply
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.options import Option
from audiodiff.pipelines.adapter_options import load_adapters

MAX_SCALE = 1.5
EXPORTED = "adapter"  # the folder of a run that an adapter is exported to


@dataclass(frozen=True)
class AdapterMenu:
    """Adapters with a scale each.

    Args:
        adapters: by the names of their options; their scales are those that the page begins with.
        titles: what the page calls them.
    """

    adapters: Mapping[str, AppliedAdapter] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def for_model(cls, model: PretrainedModel, given: Sequence[str] = ()) -> "AdapterMenu":
        """The adapters of a command line, "DIR" or "DIR:SCALE".

        Raises:
            UserError: one is none, has a scale that the page cannot show, or does not fit the model, or two add one
                word or speaker.
        """
        adapters, titles = {}, {}
        for one in load_adapters(given):
            if not 0 <= one.scale <= MAX_SCALE:
                raise one.adapter.error(f"has the scale {one.scale:g}", f"use 0 to {MAX_SCALE:g}, such as DIR:0.8")
            title, name = _unused(_title(one), titles.values()), _unused(_identifier(_title(one)), titles)
            adapters[name], titles[name] = one, title
        apply(model, [replace(one, scale=1.0) for one in adapters.values()])
        return cls(adapters, titles)

    @property
    def options(self) -> dict[str, Option]:
        """A scale for each adapter."""
        return {name: self._option(name) for name in self.adapters}

    @property
    def defaults(self) -> dict[str, float]:
        """The scales that the page begins with."""
        return {name: one.scale for name, one in self.adapters.items()}

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of the speakers that adapters add."""
        return tuple(name for one in self.adapters.values() for name in one.adapter.speakers)

    def load(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of options with the adapters in place of their scales.

        Raises:
            UserError: the speaker is one of an adapter whose scale is 0.
        """
        found = dict(values)
        chosen = [replace(one, scale=float(found.pop(name))) for name, one in self.adapters.items()]
        for name, one in zip(self.adapters, chosen, strict=True):
            if one.scale == 0 and found.get("speaker") in one.adapter.speakers:
                problem = f"is a speaker of the adapter {self.titles[name]}, whose scale is 0"
                raise UserError(found["speaker"], problem, "raise the scale, or choose another speaker")
        return found | {"adapters": tuple(one for one in chosen if one.scale != 0)}

    def restore(self, records: Any) -> dict[str, float]:
        """The scales of settings, which name adapters by their hashes; of adapters that they do not name, 0.

        Raises:
            UserError: a scale that is out of range.
        """
        listed = [one for one in records if isinstance(one, Mapping)] if isinstance(records, list | tuple) else []
        scales = {str(one.get("hash")): one.get("scale", 0.0) for one in listed}
        found = {name: scales.get(one.adapter.digest, 0.0) for name, one in self.adapters.items()}
        return {
            name: self._option(name).check(self.titles[name], scale, optional=False) for name, scale in found.items()
        }

    def _option(self, name: str) -> Option:
        one = self.adapters[name]
        adds = [f"the word {word}" for word in one.adapter.words]
        adds += [f"the speaker {name}" for name in one.adapter.speakers]
        text = "Scale of the adapter, 0 disables it." + (f" It adds {' and '.join(adds)}." if adds else "")
        return Option("number", text, self.titles[name], minimum=0.0, maximum=MAX_SCALE)


def _title(one: AppliedAdapter) -> str:
    """The folder's name, which visitors see without where it lies; that of the run, where it is one of a run."""
    folder = Path(one.adapter.folder).absolute()
    return folder.parent.name if folder.name == EXPORTED and folder.parent.name else folder.name


def _identifier(title: str) -> str:
    return "adapter_" + re.sub(r"\W", "_", title, flags=re.ASCII)


def _unused(name: str, used: Any) -> str:
    """The name, with a number where it is used already."""
    numbered = (f"{name}_{number}" for number in range(2, 100))
    return name if name not in used else next(one for one in numbered if one not in used)
