"""Folders of the models that come with the package, and of those that companion wheels add to it.

The wheel of the package holds the models that `COMPANIONS` does not name. Each of the others is a wheel
`audiodiff-models-NAME`, which installs the folder `audiodiff_models/NAME`, its part of a namespace package. A source
tree has all models in `audiodiff/pretrained`, from which `make wheels` builds both kinds of wheels.
"""

from importlib.util import find_spec
from pathlib import Path

SHIPPED = Path(__file__).resolve().parents[1] / "pretrained"
NAMESPACE = "audiodiff_models"
# Shipped models that the wheel of the package leaves out, by the names of their folders.
COMPANIONS = (
    "audio-text",
    "drums",
    "music",
    "restore-speech",
    "sounds",
    "sounds-hypernetwork",
    "speech-16k",
    "speech-16k-fine",
    "upsample-sounds",
    "upsample-speech",
)


def shipped_folders() -> dict[str, Path]:
    """The folders of all installed models by name, sorted; the package's own precede those of companion wheels."""
    spec = find_spec(NAMESPACE)
    roots = [*map(Path, (spec and spec.submodule_search_locations) or ()), SHIPPED]
    folders = {file.parent.name: file.parent for root in roots for file in root.glob("*/config.json")}
    return dict(sorted(folders.items()))


def wheel_name(model: str) -> str:
    """The distribution that brings a model which the package's own wheel leaves out."""
    return f"audiodiff-models-{model}"


def installation(model: str) -> str:
    """How to install a shipped model that is not here; empty for a name that is none."""
    if model not in COMPANIONS:
        return ""
    return f"install its wheel, {wheel_name(model)} (`make wheels` in a source tree builds it)"
