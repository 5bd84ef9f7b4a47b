"""`--settings FILE` of verbs: what a file was made with, in place of what is not named on the command line."""

from collections.abc import Iterable, Mapping
from typing import Any

import typer

from audiodiff.options import Option


def load(verb: str, values: Mapping[str, Any], options: Mapping[str, Option], invocation: typer.Context) -> dict:
    """The values of a verb's parameters with those of the file `settings`, which becomes `SavedSettings`.

    Args:
        verb: that is run.
        values: of all parameters.
        options: those that dataclasses declare.
        invocation: says which are named on the command line.

    Raises:
        UserError: the file has no settings of this verb, or what it names is not there.
    """
    from audiodiff.rendering.settings import SavedSettings, read_settings

    path, named = values["settings"], frozenset(_named(values, invocation))
    saved = SavedSettings(path, read_settings(path), named)
    saved.check(verb, options.keys())
    others = values.keys() - options.keys() - named
    found = {name: saved.value(name, declared) for name, declared in options.items() if name not in named}
    found |= {name: saved.plain(name) for name in others}
    found |= {name: saved.model() for name in others & {"model", "voice"}}
    if "vocoder" in others:
        found["vocoder"] = saved.find(saved.entries.get("vocoder_hash"))
    return {**values, **{name: value for name, value in found.items() if value is not None}, "settings": saved}


def _named(values: Iterable[str], invocation: typer.Context) -> list[str]:
    sources = {name: invocation.get_parameter_source(name) for name in values}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
