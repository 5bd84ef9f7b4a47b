"""What the tasks of residual models share: a recording in, the same recording completed out."""

from collections.abc import Mapping
from typing import Any, ClassVar

from audiodiff.demo.catalog import Offer
from audiodiff.demo.controls import defaults, limited
from audiodiff.demo.task import Task
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.options import Option, options_of
from audiodiff.pipelines.options import SamplingOptions

MAX_SECONDS = 60.0


class ResidualTask(Task):
    """Completes a recording.

    Attributes:
        CONFIG: the options.
        INPUT: the recording.
        SHOWN: names of options that are shown first, before `adapters` and the others.
    """

    CONFIG: ClassVar[type[SamplingOptions]]
    INPUT: ClassVar[Option]
    SHOWN: ClassVar[tuple[str, ...]]
    RECORDING = "recording"
    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {"Sampling": ("steps", "sampler")}

    def options(self, offer: Offer) -> dict[str, Option]:
        """The recording, and the options of the model type."""
        own = options_of(self.CONFIG)
        shown = {name: own.pop(name) for name in self.SHOWN}
        return limited({"recording": self.INPUT} | shown | offer.adapters.options | own, {"sampler": NAMES})

    def known(self, offer: Offer) -> dict[str, Any]:
        """The defaults of the options, and the scales of adapters."""
        return {"recording": None} | defaults(self.CONFIG) | offer.adapters.defaults

    def initial(self, offer: Offer) -> dict[str, Any]:
        """The model's own steps and sampler."""
        return self.known(offer) | {"steps": offer.model.default_steps, "sampler": offer.model.sampler}
