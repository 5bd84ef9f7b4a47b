"""Settings that are loaded back: from a JSON file, a sidecar, or the metadata of a clip that was generated."""

from collections.abc import Mapping, Sequence
from typing import Any

from audiodiff.demo.catalog import Catalog, Offer
from audiodiff.demo.task import Task
from audiodiff.errors import UserError

TYPES = [".json", ".wav", ".flac", ".ogg"]


def find_offer(settings: Mapping[str, Any], catalog: Catalog, task: Task, offers: Sequence[Offer]) -> Offer:
    """The model of settings, among those of a tab.

    Raises:
        UserError: settings of another task, or of a model that the tab does not have.
    """
    command = settings.get("command") or settings.get("sidecar") or task.COMMAND
    if command != task.COMMAND:
        raise UserError("settings", f"are of `{command!s:.60}`", "load them in its own tab")
    digest = settings.get("model_hash")
    found = catalog.by_digest(digest) if isinstance(digest, str) else None
    for offer in offers:
        if offer is found or (found is None and digest is None and offer.name == settings.get("model")):
            return offer
    name = settings.get("model") or digest or "an unnamed model"
    raise UserError("settings", f"are of {name!s:.60}, which is not in this tab", "start the demo with --model DIR")
